"""Photo-like maps and scaling, against their definitions."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter
from skimage import data

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.recipes import make_map, shuffle
from controlnet_mcp.images.resize import fit_for_detection


@pytest.fixture(scope="module")
def photo() -> npt.NDArray[np.uint8]:
    """A photo that scikit-image carries in its wheel, 256 x 320 px."""
    whole = Image.open(Path(data.__file__).with_name("astronaut.png")).convert("RGB")
    return np.array(whole.crop((60, 0, 380, 256)), dtype=np.uint8)


def difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Absolute difference of two pictures in levels."""
    return np.abs(one.astype(np.int16) - other.astype(np.int16))


def test_tile_averages_squares_of_the_factor(photo: npt.NDArray[np.uint8]) -> None:
    """Shrunk again it is the mean of each 4 x 4 square, but for what bicubic growth overshoots."""
    made = make_map(photo, "tile").rgb
    means = photo.reshape(64, 4, 80, 4, 3).mean(axis=(1, 3))
    assert np.abs(made.reshape(64, 4, 80, 4, 3).mean(axis=(1, 3)) - means).mean() < 2.0
    grown = Image.fromarray(np.rint(means).astype(np.uint8)).resize((320, 256), Image.Resampling.BICUBIC)
    assert difference(made, np.array(grown, dtype=np.uint8)).mean() < 3.0


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.5])
def test_tile_shrinks_as_the_reference_does(photo: npt.NDArray[np.uint8], factor: float) -> None:
    """The small picture is tile_resample's, with its sides rounded down; it is grown back bicubically."""
    small = cv2.resize(photo, (int(320 / factor), int(256 / factor)), interpolation=cv2.INTER_AREA)
    grown = cv2.resize(small, (320, 256), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(make_map(photo, "tile", MapParameters(factor=factor)).rgb, grown)


def test_a_factor_next_to_one_leaves_the_picture_as_it_is(photo: npt.NDArray[np.uint8]) -> None:
    """As in the reference, below 1.1."""
    assert np.array_equal(make_map(photo, "tile", MapParameters(factor=1.09)).rgb, photo)


@pytest.mark.parametrize("sigma", [0.01, 2.0, 9.0])
def test_blur_is_the_reference_s_gaussian_byte_for_byte(photo: npt.NDArray[np.uint8], sigma: float) -> None:
    """blur_gaussian is one call of OpenCV."""
    made = make_map(photo, "blur", MapParameters(sigma_pixels=sigma)).rgb
    assert np.array_equal(made, cv2.GaussianBlur(photo, (0, 0), sigmaX=sigma))


@pytest.mark.parametrize("side", [64, 32, 100])
def test_the_colour_grid_is_t2i_adapter_s(photo: npt.NDArray[np.uint8], side: int) -> None:
    """One bicubic sample a cell, grown to flat squares; the default cell is of 64 pixels."""
    cells = cv2.resize(photo, (320 // side, 256 // side), interpolation=cv2.INTER_CUBIC)
    expected = cv2.resize(cells, (320, 256), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(make_map(photo, "color-grid", MapParameters(cell_pixels=side)).rgb, expected)
    if side == 64:
        assert np.array_equal(make_map(photo, "t2ia_color_grid").rgb, expected)
        assert len(np.unique(expected.reshape(-1, 3), axis=0)) <= 20


def test_the_gamma_of_gray_lightens_below_one(photo: npt.NDArray[np.uint8]) -> None:
    """A power of the brightness, black and white kept."""
    plain = make_map(photo, "gray").rgb[..., 0]
    light = make_map(photo, "gray", MapParameters(gamma=0.5)).rgb[..., 0]
    assert np.abs(light - (plain / 255.0) ** 0.5 * 255).max() <= 1
    assert light.mean() > plain.mean() + 10


def test_tile_with_factor_one_is_the_picture(photo: npt.NDArray[np.uint8]) -> None:
    """Nothing to lose, nothing lost."""
    assert np.array_equal(make_map(photo, "tile", MapParameters(factor=1)).rgb, photo)


@pytest.mark.parametrize("sigma", [2.0, 9.0])
def test_blur_is_a_gaussian_of_sigma_pixels(photo: npt.NDArray[np.uint8], sigma: float) -> None:
    """Pillow's approximation of the same Gaussian differs little away from the edges."""
    made = make_map(photo, "blur", MapParameters(sigma_pixels=sigma)).rgb
    other = np.array(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(sigma)), dtype=np.uint8)
    inner = difference(made, other)[40:-40, 40:-40]
    assert inner.mean() < 1.0
    assert inner.max() <= 8


def test_the_default_blur_spreads_a_point_over_nine_pixels() -> None:
    """The second moment of a blurred stripe is the square of sigma."""
    picture: npt.NDArray[np.uint8] = np.zeros((41, 201, 3), dtype=np.uint8)
    picture[:, 91:110] = 255
    weights = make_map(picture, "blur").rgb[20, :, 0].astype(np.float64)
    variance = np.sum(weights * (np.arange(201) - 100) ** 2) / weights.sum()
    assert variance - (19**2 - 1) / 12 == pytest.approx(81, rel=0.06)


def test_gray_is_pillows_luminance_in_three_equal_channels(photo: npt.NDArray[np.uint8]) -> None:
    """Within one level of the other implementation of Rec. 601."""
    made = make_map(photo, "gray").rgb
    expected = np.array(Image.fromarray(photo).convert("L").convert("RGB"), dtype=np.uint8)
    assert difference(made, expected).max() <= 1
    assert np.ptp(made, axis=2).max() == 0


def test_gray_does_not_swap_red_and_blue() -> None:
    """Pure red is brighter than pure blue."""
    picture = np.array([[[255, 0, 0], [0, 0, 255], [77, 77, 77]]], dtype=np.uint8)
    assert make_map(picture, "gray").rgb[0, :, 0].tolist() == [76, 29, 77]


def test_low_quality_keeps_the_layout_and_loses_the_detail(photo: npt.NDArray[np.uint8]) -> None:
    """The colours stay near the picture's, and lower quality is further from it."""
    fine, default, poor = (
        difference(make_map(photo, "low-quality", MapParameters(quality=quality)).rgb, photo).mean()
        for quality in (95, 25, 3)
    )
    assert fine < default < poor < 30
    assert fine > difference(make_map(photo, "tile", MapParameters(factor=2)).rgb, photo).mean()


def test_low_quality_keeps_red_red() -> None:
    """The trip through JPEG does not exchange channels."""
    picture: npt.NDArray[np.uint8] = np.full((64, 64, 3), (200, 30, 60), dtype=np.uint8)
    assert difference(make_map(picture, "low-quality").rgb, picture).max() < 12


def reference_shuffle(rgb: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
    """The published recipe of ContentShuffle, in NumPy's global-generator order: x noise, then y noise."""
    height, width = rgb.shape[:2]
    random = np.random.RandomState(seed)
    coordinates: list[npt.NDArray[np.float32]] = []
    for length in (width, height):
        grid = random.uniform(size=(height // 256 + 2, width // 256 + 2))
        smooth = cv2.resize(grid, (width + 512, height + 512), interpolation=cv2.INTER_CUBIC)
        inner = np.asarray(smooth, dtype=np.float64)[256 : 256 + height, 256 : 256 + width]
        share = (inner - inner.min()) / (inner.max() - inner.min())
        coordinates.append((share * (length - 1)).astype(np.float32))
    return np.asarray(cv2.remap(rgb, coordinates[0], coordinates[1], cv2.INTER_LINEAR), dtype=np.uint8)


@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1])
def test_shuffle_is_the_published_recipe_with_its_seed(photo: npt.NDArray[np.uint8], seed: int) -> None:
    """Byte for byte, and again when it is made again."""
    made = make_map(photo, "shuffle", MapParameters(seed=seed)).rgb
    assert np.array_equal(made, reference_shuffle(photo, seed))
    assert np.array_equal(made, shuffle(photo, seed))


def test_shuffle_differs_between_seeds(photo: npt.NDArray[np.uint8]) -> None:
    """Another seed is another warp; no seed is seed 0."""
    first, second = (make_map(photo, "shuffle", MapParameters(seed=seed)).rgb for seed in (0, 1))
    assert difference(first, second).mean() > 20
    assert np.array_equal(first, make_map(photo, "shuffle").rgb)


def test_shuffle_keeps_the_colours() -> None:
    """Of a picture in two colours nothing but these and their blends is left, and both are there."""
    picture: npt.NDArray[np.uint8] = np.full((200, 300, 3), (250, 10, 40), dtype=np.uint8)
    picture[:, 150:] = (0, 210, 90)
    made = make_map(picture, "shuffle").rgb
    for colour in (picture[0, 0], picture[0, -1]):
        assert np.mean((made == colour).all(axis=2)) > 0.1
    assert made[..., 0].max() == 250
    assert made[..., 1].min() == 10
    assert made[..., 2].min() == 40


def test_detection_size_follows_the_shorter_side_and_keeps_the_aspect(photo: npt.NDArray[np.uint8]) -> None:
    """Down by area averaging, up bicubically, untouched when it fits."""
    assert fit_for_detection(photo, 128).shape == (128, 160, 3)
    means = photo.reshape(128, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(fit_for_detection(photo, 128) - means).max() <= 0.5
    assert np.array_equal(fit_for_detection(photo, 512), cv2.resize(photo, (640, 512), interpolation=cv2.INTER_CUBIC))
    assert fit_for_detection(photo, 256) is photo


def test_a_strip_does_not_grow_into_gigabytes() -> None:
    """Nor is a resolution below one pixel accepted."""
    strip: npt.NDArray[np.uint8] = np.zeros((3, 2000, 3), dtype=np.uint8)
    assert fit_for_detection(strip, 30).shape == (30, 20000, 3)
    for resolution in (512, 0, -8):
        with pytest.raises(RequestError, match=f"resolution of {resolution} px") as caught:
            fit_for_detection(strip, resolution)
        assert caught.value.code == "invalid_request"
