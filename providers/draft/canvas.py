"""Array types of the painter and the few OpenCV calls it needs, with exact types.

Painting happens on float32 planes and colour fields of values 0 to 1; 8 bits only at the way in and out.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.palette import Colour

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""A picture: (height, width, 3), 8 bits, red first."""
Plane: TypeAlias = npt.NDArray[np.float32]
"""One value a pixel: (height, width)."""
Field: TypeAlias = npt.NDArray[np.float32]
"""One colour a pixel: (height, width, 3), 0 to 1."""
Labels: TypeAlias = npt.NDArray[np.int32]
"""One region number a pixel: (height, width)."""
Mask: TypeAlias = npt.NDArray[np.bool_]
"""Yes or no a pixel: (height, width)."""


def stream(key: bytes, name: str) -> np.random.Generator:
    """A generator of its own for each purpose, so that adding one never changes another."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key + name.encode()).digest(), "big")))


def plane(values: npt.ArrayLike) -> Plane:
    """Anything as float32."""
    return np.asarray(values, dtype=np.float32)


def resized(values: Plane, width: int, height: int, *, smooth: bool = False) -> Plane:
    """Scale a plane or colour field: averaging when smaller, linear (or cubic when `smooth`) when larger."""
    old_height, old_width = values.shape[:2]
    if (old_width, old_height) == (width, height):
        return values
    larger = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return plane(cv2.resize(values, (width, height), interpolation=_choose(values.shape, width, height, larger)))


def resized_rgb(rgb: Rgb, width: int, height: int) -> Rgb:
    """Scale a picture; one of the right size comes back unchanged."""
    old_height, old_width = rgb.shape[:2]
    if (old_width, old_height) == (width, height):
        return rgb
    method = _choose(rgb.shape, width, height, cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), dtype=np.uint8)


def _choose(shape: tuple[int, ...], width: int, height: int, larger: int) -> int:
    return cv2.INTER_AREA if width * height < shape[0] * shape[1] else larger


def blurred(values: Plane, sigma: float) -> Plane:
    """Gaussian blur; a wide one goes down and up an image pyramid, whose slopes stay smooth too."""
    height, width = values.shape[:2]
    levels = max(int(math.log2(max(min(sigma / 2.5, min(height, width) / 16), 1.0))), 0)
    small, sizes = values, list[tuple[int, int]]()
    for _ in range(levels):
        sizes.append((int(small.shape[1]), int(small.shape[0])))
        small = plane(cv2.pyrDown(small))
    # Each way adds a variance of 1 at every level, in the pixels of that level.
    left = math.sqrt(max(sigma**2 - 2 * (4**levels - 1) / 3, 0.09)) / 2**levels
    small = plane(cv2.GaussianBlur(small, (0, 0), max(left, 0.3)))
    for size in reversed(sizes):
        small = plane(cv2.pyrUp(small, dstsize=size))
    return small


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, an S between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return plane(t * t * (3 - 2 * t))


def luminance(field: Field) -> Plane:
    """How light each pixel looks, 0 to 1."""
    return plane(cv2.cvtColor(field, cv2.COLOR_RGB2GRAY))


def blend(first: npt.ArrayLike, second: npt.ArrayLike, share: Plane | float) -> Field:
    """From a first field or colour to a second by a share of 0 to 1 (a plane of shares if both are colours)."""
    weight = share[..., None] if isinstance(share, np.ndarray) else np.float32(share)
    start = plane(first)
    return plane(start + (plane(second) - start) * weight)


def gradients(values: Plane) -> tuple[Plane, Plane]:
    """Slope along x and y, per pixel."""
    return plane(cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=0.125)), plane(
        cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=0.125)
    )


def distance(mask: Mask) -> Plane:
    """Pixels to the nearest false one (everything true: the larger side)."""
    if bool(mask.all()):
        return np.full(mask.shape, max(mask.shape), dtype=np.float32)
    return plane(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3))


def grown(values: Plane, radius: int) -> Plane:
    """The largest value within a round neighbourhood."""
    if radius < 1:
        return values
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return plane(cv2.dilate(values, kernel))


def grid(height: int, width: int) -> tuple[Plane, Plane]:
    """Coordinates 0 to 1: y as a column, x as a row, ready to broadcast."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    return y, x


def warped(values: Plane, dx: Plane, dy: Plane) -> Plane:
    """Look each pixel up at an offset in pixels."""
    height, width = dx.shape
    x = plane(np.arange(width, dtype=np.float32)[None, :] + dx)
    y = plane(np.arange(height, dtype=np.float32)[:, None] + dy)
    return plane(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def pieces(mask: Mask, *, diagonal: bool = True) -> tuple[int, Labels, Labels]:
    """Connected pieces of a mask.

    Args:
        mask: Where to look.
        diagonal: Whether pixels that touch at a corner only are connected.

    Returns:
        Number of pieces with the background, the piece of each pixel (0 is background), and a table with one row for
        each piece: left, top, width, height, area.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8 if diagonal else 4)
    return int(count), np.asarray(labels, dtype=np.int32), np.asarray(stats, dtype=np.int32)


def spread(labels: Labels, unknown: Mask) -> Labels:
    """Give every unknown pixel the label of the known pixel nearest to it."""
    _, found = cv2.distanceTransformWithLabels(unknown.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    nearest: Labels = np.asarray(found, dtype=np.int32)
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    owner[nearest[~unknown]] = labels[~unknown]
    return np.asarray(owner[nearest], dtype=np.int32)


def along(share: Plane, stops: Sequence[Colour], at: Sequence[float] | None = None) -> Field:
    """Colours along a plane of values.

    Args:
        share: Values, usually 0 to 1.
        stops: Colours to pass through.
        at: Value of each stop; evenly from 0 to 1 if left out.
    """
    where = np.linspace(0, 1, len(stops)) if at is None else np.asarray(at)
    table = np.asarray(stops, dtype=np.float64)
    result = np.empty((*share.shape, 3), dtype=np.float32)
    for channel in range(3):
        result[..., channel] = np.interp(share, where, table[:, channel])
    return result
