"""Content shuffle: the colours of a picture under a smooth random warp, its layout gone."""

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Rgb

GRID_PIXELS = 256
"""Distance of the random grid points, and the margin that is cut off around the picture."""


def _smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], extent: int) -> Levels:
    """Smooth noise from 0 to `extent` - 1: a coarse random grid, resized bicubically, without its margin."""
    height, width = shape
    grid = random.uniform(size=(height // GRID_PIXELS + 2, width // GRID_PIXELS + 2))
    size = (width + 2 * GRID_PIXELS, height + 2 * GRID_PIXELS)
    noise = np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC), dtype=np.float64)
    noise = noise[GRID_PIXELS : GRID_PIXELS + height, GRID_PIXELS : GRID_PIXELS + width]
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
