"""Results behind redirects: within the service, and from it to a CDN, as services have them."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import STAND_IN_SPACE, Limits, Network
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.providers.types import Output
from controlnet_mcp.server.settings import Settings
from tests.support.attack_targets import giving
from tests.support.hosted_providers import HOSTED, LINKS_ONLY, SIMULATIONS, Hosted, serving, serving_file
from tests.support.job_layer import PICTURE_URL, URL, Service, open_job_layer, says
from tests.support.mcp_session import SIDE, WAIT_SECONDS, open_session, settings_for
from tests.support.sample_drawings import house
from tests.support.simulators.redirects import Redirecting
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.tls_site import NAME, tls_site

pytestmark = pytest.mark.anyio
PNG = encode_png(house(SIDE))


@contextmanager
def redirecting(name: str, *to: str, status: int = 302) -> Generator[tuple[Hosted, Redirecting]]:
    """Serve a provider whose pictures are behind redirects; `cdn` in `to` is another origin with the same files."""
    holder: list[Redirecting] = []
    with ExitStack() as stack:
        listening = free_socket()

        def wrap(app: ASGIApp) -> ASGIApp:
            holder.append(Redirecting(app, tuple(row.replace("cdn", origin_of(listening)) for row in to), status))
            return holder[0]

        service = stack.enter_context(serving(name, wrap))
        stack.enter_context(running(holder[0], listening))
        yield service, holder[0]


@contextmanager
def server_for(service: Hosted, folder: Path, pictures: Path) -> Generator[Settings]:
    """Settings with the keys of a provider, which may fetch from this machine as if it were public."""
    with serving_file(pictures / "sketch.png") as origin:
        more = {"public_url": origin} if service.name in LINKS_ONLY else {}
        keys = service.variables
        yield settings_for(folder, pictures, keys=keys, trusted_hosts="127.0.0.1", **more)


@pytest.mark.parametrize(("to", "status"), [(("",), 302), (("cdn",), 307), (("", "", "cdn"), 301)])
@pytest.mark.parametrize("name", HOSTED)
async def test_d6_a_result_that_redirects_comes_home(
    name: str, to: tuple[str, ...], status: int, tmp_path: Path, pictures: Path
) -> None:
    """D6: within the origin, and from the API to a CDN; the key goes to neither."""
    drawing, modality = str(pictures / "sketch.png"), SIMULATIONS[name].modality
    with (
        redirecting(name, *to, status=status) as (service, pages),
        server_for(service, tmp_path, pictures) as settings,
    ):
        async with open_session(settings) as session:
            job = (await session.generate(provider=name, control_image=drawing, modality=modality)).job
    assert job.status == "succeeded", job
    assert service.studio.charges == 1
    assert len(pages.headers) > len(to)
    sent = " ".join(f"{name}: {value}" for headers in pages.headers for name, value in headers.items())
    assert not [secret for secret in service.secrets if secret in sent]


async def test_d1_a_paid_result_behind_a_stand_in_address_comes_home(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: where the operator allows stand-ins the picture comes; elsewhere the job says which setting it lacks."""
    drawing = {"control_image": str(pictures / "sketch.png"), "provider": "wavespeed"}
    keys: dict[str, object] = {}
    with (
        tls_site(tmp_path, giving(PNG), monkeypatch, address="198.18.0.7"),
        redirecting("wavespeed", f"https://{NAME}") as (service, _),
    ):
        keys["keys"] = service.variables
        refusing = settings_for(tmp_path / "refusing", pictures, **keys)
        async with open_session(refusing) as session:
            job = (await session.generate(**drawing, wait_seconds=0)).job
            with anyio.fail_after(WAIT_SECONDS):
                while "CONTROLNET_MCP_STAND_IN_ADDRESSES" not in job.model_dump_json():
                    job = (await session.call("job_status", job_id=job.job_id, wait_seconds=0.2)).job
            assert not job.images
        allowing = settings_for(tmp_path / "allowing", pictures, stand_in_addresses="198.18.0.0/15", **keys)
        async with open_session(allowing) as session:
            job = (await session.generate(**drawing)).job
    assert job.status == "succeeded", job
    assert job.images


async def test_d1_a_paid_result_that_may_not_be_fetched_ends_and_can_be_fetched_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: within two minutes with the setting that is missing; with it the picture is fetched, without a new charge."""
    service = Service(poll=[says("succeeded", url=f"https://{NAME}/1.png")])
    with tls_site(tmp_path, giving(PNG), monkeypatch, address="198.18.0.7"):
        async with open_job_layer(tmp_path, service, fetch=partial(fetch, limits=Limits())) as layer:
            await layer.add(deadline_seconds=1800)
            began = layer.clock.now
            job = await layer.steps()
            assert job.status == "failed"
            assert layer.clock.now - began < 120
            assert job.fault is not None
            assert job.fault.code == "image_blocked"
            assert "CONTROLNET_MCP_STAND_IN_ADDRESSES" in job.fault.message + job.fault.hint
        allowing = partial(fetch, limits=Limits(), network=Network(stand_ins=STAND_IN_SPACE))
        async with open_job_layer(tmp_path, service, clock=layer.clock, fetch=allowing) as layer:
            assert await layer.store.reopen("job_1", layer.clock.now + 600)
            job = await layer.steps()
    assert (job.status, len(job.images)) == ("succeeded", 1)
    assert service.count("POST", "jobs") == 1


def leading(location: str, status: int = 302) -> httpx2.Response:
    """A redirect."""
    return httpx2.Response(status, headers={"location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_d6_three_redirects_are_followed(status: int, tmp_path: Path) -> None:
    """D6: relative ones, and those that name the origin; the fourth is one too many."""
    hops = [leading("/results/2", status), leading("3?a=b", status), leading(f"{URL}/results/4", status)]
    service = Service(download=[*hops, httpx2.Response(200, content=PNG)])
    async with open_job_layer(tmp_path / "three", service) as layer:
        assert await layer.sender.download(layer.provider, Output(url=PICTURE_URL)) == PNG
    paths = [str(row.url).removeprefix(f"{URL}/results/") for row in service.requests]
    assert paths == ["1.png", "2", "3?a=b", "4"]
    endless = Service(download=[leading("/results/again")])
    async with open_job_layer(tmp_path / "loop", endless) as layer:
        with pytest.raises(ControlNetError, match="redirects more than 3 times"):
            await layer.sender.download(layer.provider, Output(url=PICTURE_URL))
    assert len(endless.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://scripted.example/x.png",
            "http://cdn.example/x.png",
            "file:///etc/hostname",
            "data:image/png;base64,AA",
        ),
        *(
            "ftp://scripted.example/x",
            "https://user:word@scripted.example/x",
            "https://[::1",
            "gopher://x/",
        ),
    ],
)
async def test_d6_a_redirect_of_a_result_leaves_neither_https_nor_the_web(location: str, tmp_path: Path) -> None:
    """D6, attack: plain http, files and other schemes, and links with passwords; nothing more is asked."""
    service = Service(download=[leading(location)])
    async with open_job_layer(tmp_path, service) as layer:
        with pytest.raises(ControlNetError) as caught:
            await layer.sender.download(layer.provider, Output(url=PICTURE_URL))
    assert caught.value.code in {"image_blocked", "provider_failed"}
    assert len(service.requests) == 1


async def test_d6_a_redirect_without_an_address_is_told_as_a_status(tmp_path: Path) -> None:
    """D6: some services answer 302 where they mean that there is nothing."""
    async with open_job_layer(tmp_path, Service(download=[httpx2.Response(302)])) as layer:
        with pytest.raises(ControlNetError, match="HTTP 302"):
            await layer.sender.download(layer.provider, Output(url=PICTURE_URL))
