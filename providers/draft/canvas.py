"""Arrays and noise that all drawing is done with: float32 planes and colour fields of values 0 to 1."""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import luminance, resized
from controlnet_mcp.providers.draft.words import Colour

Plane: TypeAlias = npt.NDArray[np.float32]  # one value a pixel: (height, width)
Field: TypeAlias = npt.NDArray[np.float32]  # one colour a pixel: (height, width, 3), 0 to 1
Labels: TypeAlias = npt.NDArray[np.int32]  # one region number a pixel: (height, width)
Mask: TypeAlias = npt.NDArray[np.bool_]  # yes or no a pixel: (height, width)


def stream(key: bytes, name: str) -> np.random.Generator:
    """A generator of its own for each purpose, so that adding one never changes another."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key + name.encode()).digest(), "big")))


def plane(values: npt.ArrayLike) -> Plane:
    """Anything as float32."""
    return np.asarray(values, dtype=np.float32)


def unit_of(values: npt.NDArray[np.generic]) -> float:
    """Pixels that measure one pixel of a 512 px picture."""
    return max(min(int(values.shape[0]), int(values.shape[1])) / 512, 0.25)


def blurred(values: Plane, sigma: float) -> Plane:
    """Gaussian blur; a wide one is done at a smaller size."""
    height, width = values.shape[:2]
    shrink = max(int(min(sigma / 2.5, min(height, width) / 16)), 1)
    small = resized(values, (width // shrink, height // shrink))
    return resized(plane(cv2.GaussianBlur(small, (0, 0), max(sigma / shrink, 0.3))), (width, height))


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, an S between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return plane(t * t * (3 - 2 * t))


def blend(first: npt.ArrayLike, second: npt.ArrayLike, share: Plane | float) -> Field:
    """From a first field or colour to a second by a share of 0 to 1 (a plane of shares if both are colours)."""
    weight = share[..., None] if isinstance(share, np.ndarray) else np.float32(share)
    start = plane(first)
    return plane(start + (plane(second) - start) * weight)


def vivid(field: Field, amount: float) -> Field:
    """Multiply the strength of colours."""
    grey = luminance(field)[..., None]
    return plane(np.clip(grey + (field - grey) * amount, 0, 1))


def gradients(values: Plane) -> tuple[Plane, Plane]:
    """Slope along x and y, per pixel."""
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=0.125)
    return plane(across), plane(cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=0.125))


def distance(mask: Mask) -> Plane:
    """Pixels to the nearest false one (everything true: the larger side)."""
    if bool(mask.all()):
        return np.full(mask.shape, max(mask.shape), dtype=np.float32)
    return plane(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3))


def grid(height: int, width: int) -> tuple[Plane, Plane]:
    """Coordinates 0 to 1: y as a column, x as a row, ready to broadcast."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    return y, np.linspace(0, 1, width, dtype=np.float32)[None, :]


def along(share: Plane, stops: Sequence[Colour]) -> Field:
    """Colours along a plane of values 0 to 1, the stops evenly spaced."""
    where = np.linspace(0, 1, len(stops))
    return plane(np.stack([np.interp(share, where, levels) for levels in zip(*stops, strict=True)], axis=-1))


def pieces_of(mask: Mask) -> tuple[Labels, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Connected pieces: the piece of each pixel (0 is none), OpenCV's statistics and the centre of each."""
    _, pieces, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return np.asarray(pieces, dtype=np.int32), np.asarray(stats, np.float64), np.asarray(centres, np.float64)


def edges_of(labels: Labels) -> Mask:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def fbm(height: int, width: int, rng: np.random.Generator, cell: float, octaves: int = 4, stretch: float = 1) -> Plane:
    """Fractal noise, 0 to 1, mean near 0.5; its largest blobs have `cell` pixels and are `stretch` times as wide."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        rows, columns = max(int(height / size) + 2, 2), max(int(width / (size * stretch)) + 2, 2)
        total += 0.5**octave * resized(rng.random((rows, columns), dtype=np.float32), (width, height))
    return plane(np.clip((total / (2 - 0.5 ** (octaves - 1)) - 0.5) * 1.5 + 0.5, 0, 1))


def paper(height: int, width: int, rng: np.random.Generator) -> Plane:
    """Rough paper: bumps of two sizes, about -1 to 1."""
    noise = rng.standard_normal((height, width), dtype=np.float32)
    return plane(np.clip(blurred(noise, 1.0) * 0.8 + blurred(noise, 2.2) * 1.3, -1, 1))
