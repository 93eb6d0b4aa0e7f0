"""The comparison sheet of a job as a resource."""

import base64
import io

import mcp_types as types
import numpy as np
import pytest
from mcp.shared.exceptions import MCPError
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.jobs.results import sheet_of
from controlnet_mcp.server.mcp.resources import MAX_BLOB_BYTES
from tests.support.mcp_session import Session
from tests.support.sheet_reader import Found, read_page

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
WAITING: dict[str, JsonValue] = {"wait_seconds": 0, "provider_options": {"simulate": "queued", "seconds": 60}}


async def page_of(session: Session, uri: str) -> Found:
    """Read a sheet, once it was seen to be a JPEG of the usual width that fits a message."""
    (contents,) = await session.read(uri)
    assert isinstance(contents, types.BlobResourceContents)
    content = base64.b64decode(contents.blob)
    assert contents.mime_type == "image/jpeg"
    assert len(content) <= MAX_BLOB_BYTES
    with Image.open(io.BytesIO(content)) as page:
        assert (page.format, page.width) == ("JPEG", 1280)
        return read_page(page)


def alike(panel: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], content: bytes) -> float:
    """How alike a panel and a picture are: 1 for the same, 0 for unrelated ones (correlation of small copies)."""
    size = (32, 32)
    with Image.open(io.BytesIO(content)) as picture:
        small = np.asarray(picture.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
    shown = np.asarray(Image.fromarray(panel).convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
    return float(np.corrcoef(shown.ravel(), small.ravel())[0, 1])


async def test_a_finished_job_names_its_sheet(session: Session) -> None:
    """What was handed in, the map, and the results, in this order."""
    job = (await session.generate(num_images=2)).job
    uri = f"controlnet://jobs/{job.job_id}/sheet"
    assert job.sheet_uri == uri
    found = await page_of(session, uri)
    assert job.images is not None
    assert job.control_map_uri is not None
    handed_in = (session.pictures / "photo.png").read_bytes()
    drawn = [await session.read_picture(uri) for uri in (job.control_map_uri, *(row.uri for row in job.images))]
    assert len(found.panels) == 4
    assert all(alike(*pair) > 0.9 for pair in zip(found.panels, [handed_in, *drawn], strict=True))


async def test_every_picture_that_was_handed_in_is_on_the_sheet_once(session: Session) -> None:
    """Two modalities of one picture have two maps; a further control, a start image and a mask are beside."""
    photo, sketch = (str(session.pictures / name) for name in ("photo.png", "sketch.png"))
    extra: dict[str, JsonValue] = {"modality": "lineart", "image": sketch, "weight": 0.3}
    job = (
        await session.generate(
            modality="canny:0.6,scribble:0.4", extra_controls=[extra], init_image=photo, mask_image=sketch, strength=0.5
        )
    ).job
    assert job.sheet_uri is not None, job.error
    found = await page_of(session, job.sheet_uri)
    assert len(found.panels) == 7, "photo, canny, scribble, sketch, its lineart, the mask, the result"


async def test_a_ready_map_is_shown_as_one(session: Session) -> None:
    """There is no other picture to be shown with it."""
    sketch = str(session.pictures / "sketch.png")
    job = (await session.generate(control_image=sketch, control_is_map=True, modality="sketch")).job
    assert job.sheet_uri is not None, job.error
    assert len((await page_of(session, job.sheet_uri)).panels) == 2


async def test_a_job_that_has_no_result_has_no_sheet(session: Session) -> None:
    """Nor has one that there is not."""
    job = (await session.generate(**WAITING)).job
    assert job.sheet_uri is None
    for uri in (f"controlnet://jobs/{job.job_id}/sheet", f"controlnet://jobs/job_{'0' * 32}/sheet"):
        with pytest.raises(MCPError, match=r"no (sheet|job)"):
            await session.read(uri)
    await session.call("cancel_job", job_id=job.job_id)


async def test_a_sheet_is_made_without_a_picture_that_is_gone(session: Session) -> None:
    """Somebody tidied the data folder: the place is empty, the others are there."""
    job = (await session.generate()).job
    assert job.images is not None
    assert job.images[0].path is not None
    job.images[0].path.unlink()
    assert job.sheet_uri is not None
    panels = (await page_of(session, job.sheet_uri)).panels
    assert len(panels) == 3
    assert panels[2].std() < panels[0].std() / 2


async def test_the_pictures_that_were_handed_in_have_addresses(session: Session) -> None:
    """Under the names of the arguments, as clean copies; nothing under other names."""
    photo = str(session.pictures / "photo.png")
    extra: dict[str, JsonValue] = {"modality": "lineart", "image": photo}
    job = (await session.generate(extra_controls=[extra], init_image=photo)).job
    with Image.open(photo) as picture:
        expected = picture.tobytes()
    for name in ("control_image", "extra_control_0", "init_image"):
        content = await session.read_picture(f"controlnet://jobs/{job.job_id}/sources/{name}")
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.tobytes() == expected
    for name in ("mask_image", "extra_control_1", "prompt", "../control-map"):
        with pytest.raises(MCPError, match="no resource"):
            await session.read(f"controlnet://jobs/{job.job_id}/sources/{name}")


async def test_results_carry_their_structure_scores(session: Session) -> None:
    """In words, under each of them; what was handed in has none."""
    job = (await session.generate(num_images=2)).job
    services = session.application.services
    record = await services.jobs.store.get(job.job_id, "local")
    panels = sheet_of(record, services.blobs).panels
    scores = [image.structure.score for image in record.images if image.structure]
    assert [panel.detail for panel in panels[-2:]] == [f"structure kept: {score:.2f} (edge F1)" for score in scores]
    assert job.images is not None
    shown = [image.structure.score for image in job.images if image.structure]
    assert shown == pytest.approx(scores, abs=0.001)
    assert [panel.detail for panel in panels[:2]] == ["", "canny:1"]
