"""Drawings as input: their own strokes are taken, white on black, once."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data

from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.drawing import find_ground
from controlnet_mcp.images.maps.recipes import make_map

STROKED = ("sketch", "lineart", "scribble", "softedge")


def bundled(file: str) -> npt.NDArray[np.uint8]:
    """A picture that scikit-image carries in its wheel (nothing is downloaded)."""
    return np.array(Image.open(Path(data.__file__).with_name(file)).convert("RGB"), dtype=np.uint8)


@pytest.fixture(scope="module")
def ink() -> npt.NDArray[np.bool_]:
    """Where the drawing has strokes of 3 px: a house, 320 x 400 px."""
    plane: npt.NDArray[np.uint8] = np.zeros((320, 400), dtype=np.uint8)
    cv2.rectangle(plane, (60, 140), (260, 290), 255, 3)
    cv2.polylines(plane, [np.array([[60, 140], [160, 50], [260, 140]], dtype=np.int32)], False, 255, 3)  # noqa: FBT003  # cv2's own order
    cv2.circle(plane, (330, 70), 35, 255, 3)
    return plane > 0


@pytest.fixture(scope="module")
def drawing(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The house as black lines on white."""
    return np.where(ink[..., None], np.uint8(0), np.full(3, 255, dtype=np.uint8))


def paper(ink: npt.NDArray[np.bool_], pen: tuple[int, int, int] = (95, 95, 100)) -> npt.NDArray[np.uint8]:
    """The house in pencil, photographed: yellowish paper, lit from one side, grainy."""
    light = np.linspace(0.55, 0.95, ink.shape[1])[None, :, None]
    sheet = np.where(ink[..., None], np.array(pen), np.array([255, 250, 232])) * light
    return (sheet + np.random.default_rng(4).normal(0, 4, sheet.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("modality", STROKED)
def test_a_clean_drawing_becomes_its_own_strokes_in_white(
    modality: str, drawing: npt.NDArray[np.uint8], ink: npt.NDArray[np.bool_]
) -> None:
    """White where the ink is, black away from it: no doubled contours; and the inversion is reported."""
    made = make_map(drawing, modality)
    assert made.rgb[ink].min() > 200
    away = cv2.dilate(ink.astype(np.uint8), np.ones((13, 13), dtype=np.uint8)) == 0
    assert not made.rgb[away].any()
    assert any("inverted" in note for note in made.notes)


def test_the_lineart_of_a_clean_drawing_is_exactly_its_negative(drawing: npt.NDArray[np.uint8]) -> None:
    """Black on white and white on black hold the same information."""
    assert np.array_equal(make_map(drawing, "lineart").rgb, 255 - drawing)


@pytest.mark.parametrize("modality", STROKED)
def test_a_drawing_that_is_white_on_black_is_kept_as_it_is(modality: str, drawing: npt.NDArray[np.uint8]) -> None:
    """A chalk drawing, or a line map that comes in again, gives the map of its negative; it says that it was kept."""
    made = make_map(255 - drawing, modality)
    assert np.array_equal(made.rgb, make_map(drawing, modality).rgb)
    assert any("as they are" in note for note in made.notes)


GROUNDS = {
    "ink on paper": ((0, 0, 0), (255, 255, 255)),
    "faint pencil": ((190, 190, 190), (235, 235, 235)),
    "red pen": ((220, 30, 30), (255, 255, 250)),
    "ink on yellow": ((20, 20, 20), (230, 200, 60)),
    "chalk": ((230, 230, 225), (40, 60, 50)),
    "blueprint": ((235, 240, 255), (30, 70, 160)),
    "white on light blue": ((255, 255, 255), (110, 160, 210)),
    "neon": ((255, 60, 220), (5, 5, 12)),
    "grey board": ((240, 240, 240), (90, 90, 90)),
}
"""Colours of strokes and ground; the first four are dark on light."""


@pytest.mark.parametrize("grain", [0, 5])
@pytest.mark.parametrize("shade", [1.0, 0.7])
@pytest.mark.parametrize("name", GROUNDS)
def test_dark_on_light_and_light_on_dark_are_told_apart(
    ink: npt.NDArray[np.bool_], name: str, shade: float, grain: int
) -> None:
    """By how the strokes differ from the ground, not by how bright it is: on any colour, in shade, with grain."""
    pen, ground = (np.array(colour) for colour in GROUNDS[name])
    clean = np.where(ink[..., None], pen, ground) * np.linspace(shade, 1, ink.shape[1])[None, :, None]
    picture = (clean + np.random.default_rng(7).normal(0, 1, clean.shape) * grain).clip(0, 255).astype(np.uint8)
    expected = "light" if name in list(GROUNDS)[:4] else "dark"
    for tolerant in (False, True):
        assert find_ground(picture, tolerant=tolerant) == expected
        assert find_ground(255 - picture, tolerant=tolerant) == {"light": "dark", "dark": "light"}[expected]
    for modality in STROKED:
        made = make_map(picture, modality).rgb
        assert np.array_equal(made, make_map(255 - picture, modality).rgb), "either polarity gives the same map"
        assert np.mean(made[ink] > 127) > (0.6 if grain else 0.9)
        assert np.mean(made[~ink] > 127) < 0.05


@pytest.mark.parametrize("modality", ["canny", "mlsd"])
def test_edges_and_straight_lines_do_not_depend_on_the_polarity(modality: str, drawing: npt.NDArray[np.uint8]) -> None:
    """Both are white on black anyway, and the same lines but for the odd pixel."""
    made, other = (make_map(picture, modality).rgb[..., 0] for picture in (drawing, 255 - drawing))
    near = np.ones((3, 3), dtype=np.uint8)
    assert np.mean(cv2.dilate(made, near)[other > 0] > 0) > 0.97
    assert np.mean(cv2.dilate(other, near)[made > 0] > 0) > 0.97
    assert 0 < made.mean() < 30


@pytest.mark.parametrize("file", ["astronaut.png", "coffee.png", "chelsea.png", "camera.png", "rocket.jpg"])
@pytest.mark.parametrize("black", [0, 100])
def test_a_dim_or_hazy_photo_is_not_taken_for_a_drawing(file: str, black: int) -> None:
    """Nor is its negative: little contrast is not an even ground."""
    dim = (bundled(file) * 0.3 + black).astype(np.uint8)
    assert find_ground(dim) is None
    assert find_ground(255 - dim) is None


@pytest.mark.parametrize(
    "pen", [(95, 95, 100), (40, 70, 190), (225, 205, 30)], ids=["pencil", "blue pen", "yellow pen"]
)
def test_a_photographed_sketch_comes_out_clean(ink: npt.NDArray[np.bool_], pen: tuple[int, int, int]) -> None:
    """Uneven light, paper colour and grain turn black, strokes of any colour turn white."""
    made = make_map(paper(ink, pen), "sketch").rgb[..., 0]
    away = cv2.dilate(ink.astype(np.uint8), np.ones((5, 5), dtype=np.uint8)) == 0
    assert np.mean(made[ink] > 127) > 0.97
    assert np.mean(made[away] > 0) < 0.01
    assert made[away].max() < 127


@pytest.mark.parametrize(
    "file", ["astronaut.png", "coffee.png", "chelsea.png", "camera.png", "rocket.jpg", "brick.png"]
)
def test_a_photo_is_not_taken_for_a_drawing(file: str) -> None:
    """Neither by the line detectors nor by the more tolerant sketch."""
    assert find_ground(bundled(file)) is None
    assert find_ground(bundled(file), tolerant=True) is None


@pytest.mark.parametrize("file", ["astronaut.png", "coffee.png", "moon.png"])
@pytest.mark.parametrize("side", [150, 260, 380])
def test_an_object_cut_out_on_white_is_not_taken_for_a_drawing(file: str, side: int) -> None:
    """A product photo is mostly white ground, yet what stands on it is no stroke."""
    picture: npt.NDArray[np.uint8] = np.full((512, 512, 3), 255, dtype=np.uint8)
    picture[60 : 60 + side, 60 : 60 + side] = cv2.resize(bundled(file), (side, side), interpolation=cv2.INTER_AREA)
    assert find_ground(picture) is None


@pytest.mark.parametrize("file", ["text.png", "page.png"])
def test_sketch_is_more_tolerant_of_shadows_on_paper_than_the_line_detectors(file: str) -> None:
    """Whoever asks for a sketch holds the picture to be a drawing: dense, smudged handwriting passes."""
    assert find_ground(bundled(file)) is None
    assert find_ground(bundled(file), tolerant=True) == "light"
    assert any("inverted" in note for note in make_map(bundled(file), "sketch").notes)


def test_smudges_of_a_few_levels_are_not_strokes(drawing: npt.NDArray[np.uint8]) -> None:
    """What a scanner or JPEG leaves beside the lines stays black."""
    smudged = drawing.copy()
    smudged[20:26, 20:26] = 251
    assert make_map(smudged, "sketch").rgb[20:26, 20:26].max() == 0


def test_blank_and_grainy_paper_are_not_drawings() -> None:
    """Without strokes there is nothing to take."""
    grain = np.random.default_rng(5).normal(200, 6, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    assert find_ground(grain) is None
    assert find_ground(np.full_like(grain, 255)) is None


def test_the_sketch_of_a_photo_is_traced_and_says_so() -> None:
    """Fine lines, mostly black, with a way out for the user whose drawing was misjudged."""
    made = make_map(bundled("astronaut.png"), "sketch")
    assert 0.02 < made.coverage < 0.2
    assert "invert" in made.notes[0]
    assert made.coverage < make_map(bundled("astronaut.png"), "scribble").coverage


def test_contours_in_shade_show_in_a_traced_sketch() -> None:
    """Lines are relative to the brightness around them: half the light, about the same lines."""
    photo = bundled("astronaut.png")
    dimmed = (photo * 0.5).astype(np.uint8)
    assert make_map(dimmed, "sketch").coverage > 0.6 * make_map(photo, "sketch").coverage


def test_invert_yes_takes_the_dark_strokes_of_any_picture(drawing: npt.NDArray[np.uint8]) -> None:
    """A drawing with a large black shape is no clean line drawing; its owner can say that it is one."""
    filled = drawing.copy()
    filled[150:280, 70:250] = 0
    assert "traced" in make_map(filled, "sketch").notes[0]
    made = make_map(filled, "sketch", MapParameters(invert="yes"))
    assert made.rgb[160:270, 80:240].min() > 200
    assert made.rgb[:30].max() == 0
    assert any("inverted" in note for note in made.notes)


def test_invert_no_keeps_the_light_lines_of_a_sketch(drawing: npt.NDArray[np.uint8]) -> None:
    """Strokes are then what is lighter than the ground."""
    made = make_map(255 - drawing, "sketch", MapParameters(invert="no"))
    assert np.array_equal(made.rgb, 255 - drawing)


@pytest.mark.parametrize("modality", ["lineart", "scribble", "softedge"])
def test_invert_no_runs_the_detector_on_a_drawing(modality: str, drawing: npt.NDArray[np.uint8]) -> None:
    """The reference's behaviour on drawings can be had: nothing about inversion is reported."""
    made = make_map(255 - drawing, modality, MapParameters(invert="no"))
    assert not np.array_equal(made.rgb, make_map(255 - drawing, modality).rgb)
    assert not any("lines were taken" in note for note in made.notes)
