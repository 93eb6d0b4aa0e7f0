"""Content shuffle: the colours of a picture under a smooth random warp, its layout gone."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Rgb

GRID_PIXELS = 256
"""Distance of the random grid points, and the margin that is cut off around the picture."""
STRIP_COLUMNS = 128
"""How much of the noise is resized at a time."""


def _tall(strip: cv2.typing.MatLike, height: int) -> npt.NDArray[np.float64]:
    """A strip of the grid as high as the picture."""
    size = (strip.shape[1], height + 2 * GRID_PIXELS)
    tall = cv2.resize(strip, size, interpolation=cv2.INTER_CUBIC)
    return np.array(tall[GRID_PIXELS : GRID_PIXELS + height], dtype=np.float64)


def _smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], extent: int) -> Levels:
    """Smooth noise from 0 to `extent` - 1: a coarse random grid, resized bicubically, without its margin.

    OpenCV resizes rows first and columns then. So does this, but strip by strip and only where the picture will be:
    the numbers are the same, and the margin, larger than a small picture, takes no memory.
    """
    height, width = shape
    right = GRID_PIXELS + width
    grid = random.uniform(size=(height // GRID_PIXELS + 2, width // GRID_PIXELS + 2))
    wide = cv2.resize(grid, (width + 2 * GRID_PIXELS, len(grid)), interpolation=cv2.INTER_CUBIC)
    strips = [
        _tall(wide[:, left : min(left + STRIP_COLUMNS, right)], height)
        for left in range(GRID_PIXELS, right, STRIP_COLUMNS)
    ]
    least = min(float(strip.min()) for strip in strips)
    most = max(float(strip.max()) for strip in strips) - least
    levels: Levels = np.empty(shape, dtype=np.float32)
    while strips:
        strip = strips.pop()
        strip -= least
        strip /= most or 1.0
        left = len(strips) * STRIP_COLUMNS
        np.multiply(strip, extent - 1, out=levels[:, left : left + STRIP_COLUMNS], casting="same_kind")
    return levels


def shuffle(rgb: Rgb, seed: int) -> Rgb:
    """Warp the picture by a smooth random flow; the same seed gives the same bytes.

    The steps and their order are ContentShuffle's of controlnet_aux (double precision included), so the map equals the
    reference's after `numpy.random.seed(seed)`. NumPy guarantees that this legacy generator never changes its stream.

    Args:
        rgb: The picture.
        seed: 0 to 2**32 - 1.
    """
    height, width = rgb.shape[:2]
    random = np.random.RandomState(seed)
    across = _smooth_noise(random, rgb.shape[:2], width)
    down = _smooth_noise(random, rgb.shape[:2], height)
    return np.asarray(cv2.remap(rgb, across, down, cv2.INTER_LINEAR), dtype=np.uint8)
