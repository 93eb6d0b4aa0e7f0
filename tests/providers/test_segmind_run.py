"""Segmind, end to end: the adapter and the sender against a simulated vendor on a real socket."""

import dataclasses
from collections.abc import Generator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.segmind.adapter import SegmindProvider, SegmindSettings
from controlnet_mcp.providers.segmind.models import MODELS, SegmindModel
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Output, Phase, ResolvedRequest, Submission
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import Rgb, skeleton
from tests.support.segmind_cases import LINK, resolved_request
from tests.support.simulators.segmind import KEY, PRICE, SegmindStudio, segmind
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import as_file

pytestmark = pytest.mark.anyio
CONTROL = skeleton(256)


@pytest.fixture(scope="module")
def served() -> Generator[SegmindStudio]:
    """A simulated Segmind that serves all tests of this file."""
    listening = free_socket()
    state = SegmindStudio(origin=origin_of(listening))
    with running(segmind(state), listening):
        yield state


@pytest.fixture
def studio(served: SegmindStudio) -> SegmindStudio:
    """The simulated Segmind as if nothing had happened yet."""
    fresh = SegmindStudio(origin=served.origin)
    for row in dataclasses.fields(fresh):
        setattr(served, row.name, getattr(fresh, row.name))
    return served


@pytest.fixture
def control(blobs: BlobStore) -> StoredPicture:
    """A stored control picture."""
    return blobs.put_clean(as_file(CONTROL), Limits()).picture


def connect(studio: SegmindStudio, version: str = "v2", key: str = KEY) -> SegmindProvider:
    """An adapter that talks to the simulated vendor."""
    return SegmindProvider(
        SegmindSettings.model_validate(
            {
                "api_key": key,
                "base_url": f"{studio.origin}/v1",
                "upload_url": f"{studio.origin}/upload-asset",
                "api_version": version,
            }
        )
    )


def asked(picture: StoredPicture, modality: str = "pose", **changes: object) -> ResolvedRequest:
    """A request on a control picture, of its size."""
    return resolved_request(modality, control={"picture": picture}, width=256, height=256, **changes)


async def submitted(sender: Sender, provider: SegmindProvider, request: ResolvedRequest) -> Submission:
    """Settle and submit."""
    return await submit(sender, provider, provider.fit(request).request, "reference")


async def finished(
    sender: Sender, provider: SegmindProvider, submission: Submission
) -> tuple[list[Phase], tuple[Output, ...]]:
    """Poll to the end; gives the phases on the way and the outputs."""
    report = submission.report
    phases: list[Phase] = [report.phase]
    while report.phase in {"queued", "running"}:
        report = await sender.poll(provider, submission.task)
        phases.append(report.phase)
    return phases, report.outputs


def likeness(content: bytes) -> float:
    """How much the lines of a result follow those of the control picture, -1 to 1."""
    result = decode(content, Limits())
    height, width = result.shape[:2]
    drawn, wanted = _lines(result), _lines(cv2.resize(CONTROL, (width, height)))
    return float(np.mean(drawn * wanted) / (drawn.std() * wanted.std()))


def _lines(picture: cv2.typing.MatLike) -> npt.NDArray[np.float32]:
    """How much brighter each pixel is than its surroundings, 0 on average."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    lines: npt.NDArray[np.float32] = np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 12), dtype=np.float32)
    centred: npt.NDArray[np.float32] = lines - lines.mean()
    return centred


async def picture_of(sender: Sender, provider: SegmindProvider, output: Output) -> Rgb:
    """Download and decode a result."""
    return decode(await sender.download(provider, output), Limits())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
async def test_every_model_draws_on_the_structure(
    model: SegmindModel, studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """The strict vendor takes the request of every model, and the result keeps the control picture's structure."""
    provider = connect(studio)
    request = asked(control, next(iter(model.keeps)), model=model.name, steps=30, guidance=5.0)
    phases, outputs = await finished(sender, provider, await submitted(sender, provider, request))
    assert phases == ["queued", "queued", "succeeded"]
    assert studio.charges == 1
    assert likeness(await sender.download(provider, outputs[0])) > 0.5


async def test_a_job_goes_through_its_states_and_tells_its_cost(
    studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """Several pictures come as several links; the file is fetched without the key."""
    studio.polls_until_done = 3
    provider = connect(studio)
    submission = await submitted(sender, provider, asked(control, num_images=3))
    phases, outputs = await finished(sender, provider, submission)
    assert phases == ["queued", "queued", "running", "succeeded"]
    assert len(outputs) == 3
    report = await sender.poll(provider, submission.task)
    assert report.cost is not None
    assert report.cost.amount == pytest.approx(3 * PRICE)
    assert report.credits_left == pytest.approx(studio.credits)
    assert await sender.run(provider, provider.balance()) == pytest.approx(studio.credits)
    await sender.download(provider, outputs[0])
    assert "x-api-key" not in studio.received[-1].headers


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
async def test_a_result_has_the_size_and_the_type_that_were_asked_for(
    kind: str, studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """Where the model has a say in them."""
    provider = connect(studio)
    request = asked(control, "canny", model="flux-controlnet", options={"image_format": kind})
    request = request.model_copy(update={"width": 320, "height": 192})
    _, outputs = await finished(sender, provider, await submitted(sender, provider, request))
    assert outputs[0].url is not None
    assert outputs[0].url.endswith(kind)
    assert (await picture_of(sender, provider, outputs[0])).shape == (192, 320, 3)


async def test_v1_answers_with_the_picture_and_the_accounts(
    studio: SegmindStudio, sender: Sender, control: StoredPicture, blobs: BlobStore
) -> None:
    """One call, no polling; the picture is in the store before anything else happens."""
    provider = connect(studio, "v1")
    report = (await submitted(sender, provider, asked(control, seed=99))).report
    assert (report.phase, report.seed) == ("succeeded", 99)
    assert report.credits_left == pytest.approx(studio.credits)
    assert report.outputs[0].sha256 is not None
    assert likeness(blobs.get(report.outputs[0].sha256)) > 0.5
    assert len(studio.received) == studio.charges == 1


@pytest.mark.parametrize("name", ["image", "images", "output"])
async def test_v1_may_answer_with_base64(
    name: str, studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """Several pictures are asked for as base64; what comes is kept, under whatever name."""
    studio.base64_field = name
    report = (await submitted(sender, connect(studio, "v1"), asked(control, num_images=2))).report
    assert len(report.outputs) == (2 if name == "images" else 1)
    assert all(output.sha256 and output.content is None for output in report.outputs)


async def test_a_picture_goes_as_its_link(studio: SegmindStudio, sender: Sender, control: StoredPicture) -> None:
    """The vendor fetches it by itself."""
    studio.web[LINK] = CONTROL
    request = resolved_request(control={"picture": control, "source_url": LINK}, width=256, height=256)
    provider = connect(studio)
    _, outputs = await finished(sender, provider, await submitted(sender, provider, request))
    assert likeness(await sender.download(provider, outputs[0])) > 0.5
    assert LINK.encode() in studio.calls("/v2/sd3-med-pose")[0].body


async def test_an_upload_is_made_once(studio: SegmindStudio, sender: Sender, control: StoredPicture) -> None:
    """Its link serves the next request too, and it costs nothing."""
    provider = connect(studio)
    for _ in range(2):
        await submitted(sender, provider, asked(control, "depth", model="flux-depth-dev"))
    assert len(studio.calls("/upload-asset")) == 1
    assert studio.charges == 2


async def test_an_upload_that_fails_costs_nothing(
    studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """Nothing was submitted, whatever became of the upload."""
    provider = connect(studio, key="SG_ffffffffffffffff")
    with pytest.raises(ProviderError) as caught:
        await submitted(sender, provider, asked(control, "depth", model="flux-depth-pro"))
    assert (caught.value.code, caught.value.delivery) == ("unauthorized", "not_sent")
    assert studio.charges == 0


async def test_a_job_that_fails_says_why_and_is_not_charged(
    studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """The gateway takes the job and the model refuses its numbers."""
    provider = connect(studio)
    submission = await submit(sender, provider, asked(control, "depth", steps=5), "reference")
    await sender.poll(provider, submission.task)
    report = await sender.poll(provider, submission.task)
    assert report.phase == "failed"
    assert report.fault is not None
    assert "num_inference_steps must be between 20 and 100" in report.fault.message
    assert studio.credits == 5.0


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ({"credits": 0.001}, "payment_required", "Insufficient credits"),
        ({"retired": {"sd3-med-pose"}}, "unsupported", "retired"),
        ({"forbidden": {"sd3-med-pose"}}, "unauthorized", "not enabled"),
        ({"without_v2": {"sd3-med-pose"}}, "not_found", "v1"),
    ],
)
async def test_a_refusal_proves_that_nothing_was_bought(
    state: dict[str, object],
    code: str,
    words: str,
    studio: SegmindStudio,
    sender: Sender,
    control: StoredPicture,
) -> None:
    """The vendor did no work, and the caller learns what to do."""
    for name, value in state.items():
        setattr(studio, name, value)
    with pytest.raises(ProviderError, match=words) as caught:
        await submitted(sender, connect(studio), asked(control))
    assert (caught.value.code, caught.value.delivery) == (code, "refused")
    assert studio.charges == 0


async def test_a_model_that_only_v1_knows_is_reached_by_asking_for_v1(
    studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """What the error advises works."""
    studio.without_v2.add("sd3-med-pose")
    submission = await submitted(sender, connect(studio), asked(control, options={"api_version": "v1"}))
    assert submission.report.phase == "succeeded"


async def test_a_wrong_key_is_told_without_repeating_it(
    studio: SegmindStudio, sender: Sender, control: StoredPicture
) -> None:
    """The key is neither in the message nor in the representation."""
    with pytest.raises(ProviderError) as caught:
        await submitted(sender, connect(studio, key="SG_ffffffffffffffff"), asked(control))
    assert caught.value.code == "unauthorized"
    assert "ffff" not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"


async def test_a_forgotten_job_is_not_found(studio: SegmindStudio, sender: Sender, control: StoredPicture) -> None:
    """As after an hour."""
    provider = connect(studio)
    submission = await submitted(sender, provider, asked(control))
    studio.jobs.clear()
    with pytest.raises(ProviderError) as caught:
        await sender.poll(provider, submission.task)
    assert (caught.value.code, caught.value.retryable) == ("not_found", True)
