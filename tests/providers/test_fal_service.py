"""fal: the whole way against its simulator, with the sender that sends for all providers."""

import io
from collections.abc import Generator

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from starlette.responses import JSONResponse

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.fal.adapter import FalProvider, FalSettings
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, Report, ResolvedRequest, Submission
from tests.support.edge_recall import chance_of, recall_of
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house
from tests.support.simulators.fal import FLAGGED, KEY, TIMED_OUT, Failure, FalStudio, fal
from tests.support.simulators.fal_forms import bad_file
from tests.support.simulators.serving import free_socket, origin_of, running

pytestmark = pytest.mark.anyio
UNION = "fal-ai/sdxl-controlnet-union"
STARTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "a start picture": ("init_image",),
    "a mask": ("init_image", "mask_image"),
}
CASES = (
    *((modality, UNION, start) for modality in FalProvider.capabilities.modalities for start in STARTS),
    *(
        (modality, f"fal-ai/flux-control-lora-{modality}", start)
        for modality in ("canny", "depth")
        for start in ("nothing", "a start picture")
    ),
)


@pytest.fixture
def studio() -> Generator[FalStudio]:
    """A running simulator."""
    listening = free_socket()
    state = FalStudio(origin=origin_of(listening), looks_until_done=3)
    with running(fal(state), listening):
        yield state


def provider(studio: FalStudio) -> FalProvider:
    """An adapter for the simulator."""
    return FalProvider(FalSettings.model_validate({"key": SecretStr(KEY), "base_url": studio.origin}))


def edges() -> Rgb:
    """A canny map, 576 pixels square."""
    return make_map(house(576), "canny").rgb


def request(blobs: BlobStore, modality: str = "canny", **changes: object) -> ResolvedRequest:
    """A small request with a map of ours."""
    unit = Control(modality=modality, picture=blobs.put_pixels(edges()), is_map=True)
    fields = {"prompt": "a house", "controls": (unit,), "width": 576, "height": 576, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


async def order(sender: Sender, adapter: FalProvider, resolved: ResolvedRequest) -> Submission:
    """Fit and submit, as the job layer does."""
    return await submit(sender, adapter, adapter.fit(resolved).request, "reference")


async def ended(sender: Sender, adapter: FalProvider, resolved: ResolvedRequest) -> list[Report]:
    """Submit, and ask until it has ended; gives every report."""
    submission = await order(sender, adapter, resolved)
    reports = [submission.report]
    while reports[-1].phase in {"queued", "running"}:
        reports.append(await sender.poll(adapter, submission.task))
    return reports


def pixels(content: bytes) -> Rgb:
    """A delivered picture."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


@pytest.mark.parametrize(("modality", "model", "start"), CASES)
async def test_the_whole_way(
    studio: FalStudio, sender: Sender, blobs: BlobStore, modality: str, model: str, start: str
) -> None:
    """Every modality and model from nothing, a start picture and a mask: bought once, and the drawing can be seen."""
    drawn_on: dict[str, object] = dict.fromkeys(STARTS[start], blobs.put_pixels(edges()))
    drawn_on |= {"strength": 0.5} if drawn_on else {}
    usual: dict[str, object] = {"num_images": 2, "steps": 4, "guidance": 2.0, "options": {"loras": [{"path": "a/b"}]}}
    adapter = provider(studio)
    reports = await ended(sender, adapter, request(blobs, modality, model=model, **usual, **drawn_on))
    assert [row.phase for row in reports] == ["queued", "queued", "running", "succeeded"]
    first, second = [pixels(await sender.download(adapter, row)) for row in reports[-1].outputs]
    assert not np.array_equal(first, second)
    assert recall_of(edges(), first) > 0.9 > 2 * chance_of(edges(), first)
    assert (studio.charges, reports[-1].seed) == (1, 7)


async def test_the_key_goes_to_the_queue_and_nowhere_else(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """The links of results do not see it."""
    adapter = provider(studio)
    report = (await ended(sender, adapter, request(blobs)))[-1]
    await sender.download(adapter, report.outputs[0])
    assert {row.path.split("/")[1] for row in studio.received if "authorization" not in row.headers} == {"files"}
    assert {row.path.split("/")[1] for row in studio.received if "authorization" in row.headers} == {"fal-ai"}


async def test_two_controls_with_a_picture_each(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """A map, and a picture that fal shall preprocess."""
    picture = blobs.put_pixels(edges())
    pair = (Control(modality="canny", picture=picture, is_map=True), Control(modality="pose", picture=picture))
    assert (await ended(sender, provider(studio), request(blobs, controls=pair)))[-1].phase == "succeeded"


async def test_pictures_inside_the_result_are_stored(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """In sync mode nothing has to be downloaded, and the record gets hashes."""
    report = (await ended(sender, provider(studio), request(blobs, options={"sync_mode": True})))[-1]
    (output,) = report.outputs
    assert output.content is None
    assert pixels(blobs.get(output.sha256 or "")).shape == (576, 576, 3)


async def test_flags_arrive(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """One per picture."""
    studio.nsfw = (False, True)
    report = (await ended(sender, provider(studio), request(blobs, num_images=2)))[-1]
    assert [row.flagged for row in report.outputs] == [False, True]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (FLAGGED, "moderated"),
        (TIMED_OUT, "timed_out"),
        (Failure(422, bad_file("canny_image_url")), "image_unreadable"),
        (Failure(500, "Internal Server Error", "internal_error"), "provider_failed"),
    ],
)
async def test_failures_are_told(
    studio: FalStudio, sender: Sender, blobs: BlobStore, failure: Failure, code: str
) -> None:
    """A model's, which only the result shows, and the platform's, which are in the status."""
    studio.failure = failure
    fault = (await ended(sender, provider(studio), request(blobs)))[-1].fault
    assert fault is not None
    assert fault.code == code


async def test_a_wrong_input_may_be_refused_at_once(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """Nobody knows whether it is, or only in the result: both are understood."""
    studio.checks_at_once = True
    unit = Control(modality="canny", source_url="https://nobody.example/1.png", is_map=True)
    with pytest.raises(ProviderError) as caught:
        await order(sender, provider(studio), request(blobs, controls=(unit,)))
    assert (caught.value.code, caught.value.delivery, studio.charges) == ("image_unreadable", "refused", 0)
    studio.checks_at_once = False
    fault = (await ended(sender, provider(studio), request(blobs, controls=(unit,))))[-1].fault
    assert fault is not None
    assert fault.code == "image_unreadable"


@pytest.mark.parametrize("looks", [0, 1])
async def test_cancelling(studio: FalStudio, sender: Sender, blobs: BlobStore, looks: int) -> None:
    """In the queue and at work; afterwards it counts as ended, and cannot be stopped twice."""
    adapter = provider(studio)
    task = (await order(sender, adapter, request(blobs))).task
    for _ in range(looks):
        await sender.poll(adapter, task)
    assert await sender.run(adapter, adapter.cancel(task)) is True
    assert (await sender.poll(adapter, task)).phase == "canceled"
    assert await sender.run(adapter, adapter.cancel(task)) is False


async def test_an_empty_balance_is_told(studio: FalStudio, sender: Sender, blobs: BlobStore) -> None:
    """Nothing was accepted."""
    studio.balance = 0.0
    with pytest.raises(ProviderError) as caught:
        await order(sender, provider(studio), request(blobs))
    assert (caught.value.code, caught.value.delivery, studio.charges) == ("payment_required", "refused", 0)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_reply_that_was_lost_is_not_taken_for_a_refusal(
    studio: FalStudio, sender: Sender, blobs: BlobStore, status: int
) -> None:
    """And the adapter sends nothing twice, as the vendor's own client does, not even after a 429."""
    studio.fail_next(f"/{UNION}", JSONResponse({"detail": "Bad Gateway"}, status))
    with pytest.raises(ProviderError) as caught:
        await order(sender, provider(studio), request(blobs))
    assert caught.value.delivery == ("refused" if status == 429 else "unknown")
    assert len(studio.calls(f"/{UNION}")) == 1
