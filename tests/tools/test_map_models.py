"""Depth, pose and normals through the tools, with model files of the operator's in the settings."""

from collections.abc import AsyncGenerator
from pathlib import Path

import cv2
import numpy as np
import pytest

from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.list_modalities import ModalityList
from tests.support.mcp_session import Session, open_session, settings_for
from tests.support.onnx_models import brightness_depth, pose

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


@pytest.fixture
async def equipped(tmp_path: Path, pictures: Path) -> AsyncGenerator[Session]:
    """A session on a server with a depth and a pose model."""
    depth = brightness_depth(tmp_path / "depth.onnx", 64)
    said = np.full((1, 57, 1), 32, dtype=np.float32)
    said[0, 4:6] = 0.9
    joints = np.column_stack((np.linspace(8, 56, 17), np.linspace(8, 56, 17), np.full(17, 0.9)))
    said = np.concatenate((said[:, :5], joints.astype(np.float32).reshape(1, 51, 1)), axis=1)
    person = pose(tmp_path / "pose.onnx", [said], 64, 0, 1.0)
    settings = settings_for(tmp_path / "data", pictures, depth_model=depth, pose_model=person)
    async with open_session(settings) as session:
        yield session


@pytest.mark.parametrize("modality", ["depth", "normal"])
async def test_a_map_by_a_model_is_made_and_drawn_on(equipped: Session, modality: str) -> None:
    """Of a photo, to look at and in a generation, where no ready map has to be assumed any more."""
    photo = str(equipped.pictures / "photo.png")
    reply = await equipped.call("extract_control_map", image=photo, modality=modality)
    made = MapView.model_validate_json(reply.text)
    assert made.coverage > 0.5
    assert any("depth model" in note for note in made.notes or ())
    job = (await equipped.generate(modality=modality)).job
    assert job.status == "succeeded", job.error
    assert job.control_map_uri is not None
    assert [warning for warning in job.warnings or () if warning.kind == "assumed"] == []
    measures = [image.structure.metric if image.structure else None for image in job.images or ()]
    assert measures == (["depth_rmse"] if modality == "depth" else [None])


async def test_a_pose_is_found_by_a_model(equipped: Session) -> None:
    """The person that the model sees is on the map; a knob of it is reported."""
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[10:20, 10:20, 2] = 255  # blue first, as OpenCV writes
    path = equipped.pictures / "red.png"
    assert cv2.imwrite(str(path), red)
    parameters = {"stick_pixels": 2}
    reply = await equipped.call("extract_control_map", image=str(path), modality="openpose", parameters={**parameters})
    made = MapView.model_validate_json(reply.text)
    assert 0.01 < made.coverage < 0.5
    assert made.parameters == {"minimum_confidence": 0.3, "stick_pixels": 2}


async def test_the_list_says_which_maps_a_model_makes(equipped: Session, session: Session) -> None:
    """And without one what is needed; the knobs of every map stand beside it."""
    rows: list[dict[str, str]] = []
    for each in (equipped, session):
        listed = ModalityList.model_validate_json((await each.call("list_modalities")).text)
        rows.append({row.name: row.map_from_photo for row in listed.modalities})
        knobs = {row.name: row.knobs for row in listed.modalities}
        assert knobs["canny"] == ("thresholds", "low_threshold", "high_threshold")
        assert knobs["seg"] is None
    assert {rows[0][name] for name in ("depth", "normal", "pose")} == {"by your model"}
    assert all(rows[1][name].startswith("needs a ready map") for name in ("depth", "normal", "pose"))
    assert rows[0]["seg"] == rows[1]["seg"]


async def test_normals_of_a_depth_map_need_no_model(session: Session) -> None:
    """A grey picture is a depth map; what comes out is accepted as a map."""
    hill = np.full((64, 64), 40, dtype=np.uint8)
    cv2.circle(hill, (32, 32), 20, 200, -1)
    path = session.pictures / "depth.png"
    assert cv2.imwrite(str(path), cv2.GaussianBlur(hill, (0, 0), 4))
    made = MapView.model_validate_json(
        (await session.call("extract_control_map", image=str(path), modality="normal")).text
    )
    job = (await session.generate(control_image=made.uri, modality="normal", control_is_map=True)).job
    assert job.status == "succeeded", job.error


async def test_a_model_that_is_gone_is_told_before_anything_is_bought(tmp_path: Path, pictures: Path) -> None:
    """A setting with a wrong path is an error of the call that needs it, and of no other."""
    settings = settings_for(tmp_path / "data", pictures, depth_model=tmp_path / "gone.onnx")
    async with open_session(settings) as session:
        error = (await session.generate(modality="depth")).error
        assert error.code == "not_configured"
        assert "CONTROLNET_MCP_DEPTH_MODEL" in error.hint
        assert (await session.generate(modality="canny")).job.status == "succeeded"


async def test_fine_lines_of_a_large_map_come_with_a_note(session: Session) -> None:
    """A model draws at about 1024 px, where lines of one pixel of a larger map fade; not where a size was asked for."""
    path = session.pictures / "large.png"
    large = np.full((1600, 1600, 3), 255, dtype=np.uint8)
    cv2.circle(large, (800, 800), 500, (0, 0, 0), 4)
    assert cv2.imwrite(str(path), large)
    for resolution, expected in ((None, True), (1024, False)):
        reply = await session.call("extract_control_map", image=str(path), resolution=resolution)
        made = MapView.model_validate_json(reply.text)
        assert any("resolution=1024" in note for note in made.notes or ()) is expected
