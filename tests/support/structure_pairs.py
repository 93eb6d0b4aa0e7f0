"""Pairs of a control picture and what a generation could have made of it: structure kept, lost or half hidden.

Subjects are photos that scikit-image carries in its wheel, drawings and maps from `tests.support.sample_drawings`; all
are 8-bit RGB of 224 x 224 pixels, and the same bytes every time.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.recipes import make_map
from tests.support import sample_drawings

Rgb: TypeAlias = npt.NDArray[np.uint8]
Change: TypeAlias = Callable[[Rgb], Rgb]

SIDE = 224
PHOTOS = ("astronaut.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
DRAWN: tuple[Callable[[int], Rgb], ...] = (sample_drawings.house, sample_drawings.street, sample_drawings.face)


@cache
def photo(file: str, side: int = SIDE) -> Rgb:
    """The middle square of a photo."""
    rgb = np.asarray(Image.open(Path(data.__file__).with_name(file)).convert("RGB"), dtype=np.uint8)
    least = min(rgb.shape[:2])
    top, left = ((length - least) // 2 for length in rgb.shape[:2])
    square = rgb[top : top + least, left : left + least]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


@cache
def cloudiness(seed: int) -> npt.NDArray[np.float32]:
    """Soft texture at three scales, mean 0 and deviation 1; shape (SIDE, SIDE, 1)."""
    random = np.random.default_rng(seed)
    total = np.zeros((SIDE, SIDE), dtype=np.float32)
    for cells in (6, 24, 96):
        grid = random.random((cells, cells), dtype=np.float32)
        total += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(((total - total.mean()) / total.std())[..., None], dtype=np.float32)


def _levels(rgb: npt.NDArray[np.floating]) -> Rgb:
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def _grainy(rgb: Rgb) -> Rgb:
    return _levels(rgb + np.random.default_rng(1).normal(0, 10, rgb.shape))


def _textured(rgb: Rgb) -> Rgb:
    return _levels(rgb[..., [1, 2, 0]] + 14 * cloudiness(2))


def _pale(rgb: Rgb) -> Rgb:
    return _levels(rgb * 0.5 + 110)


def _dusk(rgb: Rgb) -> Rgb:
    return _levels(255 * (rgb / 255.0) ** 1.6 * np.array([0.9, 0.8, 1.0]))


def _brushed(rgb: Rgb) -> Rgb:
    return np.asarray(cv2.bilateralFilter(rgb, 5, 40, 5), dtype=np.uint8)


def _warm(rgb: Rgb) -> Rgb:
    return _levels(rgb * np.array([1.08, 1.0, 0.88]) + 4 * cloudiness(3))


REDRAWN: tuple[Change, ...] = (_grainy, _textured, _pale, _dusk, _brushed)
"""Changes after which the lines are still there."""
RETOUCHED: tuple[Change, ...] = (_grainy, _warm, _brushed)
"""Changes after which brightness and layout are still there."""


@cache
def subjects() -> tuple[Rgb, ...]:
    """Photos and sample_drawings."""
    return (*(photo(file) for file in PHOTOS), *(draw(SIDE) for draw in DRAWN))


def half_hidden(rgb: Rgb) -> Rgb:
    """The upper left and lower right quarters grey."""
    hidden = rgb.copy()
    middle = len(rgb) // 2
    hidden[:middle, :middle] = hidden[middle:, middle:] = 128
    return hidden


@cache
def class_maps() -> tuple[Rgb, ...]:
    """Segmentation maps in ADE20K colours: the drawn one, turned, and areas around random points."""
    drawn = sample_drawings.segmentation(SIDE)
    return (drawn, np.ascontiguousarray(drawn[::-1, ::-1]), *(_areas(seed) for seed in range(2)))


def _areas(seed: int) -> Rgb:
    random = np.random.default_rng(seed)
    points = random.random((7, 2)) * SIDE
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(axis=2)
    colours = np.unique(sample_drawings.segmentation(64).reshape(-1, 3), axis=0)
    return np.ascontiguousarray(random.permutation(colours)[:7][nearest])


def filled_in(class_map: Rgb, seed: int) -> Rgb:
    """A scene with these regions: each class a colour and a texture of its own."""
    random = np.random.default_rng(seed)
    scene = np.zeros(class_map.shape, dtype=np.float32)
    for number, colour in enumerate(np.unique(class_map.reshape(-1, 3), axis=0)):
        paint = random.integers(40, 216, 3) + 9 * cloudiness(10 * seed + number)
        scene = np.where((class_map == colour).all(axis=2, keepdims=True), paint, scene)
    return _levels(scene + random.normal(0, 4, scene.shape))


FITTING = {"blur": MapParameters(sigma_pixels=4), "low-quality": MapParameters(factor=2)}
"""The usual maps of 512 px pictures have twice this."""


def map_of(rgb: Rgb, modality: str) -> Rgb:
    """The control map of a picture."""
    return make_map(rgb, modality, FITTING.get(modality)).rgb
