"""Line maps of photos, against OpenCV itself and against definitions written out in NumPy."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.images.resize import fit_for_detection

PHOTOS = ("astronaut", "coffee", "chelsea", "camera")


def bundled(name: str) -> npt.NDArray[np.uint8]:
    """A photo that scikit-image carries in its wheel (nothing is downloaded)."""
    return np.array(Image.open(Path(data.__file__).with_name(f"{name}.png")).convert("RGB"), dtype=np.uint8)


def drawn_sketch() -> npt.NDArray[np.uint8]:
    """A drawing of a house and a sun, 200 x 240 px."""
    sketch: npt.NDArray[np.uint8] = np.full((200, 240, 3), 255, dtype=np.uint8)
    cv2.rectangle(sketch, (30, 80), (150, 180), (0, 0, 0), 2)
    cv2.line(sketch, (30, 80), (90, 30), (40, 0, 0), 2)
    cv2.line(sketch, (90, 30), (150, 80), (40, 0, 0), 2)
    cv2.circle(sketch, (200, 40), 20, (0, 60, 200), 2)
    return sketch


def blurred(plane: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Gaussian blur by its definition: kernel of 8 sigma, mirrored edges, rows then columns."""
    radius = (round(sigma * 8 + 1) | 1) // 2
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    for _ in range(2):
        padded = np.pad(plane, ((radius, radius), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
        plane = np.asarray(windows @ (kernel / kernel.sum()), dtype=np.float64).T
    return plane


def darkness(rgb: npt.NDArray[np.uint8], around: float, fine: float) -> npt.NDArray[np.float64]:
    """Least difference over the channels of a wide and a narrow blur (0: no narrow blur)."""
    planes = np.moveaxis(rgb.astype(np.float64), 2, 0)
    stack = np.stack([blurred(plane, around) - (blurred(plane, fine) if fine else plane) for plane in planes])
    return np.asarray(stack.min(axis=0), dtype=np.float64)


@pytest.mark.parametrize("name", [*PHOTOS, "sketch"])
@pytest.mark.parametrize(("low", "high"), [(100, 200), (1, 255), (30, 60), (200, 100), (255, 255)])
def test_canny_is_opencvs_canny_of_all_three_channels(name: str, low: int, high: int) -> None:
    """Not one pixel differs, on photos or drawings, whatever the thresholds."""
    rgb = drawn_sketch() if name == "sketch" else bundled(name)
    made = make_map(rgb, "canny", MapParameters(low_threshold=low, high_threshold=high)).rgb
    expected = cv2.Canny(rgb, low, high)
    assert all(np.array_equal(made[..., channel], expected) for channel in range(3))


def test_canny_thresholds_in_the_wrong_order_are_noted() -> None:
    """OpenCV exchanges them; the map says so."""
    swapped = make_map(drawn_sketch(), "canny", MapParameters(low_threshold=200, high_threshold=100))
    assert "exchanged" in swapped.notes[0]
    assert not make_map(drawn_sketch(), "canny").notes


def edges_in_common(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """F1 of two edge maps with a tolerance of two pixels."""
    near = np.ones((5, 5), dtype=np.uint8)
    precision = np.mean(cv2.dilate(one, near)[other > 0] > 0)
    recall = np.mean(cv2.dilate(other, near)[one > 0] > 0)
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(
    ("contrast", "black", "grain"),
    [(1.0, 0, 0), (0.3, 0, 0), (0.15, 100, 0), (1.0, 0, 10)],
    ids=["clear", "dim", "hazy", "grainy"],
)
def test_automatic_thresholds_find_the_edges_of_a_photo_in_any_light(
    name: str, contrast: float, black: int, grain: int
) -> None:
    """The edges that the standard thresholds find in a clear photo are found in a dim, a hazy and a grainy copy."""
    photo = bundled(name)
    noise = np.random.default_rng(6).normal(0, 1, photo.shape) * grain
    copy = (photo * contrast + black + noise).clip(0, 255).astype(np.uint8)
    made = make_map(copy, "canny", MapParameters(thresholds="auto"))
    assert edges_in_common(make_map(photo, "canny").rgb[..., 0], made.rgb[..., 0]) > 0.72
    low, high = (int(made.parameters[knob]) for knob in ("low_threshold", "high_threshold"))
    assert np.array_equal(made.rgb[..., 0], cv2.Canny(copy, low, high)), "what is reported is what was used"
    assert any("chosen" in note for note in made.notes)


def test_grain_alone_has_no_automatic_edges() -> None:
    """Thresholds are not lowered into the noise of a camera."""
    grain = np.random.default_rng(3).normal(128, 3, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    assert make_map(grain, "canny", MapParameters(thresholds="auto")).coverage < 0.02


def test_a_photo_too_faint_for_the_standard_thresholds_gets_its_own() -> None:
    """Nothing was asked for and nothing was found: lower thresholds are chosen, and said; not where some were given."""
    faint = (bundled("chelsea") * 0.12 + 90).astype(np.uint8)
    made = make_map(faint, "canny")
    assert 0.01 < made.coverage < 0.3
    assert any("faint" in note for note in made.notes)
    assert make_map(faint, "canny", MapParameters(low_threshold=100)).coverage == 0


def test_thresholds_are_given_or_chosen_not_both() -> None:
    """One of them would be ignored."""
    with pytest.raises(RequestError, match="not both") as caught:
        make_map(drawn_sketch(), "canny", MapParameters(thresholds="auto", high_threshold=90))
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("threshold", [1, 21, 32, 100])
def test_scribble_is_the_doubled_difference_of_gaussians_above_the_threshold(name: str, threshold: int) -> None:
    """It agrees with the definition wherever the difference is not within rounding of the threshold."""
    rgb = bundled(name)[60:180, 100:260]
    difference = darkness(rgb, around=5.0, fine=0.5)
    limit = threshold // 2
    made = make_map(rgb, "scribble", MapParameters(threshold=threshold, invert="no")).rgb[..., 0]
    clear = np.abs(difference - limit) > 1e-3
    assert clear.mean() > 0.99
    assert np.array_equal(made[clear] == 255, difference[clear] > limit)
    assert set(np.unique(made)) <= {0, 255}


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("short_side", [256, 640])
def test_the_line_maps_are_the_reference_annotators_byte_for_byte(name: str, short_side: int) -> None:
    """The published lines of lineart_standard and XDoG, with OpenCV, at the size that a generation has."""
    rgb = fit_for_detection(bundled(name), short_side)
    levels = rgb.astype(np.float32)
    wide = np.asarray(cv2.GaussianBlur(levels, (0, 0), 6.0))
    intensity = np.min(wide - levels, axis=2).clip(0, 255)
    intensity /= max(16, np.median(intensity[intensity > 8]))
    intensity *= 127
    assert np.array_equal(make_map(rgb, "lineart").rgb[..., 1], intensity.clip(0, 255).astype(np.uint8))
    fine, around = (np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma)) for sigma in (0.5, 5.0))
    dog = (255 - np.min(around - fine, axis=2)).clip(0, 255).astype(np.uint8)
    assert np.array_equal(make_map(rgb, "scribble").rgb[..., 1] > 0, 2 * (255 - dog.astype(int)) > 32)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("sigma", "faint"), [(6.0, 8), (3.0, 30)])
def test_lineart_is_the_darkness_against_a_wide_gaussian_by_its_median(name: str, sigma: float, faint: int) -> None:
    """It agrees with lineart_standard's definition to one level."""
    rgb = bundled(name)[60:180, 100:260]
    strength = darkness(rgb, around=sigma, fine=0.0).clip(0, 255)
    expected = (strength / max(16.0, float(np.median(strength[strength > faint]))) * 127).clip(0, 255)
    knobs = MapParameters(gaussian_sigma_pixels=sigma, intensity_threshold=faint)
    made = make_map(rgb, "lineart", knobs).rgb[..., 0]
    assert np.abs(made - np.floor(expected)).max() <= 1.0
    assert np.mean(made != np.floor(expected)) < 0.01
    assert made.max() > 127


def test_black_strokes_are_solid_scribbles() -> None:
    """The byte that wraps round in the reference's XDoG and hollows out black strokes is not copied."""
    sketch: npt.NDArray[np.uint8] = np.full((80, 80, 3), 255, dtype=np.uint8)
    sketch[38:41] = 0
    made = make_map(sketch, "scribble", MapParameters(invert="no")).rgb[..., 0]
    assert made[38:41].min() == 255
    assert made[:20].max() == 0


def test_the_softedge_of_a_square_is_a_soft_ring_and_nothing_else() -> None:
    """Bright on the contour, fading within some pixels on both sides, black far from it; it says it approximates."""
    picture: npt.NDArray[np.uint8] = np.full((128, 128, 3), 60, dtype=np.uint8)
    picture[40:90, 40:90] = (200, 60, 60)
    made = make_map(picture, "softedge")
    across = made.rgb[64, :, 0]
    assert across[39:41].min() > 200
    assert 10 < across[34] < across[36] < across[38]  # the quarter-size scale reaches this far, the finest does not
    assert across[60:70].max() == across[:20].max() == 0
    assert any("approximates" in note for note in made.notes)


def test_the_softedge_of_texture_is_fainter_than_that_of_an_object() -> None:
    """What shows at one scale only stays behind what shows at all three."""
    picture: npt.NDArray[np.uint8] = np.full((128, 128, 3), 40, dtype=np.uint8)
    picture[:, 64:] = 190
    picture[::3, :48] += 60
    made = make_map(picture, "softedge", MapParameters(invert="no")).rgb[40:80, :, 0].astype(int)
    assert made[:, 63:65].min() > 4 * made[:, 8:36].max() > 0


def test_grain_alone_has_no_softedge() -> None:
    """Noise of a few levels is not stretched into contours."""
    grain = np.random.default_rng(3).integers(126, 130, (128, 128, 3), dtype=np.uint8)
    assert make_map(grain, "softedge").coverage == 0.0


def test_mlsd_finds_the_straight_sides_of_a_box_and_not_the_circle() -> None:
    """Drawn pixels lie on the sides, thin and hard; curves have no lines as long as that."""
    picture: npt.NDArray[np.uint8] = np.full((200, 240, 3), 30, dtype=np.uint8)
    picture[50:150, 30:120] = 220
    cv2.circle(picture, (180, 100), 30, (220, 220, 220), -1)
    made = make_map(picture, "mlsd", MapParameters(minimum_length=0.3))
    rows, columns = np.nonzero(made.rgb[..., 0])
    assert set(np.unique(made.rgb)) == {0, 255}
    near = (np.minimum(abs(rows - 50), abs(rows - 150)) <= 2) | (np.minimum(abs(columns - 30), abs(columns - 120)) <= 2)
    assert near.all()
    assert 300 < len(rows) < 800
    assert any("approximates" in note for note in made.notes)


def test_mlsd_keeps_only_lines_of_the_minimum_length() -> None:
    """Longer minimum, fewer lines; none is as long as the whole side of a photo of a person."""
    photo = bundled("astronaut")
    covered = [make_map(photo, "mlsd", MapParameters(minimum_length=value)).coverage for value in (0.0, 0.08, 1.0)]
    assert covered[0] > covered[1] > covered[2] == 0.0
