"""Depth by a model file of the user's, and normals of a depth map, against their definitions."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper

import controlnet_mcp
from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.images.maps import MapModels, MapParameters
from controlnet_mcp.images.maps.recipes import make_map
from tests.support.onnx_models import brightness_depth, patch_depth, pose, write

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""ImageNet's, as the model cards of Depth-Anything and MiDaS give them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where model files lie."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.uint8]:
    """A picture of 48 x 48 random pixels."""
    return np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def hill(side: int = 96) -> npt.NDArray[np.uint8]:
    """A depth map of a round hill that is nearest in the middle, on a far plain."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    height = np.clip(1 - (rows**2 + columns**2) / (side / 3) ** 2, 0, 1)
    return np.repeat((20 + 220 * height).astype(np.uint8)[..., None], 3, axis=2)


def reference_normal(depth: npt.NDArray[np.float32], background: float, towards: float) -> npt.NDArray[np.uint8]:
    """The published recipe of ControlNet's MidasDetector, blue in front."""
    share = (depth - depth.min()) / (depth.max() - depth.min())
    x = np.asarray(cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3))
    y = np.asarray(cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3))
    z = np.ones_like(x) * towards
    x[share < background] = 0
    y[share < background] = 0
    normal = np.stack([x, y, z], axis=2)
    normal /= np.sum(normal**2.0, axis=2, keepdims=True) ** 0.5
    return (normal * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def test_depth_is_the_model_s_output_from_black_to_white(folder: Path, noise: npt.NDArray[np.uint8]) -> None:
    """What the model calls nearest is white, the farthest black; its input has ImageNet's normalisation."""
    models = MapModels(depth=brightness_depth(folder / "brightness.onnx", 48))
    made = make_map(noise, "depth", models=models)
    raw = ((noise / 255 - MEAN) / DEVIATION).mean(axis=2)
    expected = (raw - raw.min()) / (raw.max() - raw.min()) * 255
    assert np.abs(made.rgb[..., 0] - expected).max() < 0.51
    assert (made.rgb.min(), made.rgb.max()) == (0, 255)
    assert np.ptp(made.rgb, axis=2).max() == 0
    assert any("depth model" in note for note in made.notes)


@pytest.mark.parametrize("shape", [(96, 150), (120, 96), (1100, 500), (9, 700)])
def test_a_model_of_any_size_gets_whole_patches(folder: Path, shape: tuple[int, int]) -> None:
    """Near 518 px on the shorter side in multiples of 14, as Depth-Anything asks; the map has the picture's size."""
    model = patch_depth(folder / f"patch{shape[0]}.onnx", rows=518 if shape[0] <= shape[1] else None)
    picture: npt.NDArray[np.uint8] = np.full((*shape, 3), 30, dtype=np.uint8)
    picture[: shape[0] // 2] = 200
    made = make_map(picture, "depth", models=MapModels(depth=model)).rgb
    assert made.shape == picture.shape
    assert made[0].min() > 220
    assert made[-1].max() < 35


def test_a_flat_depth_is_black_and_said_to_be_blank(folder: Path) -> None:
    """No division by nothing."""
    models = MapModels(depth=brightness_depth(folder / "flat.onnx", 48))
    made = make_map(np.full((20, 30, 3), 90, dtype=np.uint8), "depth", models=models)
    assert not made.rgb.any()
    assert any("blank" in note for note in made.notes)


def test_a_file_that_was_replaced_is_loaded_again(folder: Path, noise: npt.NDArray[np.uint8]) -> None:
    """A session is kept, but not beyond its file."""
    path = brightness_depth(folder / "replaced.onnx", 48)
    before = make_map(noise, "depth", models=MapModels(depth=path)).rgb
    brightness_depth(path, 16)
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(make_map(noise, "depth", models=MapModels(depth=path)).rgb, before)


def test_a_model_that_cannot_be_used_is_told_with_the_way_out(folder: Path, noise: npt.NDArray[np.uint8]) -> None:
    """A missing file, no model, one with another input, one with another output, one that fails."""
    text = folder / "text.onnx"
    text.write_text("no model", encoding="utf-8")
    other = pose(folder / "pose.onnx", [np.ones((1, 56, 4), dtype=np.float32)], 32, 0, 1.0)
    small = write(folder / "row.onnx", [helper.make_node("Relu", ["picture"], ["out"])], (1, 3), {})
    reshape = helper.make_node("Reshape", ["picture", "seven"], ["out"])
    seven = {"seven": np.array([1, 3, 7, 7], dtype=np.int64)}
    failing = write(folder / "failing.onnx", [reshape], (1, 3, "rows", "columns"), seven)
    told: list[str] = []
    for path in (folder / "absent.onnx", text, other, small, failing):
        with pytest.raises(ControlNetError, match="depth model that is set cannot be used") as caught:
            make_map(noise, "depth", models=MapModels(depth=path))
        assert caught.value.code == "not_configured"
        assert "CONTROLNET_MCP_DEPTH_MODEL" in caught.value.hint
        told.append(caught.value.message)
    assert len(set(told)) == len(told), "each reason is told"
    assert not any(str(folder) in message for message in told)


def test_without_onnxruntime_the_extra_is_named(folder: Path) -> None:
    """In an installation without the extra, a model that is set leads to a sentence, not to a traceback."""
    path = brightness_depth(folder / "no-runtime.onnx", 48)
    program = f"""
import sys
sys.modules["onnxruntime"] = None
import numpy as np
from pathlib import Path
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.images.maps.recipes import make_map
try:
    make_map(np.zeros((8, 8, 3), np.uint8), "depth", models=MapModels(depth=Path({str(path)!r})))
except Exception as error:
    print(error.code, error)
"""
    roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
    environment = {**os.environ, "PYTHONPATH": roots}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("not_configured")
    assert 'pip install "controlnet-mcp[maps]"' in done.stdout


@pytest.mark.parametrize(("background", "towards"), [(0.1, 2 * np.pi), (0.4, 2 * np.pi), (0.0, 40.0)])
def test_normals_of_a_depth_map_are_the_reference_recipe(background: float, towards: float) -> None:
    """Of the levels of the map: within one level of rounding, nearly everywhere the same byte."""
    knobs = MapParameters(background_threshold=background, flatness=towards)
    made = make_map(hill(), "normal", knobs)
    expected = reference_normal(hill()[..., 0].astype(np.float32), background, towards)
    difference = np.abs(made.rgb.astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.001
    assert any("depth map" in note for note in made.notes)


def test_the_sides_of_a_hill_face_where_their_colours_say() -> None:
    """Red to the left and green up, as in ControlNet; to the right where it is asked for; the top faces the viewer."""
    left = make_map(hill(), "normal").rgb
    right = make_map(hill(), "normal", MapParameters(red="right")).rgb
    assert int(left[48, 30, 0]) - int(left[48, 66, 0]) > 140
    assert int(right[48, 66, 0]) - int(right[48, 30, 0]) > 140
    assert int(left[30, 48, 1]) - int(left[66, 48, 1]) > 140
    assert left[2, 2].tolist() == [127, 127, 255]
    assert left[48, 48, 2] > 200


def test_the_normals_of_a_photo_need_a_depth_model(folder: Path, noise: npt.NDArray[np.uint8]) -> None:
    """With one they are those of its depth; without, the refusal offers a depth map as a way."""
    with pytest.raises(RequestError, match="pass a depth map"):
        make_map(noise, "normal")
    models = MapModels(depth=brightness_depth(folder / "normal.onnx", 48))
    made = make_map(noise, "normal", models=models).rgb
    raw = ((noise / 255 - MEAN) / DEVIATION).mean(axis=2)
    depth = ((raw - raw.min()) / (raw.max() - raw.min()) * 255).astype(np.float32)
    assert np.abs(made.astype(int) - reference_normal(depth, 0.1, 2 * np.pi)).max() <= 1


def test_a_slightly_tinted_depth_map_is_still_one() -> None:
    """JPEG leaves some levels of colour in a grey picture."""
    tinted = hill()
    tinted[..., 0] += 9
    assert any("depth map" in note for note in make_map(tinted, "normal").notes)
