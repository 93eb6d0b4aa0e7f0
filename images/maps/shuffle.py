"""Content shuffle: the colours of a picture under a smooth random warp, its layout gone."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Rgb

GRID_PIXELS = 256
"""Distance of the random grid points, and the margin that is cut off around the picture."""
STRIP_COLUMNS = 128
"""How much of the noise is resized at a time."""


def _smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], extent: int) -> Levels:
    """Smooth noise from 0 to `extent` - 1: a coarse random grid, resized bicubically, without its margin.

    OpenCV resizes rows first and columns then. So does this, but strip by strip and only where the picture will be:
    the numbers are the same, and the margin, larger than a small picture, takes no memory.
    """
    height, width = shape
    grid = random.uniform(size=(height // GRID_PIXELS + 2, width // GRID_PIXELS + 2))
    wide = cv2.resize(grid, (width + 2 * GRID_PIXELS, len(grid)), interpolation=cv2.INTER_CUBIC)
    noise: npt.NDArray[np.float64] = np.empty(shape, dtype=np.float64)
    for left in range(0, width, STRIP_COLUMNS):
        strip = wide[:, GRID_PIXELS + left : GRID_PIXELS + min(left + STRIP_COLUMNS, width)]
        tall = cv2.resize(strip, (strip.shape[1], height + 2 * GRID_PIXELS), interpolation=cv2.INTER_CUBIC)
        noise[:, left : left + STRIP_COLUMNS] = tall[GRID_PIXELS : GRID_PIXELS + height]
    noise -= noise.min()
    noise /= noise.max() or 1.0
    return np.multiply(noise, extent - 1, out=np.empty(shape, dtype=np.float32), casting="same_kind")


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
