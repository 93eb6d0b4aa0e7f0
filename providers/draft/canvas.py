"""Array types of the painter and the few OpenCV calls it needs, with exact types.

Painting happens on float32 planes and colour fields of values 0 to 1; 8 bits only at the way in and out.
"""

import hashlib
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

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
    """Gaussian blur; a wide one is done on a smaller copy, which nobody can tell."""
    height, width = values.shape[:2]
    factor = int(min(sigma / 3, min(height, width) / 8))
    if factor < 2:  # noqa: PLR2004  # no smaller copy to work on
        return plane(cv2.GaussianBlur(values, (0, 0), max(sigma, 0.3)))
    small = resized(values, max(width // factor, 1), max(height // factor, 1))
    return resized(plane(cv2.GaussianBlur(small, (0, 0), sigma / factor)), width, height)


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, an S between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return plane(t * t * (3 - 2 * t))


def luminance(field: Field) -> Plane:
    """How light each pixel looks, 0 to 1."""
    return plane(cv2.cvtColor(field, cv2.COLOR_RGB2GRAY))


def blend(first: Field, second: npt.ArrayLike, share: Plane | float) -> Field:
    """From the first colour field to a second field or one colour by a share of 0 to 1."""
    weight = share[..., None] if isinstance(share, np.ndarray) else share
    return plane(first + (plane(second) - first) * weight)


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
