"""`extract_control_map`: look at a map before paying, and use it."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.images.maps import NO_MODELS
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.tools.extract_control_map import MapView
from tests.support.mcp_session import Reply, Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


def view(reply: Reply) -> MapView:
    """The facts of a map."""
    assert not reply.result.is_error, reply.text
    return MapView.model_validate_json(reply.text)


def pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture as an array of shape (height, width, 3)."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


async def test_a_map_can_be_looked_at(session: Session) -> None:
    """Facts and a preview, and a file for whoever shares the machine."""
    reply = await session.call("extract_control_map", image=str(session.pictures / "photo.png"))
    made = view(reply)
    assert [block.type for block in reply.result.content] == ["text", "image"]
    assert reply.result.structured_content is None
    assert (made.modality, made.width, made.height) == ("canny", 256, 256)
    assert 0 < made.coverage < 0.5
    assert made.path is not None
    assert made.path.read_bytes() == await session.read_picture(made.uri)


async def test_a_map_without_previews_is_typed(session: Session) -> None:
    """As with jobs."""
    reply = await session.call("extract_control_map", image=str(session.pictures / "photo.png"), previews=False)
    assert [block.type for block in reply.result.content] == ["text"]
    assert reply.result.structured_content == json.loads(reply.text)


async def test_a_map_is_accepted_as_a_control_picture(session: Session) -> None:
    """Its URI goes into `controlnet_generate` with `control_is_map`, and is used as it is."""
    made = view(
        await session.call("extract_control_map", image=str(session.pictures / "photo.png"), modality="lineart")
    )
    job = (await session.generate(control_image=made.uri, modality="lineart", control_is_map=True)).job
    assert job.status == "succeeded", job.error
    record = await session.application.services.jobs.store.get(job.job_id, "local")
    assert record.request.controls[0].picture is not None
    assert made.uri.endswith(record.request.controls[0].picture.sha256)


async def test_the_canny_map_is_what_opencv_makes(session: Session) -> None:
    """Bit for bit, with the thresholds that the answer names."""
    reply = await session.call(
        "extract_control_map",
        image=str(session.pictures / "photo.png"),
        parameters={"low_threshold": 60, "high_threshold": 180},
    )
    made = view(reply)
    assert made.parameters == {"low_threshold": 60, "high_threshold": 180}
    photo = pixels((session.pictures / "photo.png").read_bytes())
    expected = cv2.Canny(photo, 60, 180)
    drawn = pixels(await session.read_picture(made.uri))
    assert np.array_equal(drawn, np.repeat(expected[..., None], 3, axis=2))


async def test_the_resolution_is_the_short_side(session: Session) -> None:
    """A map for a larger or smaller generation."""
    reply = await session.call("extract_control_map", image=str(session.pictures / "photo.png"), resolution=128)
    assert min(view(reply).width, view(reply).height) == 128


@pytest.mark.parametrize("modality", [name for name in MODALITIES if NO_MODELS.makes(name)])
async def test_every_map_that_needs_no_weights_is_made(session: Session, modality: str) -> None:
    """Of a photo and of a drawing."""
    for name in ("photo.png", "sketch.png"):
        made = view(await session.call("extract_control_map", image=str(session.pictures / name), modality=modality))
        assert made.modality == modality
        assert made.coverage > 0


@pytest.mark.parametrize("modality", [name for name in MODALITIES if not NO_MODELS.makes(name)])
async def test_a_map_that_needs_weights_is_refused(session: Session, modality: str) -> None:
    """The answer says that such a map cannot be made here, and what can be done instead."""
    reply = await session.call("extract_control_map", image=str(session.pictures / "photo.png"), modality=modality)
    assert reply.error.code == "unsupported"
    assert modality in reply.error.message
    assert reply.error.hint


async def test_a_blank_picture_has_no_structure_to_keep(session: Session) -> None:
    """The map says so by its coverage; a generation is refused before anything is bought."""
    blank = str(session.pictures / "blank.png")
    made = view(await session.call("extract_control_map", image=blank))
    assert made.coverage == 0
    error = (await session.generate(control_image=blank)).error
    assert error.code == "image_unreadable"
    assert "blank" in error.message
    assert json.loads((await session.call("list_jobs")).text)["jobs"] == []


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"low_treshold": 5}, "low_threshold"),
        ({"low_threshold": "many"}, "low_threshold"),
        ({"sigma_pixels": 3}, "sigma_pixels"),
    ],
)
async def test_a_wrong_knob_is_told(session: Session, parameters: dict[str, JsonValue], told: str) -> None:
    """A knob that there is not, that this map does not have, or of the wrong kind."""
    reply = await session.call("extract_control_map", image=str(session.pictures / "photo.png"), parameters=parameters)
    assert reply.error.code == "invalid_request"
    assert told in f"{reply.error.message} {reply.error.hint}"
