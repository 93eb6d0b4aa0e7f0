"""WaveSpeed: the whole way against its simulator, with the sender that sends for all providers."""

import io
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from starlette.responses import JSONResponse

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, Output, Report, ResolvedRequest, Submission
from controlnet_mcp.providers.wavespeed.adapter import WaveSpeedProvider, WaveSpeedSettings
from tests.support.edge_recall import chance_of, recall_of
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import KEY, WaveSpeedStudio, wavespeed

pytestmark = pytest.mark.anyio
ELSEWHERE = "https://cdn.example/1.jpeg"


@contextmanager
def serving(**changes: object) -> Generator[WaveSpeedStudio]:
    """A running simulator."""
    listening = free_socket()
    studio = WaveSpeedStudio(origin=origin_of(listening))
    for name, value in changes.items():
        setattr(studio, name, value)
    with running(wavespeed(studio), listening):
        yield studio


@pytest.fixture
def studio() -> Generator[WaveSpeedStudio]:
    """A running simulator as it is."""
    with serving() as state:
        yield state


@pytest.fixture
async def sender(blobs: BlobStore) -> AsyncGenerator[Sender]:
    """The sender of all providers; what is elsewhere is fetched from nowhere."""

    async def fetch(url: str) -> bytes:
        return f"fetched without a key: {url}".encode()

    sender = Sender(PictureSource(blobs), fetch)
    yield sender
    await sender.aclose()


def provider(studio: WaveSpeedStudio, key: str = KEY, version: str = "v3") -> WaveSpeedProvider:
    """An adapter for the simulator."""
    settings = {"base_url": studio.origin, "api_key": SecretStr(key)}
    return WaveSpeedProvider(WaveSpeedSettings.model_validate({**settings, "api_version": version}))


def edges() -> Rgb:
    """A canny map, 576 pixels square."""
    return make_map(house(576), "canny").rgb


def request(blobs: BlobStore, modality: str = "canny", **changes: object) -> ResolvedRequest:
    """A small request with a map of ours."""
    unit = Control(modality=modality, picture=blobs.put_pixels(edges()), is_map=True)
    fields = {"prompt": "a house", "controls": (unit,), "width": 576, "height": 576, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


async def order(sender: Sender, adapter: WaveSpeedProvider, resolved: ResolvedRequest) -> Submission:
    """Settle and submit, as the job layer does."""
    return await submit(sender, adapter, adapter.fit(resolved).request, "reference")


async def ended(sender: Sender, adapter: WaveSpeedProvider, submission: Submission) -> list[Report]:
    """Ask until a task has ended; gives every report."""
    reports = [submission.report]
    while reports[-1].phase in {"queued", "running"}:
        reports.append(await sender.poll(adapter, submission.task))
    return reports


def pixels(content: bytes) -> Rgb:
    """A delivered picture."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


@pytest.mark.parametrize("version", ["v3", "v2"])
async def test_the_whole_way(studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore, version: str) -> None:
    """Ticket, upload, submission, three looks, two pictures that show the drawing; bought once."""
    adapter = provider(studio, version=version)
    submission = await order(sender, adapter, request(blobs, num_images=2))
    reports = await ended(sender, adapter, submission)
    assert [row.phase for row in reports] == ["queued", "running", "succeeded"]
    first, second = [pixels(await sender.download(adapter, row)) for row in reports[-1].outputs]
    assert first.shape == (576, 576, 3)
    assert not np.array_equal(first, second)
    assert recall_of(edges(), first) > 0.9 > 2 * chance_of(edges(), first)
    assert studio.charges == 1
    assert studio.calls(f"/api/{version}/predictions/{submission.task.remote_id}/result")


async def test_the_key_goes_to_the_interface_and_nowhere_else(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore
) -> None:
    """Neither the storage nor the links of results see it."""
    adapter = provider(studio)
    report = (await ended(sender, adapter, await order(sender, adapter, request(blobs))))[-1]
    await sender.download(adapter, report.outputs[0])
    keyless = {row.path.split("/")[1] for row in studio.received if "authorization" not in row.headers}
    keyed = {row.path.split("/")[1] for row in studio.received if "authorization" in row.headers}
    assert (keyless, keyed) == ({"storage", "outputs"}, {"api"})
    assert await sender.download(adapter, Output(url=ELSEWHERE)) == f"fetched without a key: {ELSEWHERE}".encode()


@pytest.mark.parametrize("modality", WaveSpeedProvider.capabilities.modalities)
async def test_every_modality_is_accepted(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore, modality: str
) -> None:
    """By the model that is chosen for it, which refuses fields that it does not have."""
    options = {"loras": [{"path": "a/b"}], "enable_safety_checker": False, "output_format": "webp"}
    resolved = request(blobs, modality, steps=4, guidance=2.0, options=options)
    submission = await order(sender, provider(studio), resolved)
    assert submission.report.phase == "queued"


async def test_an_upload_is_used_again(studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore) -> None:
    """The same picture is handed over once."""
    adapter = provider(studio)
    for seed in (1, 2):
        await order(sender, adapter, request(blobs, seed=seed))
    assert len(studio.calls("/api/v3/media/uploads")) == 1
    assert studio.charges == 2


async def test_a_link_is_passed_on(studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore) -> None:
    """An unchanged https picture needs no upload."""
    studio.web[ELSEWHERE] = edges()
    unit = Control(modality="depth", source_url=ELSEWHERE, is_map=True)
    adapter = provider(studio)
    reports = await ended(sender, adapter, await order(sender, adapter, request(blobs, controls=(unit,))))
    assert reports[-1].phase == "succeeded"
    assert not studio.calls("/api/v3/media/uploads")


async def test_a_picture_that_the_vendor_cannot_read_is_told(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore
) -> None:
    """The task fails with code 1402."""
    unit = Control(modality="depth", source_url="https://nobody.example/1.png", is_map=True)
    adapter = provider(studio)
    report = (await ended(sender, adapter, await order(sender, adapter, request(blobs, controls=(unit,)))))[-1]
    assert report.fault is not None
    assert report.fault.code == "image_unreadable"


@pytest.mark.parametrize(("waits", "phases"), [(True, ["succeeded"]), (False, ["running", "running", "succeeded"])])
async def test_sync_mode(sender: Sender, blobs: BlobStore, *, waits: bool, phases: list[str]) -> None:
    """The pictures at once, or polling goes on where the vendor stopped to wait."""
    with serving(sync_waits=waits) as studio:
        adapter = provider(studio)
        submission = await order(sender, adapter, request(blobs, options={"enable_sync_mode": True}))
        reports = await ended(sender, adapter, submission)
        assert [row.phase for row in reports] == phases
        assert studio.charges == 1


@pytest.mark.parametrize("sync", [True, False])
async def test_pictures_inside_replies_are_stored(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore, *, sync: bool
) -> None:
    """With `enable_base64_output` nothing has to be downloaded, and the record gets hashes."""
    options = {"enable_base64_output": True, "enable_sync_mode": sync}
    adapter = provider(studio)
    report = (await ended(sender, adapter, await order(sender, adapter, request(blobs, options=options))))[-1]
    (output,) = report.outputs
    assert output.content is None
    assert pixels(blobs.get(output.sha256 or "")).shape == (576, 576, 3)


async def test_flags_and_the_file_type_arrive(studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore) -> None:
    """One flag per picture; Union Pro draws PNG when asked."""
    studio.nsfw = (False, True)
    adapter = provider(studio)
    resolved = request(blobs, "softedge", num_images=2, options={"output_format": "png"})
    report = (await ended(sender, adapter, await order(sender, adapter, resolved)))[-1]
    assert [row.flagged for row in report.outputs] == [False, True]
    assert (await sender.download(adapter, report.outputs[0])).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("status", "phase", "code"),
    [
        ("failed", "failed", "moderated"),
        ("timeout", "failed", "timed_out"),
        ("deleted", "failed", "not_found"),
        ("cancelled", "canceled", "canceled"),
    ],
)
async def test_every_other_end(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore, status: str, phase: str, code: str
) -> None:
    """Each is told with a code of ours."""
    studio.ends_as, studio.error = status, ("flagged", 1200)
    adapter = provider(studio)
    report = (await ended(sender, adapter, await order(sender, adapter, request(blobs))))[-1]
    assert report.fault is not None
    assert (report.phase, report.fault.code) == (phase, code)


@pytest.mark.parametrize(
    ("changes", "key", "code"),
    [
        ({}, "wrong", "unauthorized"),
        ({"balance": 0.01}, KEY, "payment_required"),
        ({"versions": frozenset({"v2"})}, KEY, "not_found"),
    ],
)
async def test_refusals_are_not_charged(
    sender: Sender, blobs: BlobStore, changes: dict[str, object], key: str, code: str
) -> None:
    """A wrong key, an empty account, a version that is gone."""
    with serving(**changes) as studio:
        with pytest.raises(ProviderError) as caught:
            await order(sender, provider(studio, key), request(blobs))
        assert (caught.value.code, studio.charges) == (code, 0)
        assert caught.value.delivery in {"refused", "not_sent"}
        assert key not in str(caught.value)


async def test_a_reply_that_was_lost_is_not_taken_for_a_refusal(
    studio: WaveSpeedStudio, sender: Sender, blobs: BlobStore
) -> None:
    """HTTP 500 on the submission: sent once, and nobody knows."""
    studio.fail_next("/api/v3/wavespeed-ai/", JSONResponse({"code": 500, "message": "oops"}, 500))
    with pytest.raises(ProviderError) as caught:
        await order(sender, provider(studio), request(blobs))
    assert caught.value.delivery == "unknown"
    assert len(studio.calls("/api/v3/wavespeed-ai/flux-control-lora-canny")) == 1


@pytest.mark.parametrize("sdk_paths", [True, False])
async def test_price_balance_and_models(sender: Sender, blobs: BlobStore, *, sdk_paths: bool) -> None:
    """At whichever path they live; nothing is bought."""
    with serving(sdk_paths=sdk_paths) as studio:
        adapter = provider(studio)
        resolved = adapter.fit(request(blobs, num_images=2)).request
        placeholders = {row.sha256: "(link of the upload)" for row in adapter.uploads(resolved)}
        cost = await sender.run(adapter, adapter.price(resolved, placeholders))
        assert cost is not None
        assert cost.amount == pytest.approx(0.054 if sdk_paths else 0.06)
        assert cost.unit == "USD"
        assert await sender.run(adapter, adapter.balance()) == 10.0
        assert len(await sender.run(adapter, adapter.models())) == 4
        assert studio.charges == 0
