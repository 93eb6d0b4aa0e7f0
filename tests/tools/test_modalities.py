"""Every modality of the shared vocabulary, drawn by the draft engine of a photo and of a drawing."""

import io

import numpy as np
import pytest
from PIL import Image

from controlnet_mcp.images.maps import NO_MODELS
from controlnet_mcp.images.modalities import ALIASES, MODALITIES
from tests.support.mcp_session import Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

SIDE = 256


@pytest.mark.parametrize("name", ["photo.png", "sketch.png"])
@pytest.mark.parametrize("modality", MODALITIES)
async def test_a_modality_gives_a_picture(session: Session, modality: str, name: str) -> None:
    """A picture of the asked size that shows something, under the canonical name of the modality."""
    reply = await session.generate(
        control_image=str(session.pictures / name), modality=modality, width=SIDE, height=SIDE
    )
    job = reply.job
    assert job.status == "succeeded", job.error
    assert [row.modality for row in job.controls] == [modality]
    assert job.images is not None
    with Image.open(io.BytesIO(await session.read_picture(job.images[0].uri))) as picture:
        assert picture.size == (SIDE, SIDE)
        assert np.asarray(picture).std() > 8, "one flat colour is no picture"


@pytest.mark.parametrize("modality", [row.name for row in MODALITIES.values()])
async def test_what_was_done_with_the_picture_is_said(session: Session, modality: str) -> None:
    """A map is made where that is possible; a photo that is taken for one, or said to be one, comes with a warning."""
    row = MODALITIES[modality]
    for is_map in (False, True):
        job = (await session.generate(modality=modality, control_is_map=is_map)).job
        assumed = [warning.feature for warning in job.warnings or () if warning.kind == "assumed"]
        needs_map = row.structure != "photo"
        doubted = is_map and row.structure != "normal"  # a photo that is said to be a map; normals look like photos
        said = needs_map and (doubted or not (NO_MODELS.makes(row.name) or is_map))
        assert assumed == ([modality] if said else [])
        assert (job.control_map_uri is not None) == (needs_map and NO_MODELS.makes(row.name) and not is_map)


@pytest.mark.parametrize("alias", ["openpose", "HED", "soft edge", "depth_map", "Edges", "recolor"])
async def test_other_names_mean_the_same(session: Session, alias: str) -> None:
    """The names that people know are understood in any spelling, and the answer holds the canonical one."""
    canonical = ALIASES.get(alias.lower()) or ALIASES[alias.lower().replace("_", "-").replace(" ", "-")]
    job = (await session.generate(modality=f"{alias}:0.7", wait_seconds=0)).job
    assert [(row.modality, row.weight) for row in job.controls] == [(canonical, 0.7)]
