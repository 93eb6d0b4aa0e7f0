"""Photo-like maps: the picture with less detail, sharpness, colour, quality or layout than the one to be drawn."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb, luminance

LEAST_FACTOR = 1.1
"""Below it the reference leaves the picture as it is."""
GRID_PIXELS = 256
"""Distance of the random grid points, and the margin that is cut off around the picture."""
STRIP_COLUMNS = 128
"""How much of the noise is resized at a time."""


def _small(rgb: Rgb, factor: float) -> Rgb:
    """The picture with both sides divided by the factor (rounded down, at least one pixel), by area averaging."""
    height, width = rgb.shape[:2]
    size = (max(1, int(width / factor)), max(1, int(height / factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _grown(small: Rgb, like: Rgb) -> Rgb:
    """The small picture at the size of another, bicubic."""
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def tile(rgb: Rgb, factor: float) -> Rgb:
    """Colours and layout without detail: shrunk by `factor` (area averaging) and grown back (bicubic).

    The small picture is sd-webui's tile_resample, byte for byte; there it is grown by whoever uses it.
    """
    return _grown(_small(rgb, factor), rgb) if factor >= LEAST_FACTOR else rgb.copy()


def blur(rgb: Rgb, sigma_pixels: float) -> Rgb:
    """The picture under a Gaussian of `sigma_pixels`; 9 is sd-webui's blur_gaussian."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_pixels), dtype=np.uint8)


def gray(rgb: Rgb, gamma: float) -> Plane:
    """The picture without colour: its Rec. 601 luminance to the power of gamma, so at 1 a grey picture stays as it is.

    sd-webui's recolor_luminance has the same gamma, but it hands an RGB array to a BGR conversion, which swaps red and
    blue (a red coat comes out as dark as a blue one should). That is not copied.
    """
    plane = luminance(rgb)
    if gamma == 1:
        return plane
    levels = (np.arange(256, dtype=np.float32) / 255) ** gamma * 255
    return np.asarray(cv2.LUT(plane, levels.astype(np.uint8)), dtype=np.uint8)


def color_grid(rgb: Rgb, cell_pixels: int) -> Rgb:
    """Squares of colour: one bicubic sample for each cell, grown without smoothing.

    It is the colour grid of T2I-Adapter (t2ia_color_grid), whose cells are of 64 pixels.
    """
    height, width = rgb.shape[:2]
    size = (max(1, width // cell_pixels), max(1, height // cell_pixels))
    cells = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def low_quality(rgb: Rgb, factor: float, quality: int) -> Rgb:
    """A poor copy: shrunk by `factor`, through JPEG at `quality` (1 to 95) in memory, grown back (bicubic).

    There is no reference annotator; the definition is ours.
    """
    bgr = cv2.cvtColor(_small(rgb, factor), cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    small = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    return _grown(small, rgb)


def _smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], extent: int) -> Levels:
    """Smooth noise from 0 to `extent` - 1: a coarse random grid, resized bicubically, without its margin.

    OpenCV resizes rows first and columns then. So does this, but strip by strip and only where the picture will be:
    the numbers are the same, and the margin, larger than a small picture, takes no memory.
    """
    height, width = shape
    right = GRID_PIXELS + width
    grid = random.uniform(size=(height // GRID_PIXELS + 2, width // GRID_PIXELS + 2))
    wide = cv2.resize(grid, (width + 2 * GRID_PIXELS, len(grid)), interpolation=cv2.INTER_CUBIC)
    strips: list[npt.NDArray[np.float64]] = []
    for left in range(GRID_PIXELS, right, STRIP_COLUMNS):
        strip = wide[:, left : min(left + STRIP_COLUMNS, right)]
        tall = cv2.resize(strip, (strip.shape[1], height + 2 * GRID_PIXELS), interpolation=cv2.INTER_CUBIC)
        strips.append(np.array(tall[GRID_PIXELS : GRID_PIXELS + height], dtype=np.float64))
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
