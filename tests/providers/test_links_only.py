"""What a provider that fetches pictures by itself is handed: links that anybody may follow, and no others."""

import json
import socket
from collections.abc import AsyncGenerator, Generator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from controlnet_mcp.jobs.prepare import shared_link
from controlnet_mcp.server.settings import Settings
from tests.support.attack_targets import Victim, giving, victim_of
from tests.support.mcp_session import Reply, Session, open_session, settings_for
from tests.support.tls_site import NAME, tls_site

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
KEYS = {"ZHIQITE_ACCESS_KEY_ID": "i" * 20, "ZHIQITE_ACCESS_KEY_SECRET": "s" * 20, "ZHIQITE_BASE_URL": NOBODY}
UNREACHED = "https://unreached.example/house.png"


def closed_settings(tmp_path: Path, pictures: Path, **more: object) -> Settings:
    """Settings of a server with keys of zhiqite, which nobody outside can reach."""
    return settings_for(tmp_path / "data", pictures, keys=KEYS, **more)


async def unresolved(host: str, port: int, **__: object) -> list[tuple[object, ...]]:
    """Stands in for a name server that knows no name."""
    if host == "127.0.0.1":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
async def offline(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Session]:
    """Such a server, on a machine that resolves no name."""
    monkeypatch.setattr(anyio, "getaddrinfo", unresolved)
    async with open_session(closed_settings(tmp_path, pictures)) as opened:
        yield opened


@pytest.fixture
def inside(pictures: Path) -> Generator[Victim]:
    """A server of the operator's own network."""
    with victim_of(giving((pictures / "photo.png").read_bytes())) as made:
        yield made


async def shown(session: Session, **arguments: JsonValue) -> Reply:
    """A dry run with zhiqite."""
    return await session.generate(provider="zhiqite", dry_run=True, **arguments)


def units_of(reply: Reply) -> list[dict[str, JsonValue]]:
    """The controls in the request that was shown."""
    scripts = json.loads(reply.text)["request"]["json"]["alwayson_scripts"]
    units: list[dict[str, JsonValue]] = scripts["controlnet"]["args"]
    return units


def warned(reply: Reply) -> list[str]:
    """The parameters that were passed on unseen."""
    return [row["feature"] for row in json.loads(reply.text)["warnings"] if "passed on" in row["detail"]]


async def test_f4_a_link_to_a_trusted_host_is_not_handed_to_a_provider(
    inside: Victim, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F4: neither as control, as further control nor as start picture; the way out is told."""
    monkeypatch.setattr(anyio, "getaddrinfo", unresolved)
    for hosts in ("127.0.0.1", inside.host):
        async with open_session(closed_settings(tmp_path, pictures, trusted_hosts=hosts)) as session:
            extra: list[JsonValue] = [{"modality": "depth", "image": inside.url("/b.png")}]
            for given in (
                {"control_image": inside.url("/a.png")},
                {"control_image": UNREACHED, "extra_controls": extra},
                {"control_image": UNREACHED, "init_image": inside.url("/c.png")},
            ):
                reply = await shown(session, **given)
                assert reply.error.code in {"not_configured", "image_unreadable"}, given
                assert inside.host not in reply.text


async def test_f4_the_picture_of_a_trusted_host_goes_through_our_own_files(
    inside: Victim, tmp_path: Path, pictures: Path
) -> None:
    """F4: with a public URL the provider is handed a signed link of ours, and the host's name nowhere."""
    settings = closed_settings(tmp_path, pictures, trusted_hosts=inside.host, public_url="https://pictures.example")
    async with open_session(settings) as session:
        extra: list[JsonValue] = [{"modality": "depth", "image": inside.url("/b.png")}]
        link = inside.url("/a.png")
        reply = await shown(session, control_image=link, extra_controls=extra, init_image=inside.url("/c.png"))
    assert not reply.result.is_error, reply.text
    assert inside.host not in reply.text
    assert [str(unit["image_link"])[:11] for unit in units_of(reply)] == ["(public_url"] * 2


@pytest.mark.parametrize(
    ("link", "handed"),
    [
        ("https://a.example/x.png", True),
        ("HTTPS://A.example/x.png", True),
        ("http://a.example/x.png", False),
        ("https://nas.example/x.png", False),
        ("https://NAS.example./x.png", False),
        ("https://nas.example:8443/x.png", False),
        ("https://cam.example:8443/x.png", False),
        ("https://cam.example/x.png", True),
        ("https://[2606:2800:220:1::1]/x.png", False),
        ("https://[2606:2800:220:1::2]/x.png", True),
        ("https://nas.local/x.png", False),
        ("https://nas/x.png", False),
        ("https://10.0.0.1/x.png", False),
        ("https://[fd00::1]/x.png", False),
        ("https://metadata.google.internal/x.png", False),
        ("https://[", False),
        ("house.png", False),
        ("", False),
    ],
)
def test_f4_a_link_is_handed_on_by_its_host(link: str, *, handed: bool) -> None:
    """F4: https, and to no host that the operator vouches for in any spelling."""
    trusted = frozenset({"nas.example", "cam.example:8443", "2606:2800:220:1::1"})
    assert shared_link(link, trusted) == (link.replace("HTTPS:", "https:") if handed else None)


async def test_f8_a_link_that_only_the_provider_reaches_is_passed_on_wherever_it_stands(offline: Session) -> None:
    """F8: as the main picture, as that of a further control and as start picture, each with a warning."""
    extra: list[JsonValue] = [{"modality": "depth", "image": f"{UNREACHED}?extra"}]
    reply = await shown(offline, control_image=UNREACHED, extra_controls=extra, init_image=f"{UNREACHED}?start")
    assert [unit["image_link"] for unit in units_of(reply)] == [UNREACHED, f"{UNREACHED}?extra"]
    assert f"{UNREACHED}?start" in reply.text
    assert warned(reply) == ["control_image", "extra_controls", "init_image"]


async def test_f8_other_providers_are_not_handed_what_could_not_be_read(offline: Session) -> None:
    """F8: they take no links, so the main picture and that of a further control are refused alike."""
    extra: list[JsonValue] = [{"modality": "depth", "image": UNREACHED}]
    for given in ({"control_image": UNREACHED}, {"extra_controls": extra}, {"init_image": UNREACHED}):
        error = (await offline.generate(provider="draft", dry_run=True, **given)).error
        assert error.code == "image_unreadable"


def answer(request: BaseHTTPRequestHandler) -> None:
    """Answer with the status that the path names, and no picture."""
    giving(b"<html>nothing</html>", int(request.path.strip("/")))(request)


@pytest.mark.parametrize(("status", "passed"), [(200, False), (404, False), (410, False), (403, True), (503, True)])
async def test_f8_what_was_reached_and_is_no_picture_is_not_passed_on(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, status: int, *, passed: bool
) -> None:
    """F8: a page, and nothing at all, are refused wherever they stand; a host that shuts us out is not."""
    link = f"https://{NAME}/{status}"
    extra: list[JsonValue] = [{"modality": "depth", "image": link}]
    with tls_site(tmp_path, answer, monkeypatch):
        async with open_session(closed_settings(tmp_path, pictures)) as session:
            replies = [await shown(session, control_image=link)]
            replies.append(await shown(session, control_image=f"https://{NAME}/503", extra_controls=extra))
    assert [not reply.result.is_error for reply in replies] == [passed, passed]


@pytest.mark.parametrize("link", ["https://10.0.0.1/a.png", "https://127.0.0.1/a.png", "https://u:p@a.example/a.png"])
async def test_f8_a_link_that_may_not_be_followed_is_nobody_elses_to_follow(offline: Session, link: str) -> None:
    """F8, attack: private addresses and passwords are refused wherever they stand."""
    extra: list[JsonValue] = [{"modality": "depth", "image": link}]
    for given in ({"control_image": link}, {"control_image": UNREACHED, "extra_controls": extra}):
        reply = await shown(offline, **given)
        assert reply.result.is_error, given


async def test_f8_links_are_given_again_to_a_provider_of_links(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F8: like_job hands over the links of the earlier job, those of further controls too."""
    picture = giving((pictures / "photo.png").read_bytes())
    link, other = f"https://{NAME}/photo.png", f"https://{NAME}/other.png"
    extra: list[JsonValue] = [{"modality": "tile", "image": other}]
    more: dict[str, JsonValue] = {"provider": "zhiqite", "dry_run": True}
    with tls_site(tmp_path, picture, monkeypatch):
        async with open_session(closed_settings(tmp_path, pictures)) as session:
            given: dict[str, JsonValue] = {"modality": "tile", "control_image": link, "extra_controls": extra}
            first = (await session.generate(provider="draft", **given)).job
            again = await session.call("controlnet_generate", like_job=first.job_id, **more)
    assert [unit["image_link"] for unit in units_of(again)] == [link, other]
