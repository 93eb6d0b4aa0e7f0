"""The hosted providers through the tools: dry runs, who is chosen, who can, and whose models there are."""

import base64
import json
from collections.abc import Generator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from pydantic import JsonValue
from starlette.responses import Response

from controlnet_mcp.tools.list_models import ModelList
from tests.support.hosted_providers import HOSTED, SIMULATIONS, Hosted, keys_of, serving_all, serving_file
from tests.support.mcp_session import Session, open_session, settings_for
from tests.support.sample_drawings import house

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
SIDE = 512


@dataclass(frozen=True, slots=True)
class Providers:
    """All simulators, a folder with `house.png`, and a link to it."""

    services: Mapping[str, Hosted]
    folder: Path
    link: str

    def open(self, data_dir: Path, order: str = "") -> AbstractAsyncContextManager[Session]:
        """A server with all keys and an order of `auto`, and a client on it; its files are served where the link is."""
        keys, origin = keys_of(self.services.values()), self.link.removesuffix("/house.png")
        more = {"trusted_hosts": "127.0.0.1", "public_url": origin}
        return open_session(settings_for(data_dir, self.folder, keys=keys, providers=order, **more))

    def arguments(self, provider: str, modality: str = "canny", **more: JsonValue) -> dict[str, JsonValue]:
        """Arguments of `controlnet_generate`; the picture comes by link."""
        sides: dict[str, JsonValue] = {"width": SIDE, "height": SIDE, "seed": 7}
        return {"control_image": self.link, "provider": provider, "modality": modality, **sides, **more}

    def posts(self, provider: str) -> list[dict[str, JsonValue]]:
        """The bodies of all posts that came to one provider."""
        received = self.services[provider].studio.received
        return [json.loads(row.body) for row in received if row.method == "POST" and row.body]


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Providers]:
    """Everything that is served, once for this file."""
    folder = tmp_path_factory.mktemp("drawings")
    Image.fromarray(house(SIDE)).save(folder / "house.png")
    with serving_all() as services, serving_file(folder / "house.png") as origin:
        yield Providers(services, folder, f"{origin}/house.png")


def matches(shown: JsonValue, sent: JsonValue) -> bool:
    """Whether what was shown is what was sent, but for what stands in brackets: pictures, secrets, references."""
    match shown, sent:
        case dict(), dict():
            return shown.keys() == sent.keys() and all(matches(shown[name], sent[name]) for name in shown)
        case list(), list():
            return len(shown) == len(sent) and all(map(matches, shown, sent))
        case str(), str() if shown.startswith("("):
            return len(sent) > 8
        case _:
            return shown == sent


@pytest.mark.parametrize("provider", HOSTED)
async def test_a_dry_run_shows_what_is_sent_and_nothing_that_is_secret(
    providers: Providers, tmp_path: Path, provider: str
) -> None:
    """The request that follows is the one that was shown; keys are hidden, pictures abbreviated, nothing is charged."""
    service = providers.services[provider]
    charges = service.studio.charges
    async with providers.open(tmp_path) as session:
        dry = await session.generate(dry_run=True, **providers.arguments(provider))
        assert service.studio.charges == charges
        job = (await session.generate(**providers.arguments(provider))).job
    shown = json.loads(dry.text)
    assert (shown["dry_run"], shown["provider"]) == (True, provider)
    assert not [secret for secret in service.secrets if secret in dry.text]
    assert "(secret)" in dry.text
    assert base64.b64encode((providers.folder / "house.png").read_bytes()[:30]).decode() not in dry.text
    assert len(dry.text) < 6000
    assert job.status == "succeeded"
    assert any(matches(shown["request"]["json"], body) for body in providers.posts(provider))


@pytest.mark.parametrize("provider", HOSTED)
async def test_a_dry_run_tells_the_price_where_the_vendor_does(
    providers: Providers, tmp_path: Path, provider: str
) -> None:
    """And only there."""
    async with providers.open(tmp_path) as session:
        shown = json.loads((await session.generate(dry_run=True, **providers.arguments(provider))).text)
    price = shown.get("price")
    assert (price and price["unit"]) == SIMULATIONS[provider].price_unit
    assert price is None or price["amount"] > 0


@pytest.mark.parametrize(
    ("order", "asked", "chosen"),
    [
        ("wavespeed,segmind", {}, "wavespeed"),
        ("segmind,wavespeed", {}, "segmind"),
        ("wavespeed,scenario", {"modality": "tile"}, "scenario"),
        ("wavespeed,segmind,zhiqite", {"modality": "canny:0.5,depth:0.5"}, "zhiqite"),
        ("segmind,modelslab", {"init_image": "house.png"}, "modelslab"),
        ("segmind,zhiqite,scenario", {"init_image": "house.png", "mask_image": "house.png"}, "scenario"),
        ("wavespeed,modelslab", {"width": 256, "height": 256}, "modelslab"),
    ],
    ids=["first", "order", "modality", "controls", "start picture", "mask", "size"],
)
async def test_auto_takes_the_first_that_can(
    providers: Providers, tmp_path: Path, order: str, asked: dict[str, JsonValue], chosen: str
) -> None:
    """In the operator's order, by what is asked for; the answer says why."""
    paths: dict[str, JsonValue] = {
        name: str(providers.folder / "house.png") for name in ("init_image", "mask_image") if name in asked
    }
    async with providers.open(tmp_path, order) as session:
        reply = await session.generate(dry_run=True, **{**providers.arguments("auto"), **asked, **paths})
    shown = json.loads(reply.text)
    assert shown["provider"] == chosen
    (reason,) = [row["detail"] for row in shown["warnings"] if row["feature"] == "provider"]
    assert f"{chosen} is the first ready provider" in reason


@pytest.mark.parametrize(
    ("provider", "asked", "able", "unable"),
    [
        ("wavespeed", {"modality": "instant-id"}, "zhiqite", "scenario"),
        ("segmind", {"modality": "canny,depth"}, "modelslab", "wavespeed"),
        ("wavespeed", {"init_image": "house.png"}, "zhiqite", "segmind"),
    ],
)
async def test_what_a_provider_cannot_do_is_refused_with_who_can(
    providers: Providers, tmp_path: Path, provider: str, asked: dict[str, JsonValue], able: str, unable: str
) -> None:
    """Before anything is sent to anybody."""
    received = [len(service.studio.received) for service in providers.services.values()]
    if "init_image" in asked:
        asked = {"init_image": str(providers.folder / "house.png")}
    async with providers.open(tmp_path) as session:
        error = (await session.generate(**{**providers.arguments(provider), **asked})).error
    assert error.code == "unsupported"
    assert provider in error.message
    assert able in error.hint
    assert unable not in error.hint
    assert [len(service.studio.received) for service in providers.services.values()] == received


@pytest.mark.parametrize("provider", HOSTED)
async def test_models_are_asked_for_where_there_is_a_listing(
    providers: Providers, tmp_path: Path, provider: str
) -> None:
    """When the vendor cannot answer, the documented ones are given, with a note."""
    studio, path = providers.services[provider].studio, SIMULATIONS[provider].listing
    async with providers.open(tmp_path) as session:
        asked = len(studio.received)
        now = ModelList.model_validate_json((await session.call("list_models", provider=provider)).text)
        assert (len(studio.received) > asked) == (path is not None)
        assert now.note is None
        assert now.models
        if path is None:
            return
        studio.fail_next(path, *[Response("broken", 500)] * 2)
        later = ModelList.model_validate_json((await session.call("list_models", provider=provider)).text)
        studio.faults.clear()
    assert later.note is not None
    assert "documentation" in later.note
