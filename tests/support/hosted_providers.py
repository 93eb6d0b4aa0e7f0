"""The five hosted providers as their simulators stand for them: served on this machine, with keys and addresses."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.configuration import ProviderSettings
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import ResolvedRequest, Submission
from tests.support.simulators import modelslab, scenario, scenario_store, segmind, wavespeed, zhiqite
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import Studio

KEYS: Mapping[str, Mapping[str, str]] = {
    "scenario": {"SCENARIO_API_KEY": scenario_store.KEY, "SCENARIO_API_SECRET": scenario_store.SECRET},
    "segmind": {"SEGMIND_API_KEY": segmind.KEY},
    "zhiqite": {"ZHIQITE_ACCESS_KEY_ID": zhiqite.KEY_ID, "ZHIQITE_ACCESS_KEY_SECRET": zhiqite.KEY_SECRET},
    "modelslab": {"MODELSLAB_API_KEY": modelslab.ENTERPRISE_KEY},
    "wavespeed": {"WAVESPEED_API_KEY": wavespeed.KEY},
}
"""The variables that hold secrets, with the keys that each simulator takes."""

_Service: TypeAlias = tuple[Starlette, Studio, Mapping[str, str]]
"""An application, its record, and the variables that say where it is."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A provider that is served.

    Attributes:
        name: As in `provider=`.
        studio: What its simulator received and charged.
        variables: Keys and addresses, as the operator sets them.
    """

    name: str
    studio: Studio
    variables: Mapping[str, str]

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that may be found nowhere but in requests."""
        return tuple(KEYS[self.name].values())


def _scenario(origin: str) -> _Service:
    service = scenario.ScenarioSimulator(origin, statuses=("queued", "success"))
    return service.app(), service.studio, {"SCENARIO_BASE_URL": f"{origin}/v1"}


def _segmind(origin: str) -> _Service:
    studio = segmind.SegmindStudio(origin=origin, polls_until_done=1)
    addresses = {"SEGMIND_BASE_URL": origin, "SEGMIND_UPLOAD_URL": f"{origin}/upload-asset"}
    return segmind.segmind(studio), studio, addresses


def _zhiqite(origin: str) -> _Service:
    service = zhiqite.ZhiqiteSimulator(origin, looks_until_done=1)
    return service.app(), service.studio, {"ZHIQITE_BASE_URL": origin}


def _modelslab(origin: str) -> _Service:
    service = modelslab.ModelsLabSimulator(origin, asks_until_done=1)
    return service.app(), service.studio, {"MODELSLAB_BASE_URL": f"{origin}/api"}


def _wavespeed(origin: str) -> _Service:
    studio = wavespeed.WaveSpeedStudio(origin=origin, looks_until_done=1)
    return wavespeed.wavespeed(studio), studio, {"WAVESPEED_BASE_URL": origin}


_SERVICES: Mapping[str, Callable[[str], _Service]] = {
    "scenario": _scenario,
    "segmind": _segmind,
    "zhiqite": _zhiqite,
    "modelslab": _modelslab,
    "wavespeed": _wavespeed,
}
HOSTED = tuple(_SERVICES)


@contextmanager
def serving(name: str, wrap: Callable[[ASGIApp], ASGIApp] | None = None) -> Generator[Hosted]:
    """Serve one provider; every job is done when it is looked at for the first time.

    Args:
        name: As in `provider=`.
        wrap: Puts something between the provider and those who call it.
    """
    listening = free_socket()
    app, studio, addresses = _SERVICES[name](origin_of(listening))
    with running(wrap(app) if wrap else app, listening):
        yield Hosted(name, studio, {**KEYS[name], **addresses})


async def submit(runner: Sender, provider: Provider, request: ResolvedRequest, reference: str) -> Submission:
    """Submit as a job does, without one."""

    async def go_on() -> None:
        pass

    answer = await runner.submit(provider, await runner.prepare(provider, request, reference), go_on)
    return await runner.kept(provider.name, answer)


def keys_of(services: Iterable[Hosted]) -> ProviderSettings:
    """Keys and addresses of several providers, as the server reads them from the environment."""
    variables = [row for service in services for row in service.variables.items()]
    return ProviderSettings.model_validate({name.lower(): value for name, value in variables})


@contextmanager
def serving_all() -> Generator[Mapping[str, Hosted]]:
    """Serve all five."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name)) for name in HOSTED}


def serving_file(path: Path) -> AbstractContextManager[str]:
    """Serve one PNG file under whatever path, for providers that take links; gives the origin."""
    content = path.read_bytes()

    async def file(_request: Request) -> Response:
        return Response(content, media_type="image/png")

    return running(Starlette(routes=[Route("/{name:path}", file)]), free_socket())
