"""Noise of natural kinds: clouds, paper, canvas weave, pencil strokes, brush strokes."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import Plane, blurred, gradients, plane, resized, stream, warped


def fbm(
    height: int, width: int, rng: np.random.Generator, cell: float, octaves: int = 4, stretch: float = 1.0
) -> Plane:
    """Fractal noise, 0 to 1 with mean near 0.5.

    Args:
        height: Rows.
        width: Columns.
        rng: Where chance comes from.
        cell: Size of the largest blob in pixels.
        octaves: Layers of ever finer noise.
        stretch: How much wider than high the blobs are.
    """
    total = np.zeros((height, width), dtype=np.float32)
    gain, weight = 1.0, 0.0
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        rows, columns = max(int(height / size) + 2, 2), max(int(width / (size * stretch)) + 2, 2)
        layer = plane(rng.random((rows, columns), dtype=np.float32))
        total += gain * resized(layer, width, height, smooth=True) if min(rows, columns) else layer
        weight += gain
        gain *= 0.5
    return plane(np.clip((total / weight - 0.5) * 1.5 + 0.5, 0, 1))


def tile(key: bytes, name: str, size: int = 512) -> Plane:
    """White noise of mean 0 and deviation about 1, to be repeated over a large picture."""
    return plane(stream(key, name).standard_normal((size, size), dtype=np.float32))


def paper(height: int, width: int, rng: np.random.Generator) -> Plane:
    """Rough paper: bumps of two sizes, about -1 to 1."""
    fine = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), 1.0)
    coarse = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), 2.2)
    return plane(np.clip(fine * 1.6 + coarse * 2.6, -2, 2) * 0.5)


def canvas_weave(height: int, width: int) -> Plane:
    """Threads over and under, -1 to 1."""
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    return plane(np.sin(x * 2.1) * np.sin(y * 2.1))


def strokes(height: int, width: int, rng: np.random.Generator, length: int, angle: float) -> Plane:
    """Straight strokes of a crayon, about -1 to 1.

    Args:
        height: Rows.
        width: Columns.
        rng: Where chance comes from.
        length: Length of a stroke in pixels.
        angle: Direction in degrees, 0 along x.
    """
    noise = plane(rng.standard_normal((height, width), dtype=np.float32))
    kernel = np.zeros((length, length), dtype=np.float32)
    middle = (length - 1) / 2
    dx, dy = np.cos(np.radians(angle)) * middle, -np.sin(np.radians(angle)) * middle
    start = (round(middle - dx), round(middle - dy))
    cv2.line(kernel, start, (round(middle + dx), round(middle + dy)), 1.0, 1, cv2.LINE_AA)
    result = plane(cv2.filter2D(noise, cv2.CV_32F, kernel / kernel.sum()))
    return plane(np.clip(result * np.sqrt(length) * 0.6, -1.5, 1.5))


def brushed(tone: Plane, rng: np.random.Generator, reach: float) -> tuple[Plane, Plane, Plane]:
    """Noise drawn along the forms of a picture, as a brush follows what it paints.

    Args:
        tone: Light and dark of the picture.
        rng: Where chance comes from.
        reach: Length of a stroke in pixels.

    Returns:
        Stroke height (about -1 to 1) and the unit direction of the strokes as x and y.
    """
    height, width = tone.shape
    gx, gy = gradients(blurred(tone, max(reach / 4, 1.5)))
    wander = fbm(height, width, rng, max(reach * 12, 24), 2) * np.float32(2 * np.pi)
    # Where the picture is flat the gradient is nothing and the brush wanders.
    xx = blurred(plane(gx * gx - gy * gy), reach) + 2e-6 * np.cos(wander)
    xy = blurred(plane(2 * gx * gy), reach) + 2e-6 * np.sin(wander)
    angle = plane(0.5 * np.arctan2(xy, xx) + np.pi / 2)
    ux, uy = plane(np.cos(angle)), plane(np.sin(angle))
    rough = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), max(reach / 9, 0.8))
    bristles = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), 0.8)
    smear = plane(rough / (float(rough.std()) + 1e-6) + bristles * min(reach / 22, 1.6))
    for step in (0.12, 0.25, 0.5):
        offset = reach * step
        smear = plane((smear + warped(smear, ux * offset, uy * offset) + warped(smear, -ux * offset, -uy * offset)) / 3)
    return plane(np.clip(smear / (float(smear.std()) + 1e-6) * 0.55, -1.4, 1.4)), ux, uy
