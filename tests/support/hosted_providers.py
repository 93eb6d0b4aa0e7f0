"""The hosted providers as their simulators stand for them: served on this machine, with keys and addresses.

Which there are is read from the table of providers; each has a simulator under its name.
"""

import importlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.registry import NAMES, adapter_class
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import ResolvedRequest, Submission
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import Simulation, Studio

HOSTED = tuple(name for name in NAMES if adapter_class(name).settings.missing({}))


def simulation_of(name: str) -> Simulation:
    """What stands for a provider."""
    found: Simulation = importlib.import_module(f"tests.support.simulators.{name}").SIMULATION
    return found


SIMULATIONS: Mapping[str, Simulation] = {name: simulation_of(name) for name in HOSTED}
LINKS_ONLY = tuple(name for name in HOSTED if adapter_class(name).capabilities.needs_public_url)
"""Those that fetch pictures by themselves and take no others."""


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
        return tuple(SIMULATIONS[self.name].keys.values())


@contextmanager
def serving(name: str, wrap: Callable[[ASGIApp], ASGIApp] | None = None) -> Generator[Hosted]:
    """Serve one provider; every job is done when it is looked at for the first time.

    Args:
        name: As in `provider=`.
        wrap: Puts something between the provider and those who call it.
    """
    listening = free_socket()
    app, studio, addresses = SIMULATIONS[name].serve(origin_of(listening))
    with running(wrap(app) if wrap else app, listening):
        yield Hosted(name, studio, {**SIMULATIONS[name].keys, **addresses})


async def submit(runner: Sender, provider: Provider, request: ResolvedRequest, reference: str) -> Submission:
    """Submit as a job does, without one."""

    async def go_on() -> None:
        pass

    answer = await runner.submit(provider, await runner.prepare(provider, request, reference), go_on)
    return await runner.kept(provider, answer)


def keys_of(services: Iterable[Hosted]) -> dict[str, str]:
    """Keys and addresses of several providers, as the server reads them from the environment."""
    return {name: value for service in services for name, value in service.variables.items()}


@contextmanager
def serving_all() -> Generator[Mapping[str, Hosted]]:
    """Serve all of them."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name)) for name in HOSTED}


def serving_file(path: Path) -> AbstractContextManager[str]:
    """Serve one PNG file under whatever path, for providers that take links; gives the origin."""
    content = path.read_bytes()

    async def file(_request: Request) -> Response:
        return Response(content, media_type="image/png")

    return running(Starlette(routes=[Route("/{name:path}", file)]), free_socket())
