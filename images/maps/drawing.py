"""Drawings: telling a clean drawing from a photo, and taking its strokes as white on black."""

from typing import Literal, TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance

Ground: TypeAlias = Literal["light", "dark"]
"""What a drawing is drawn on: dark strokes on light paper, or light strokes on a dark board."""

SAMPLE_SIDE_PIXELS = 512
"""A picture is judged, and its paper is measured, at no more than this."""
BRUSH = 1 / 16
"""Nothing wider than this fraction of the longer side counts as a stroke."""
LEAST_STROKED = 0.002
"""Fraction of pixels that must be strokes: blank paper is no drawing."""
FAINT_LEVELS = 4
"""Strokes no stronger than this above the grain of the paper are black in the map."""
LEAST_CONTRAST = 48
"""Levels that are stretched to 255 at the strongest: faint pencil becomes white, grain does not."""


def _sampled(plane: Plane) -> Plane:
    """The plane at no more than 512 px, by area averaging."""
    scale = min(1.0, SAMPLE_SIDE_PIXELS / max(plane.shape))
    size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _brush(small: Plane) -> Plane:
    side = max(3, round(max(small.shape) * BRUSH))
    return np.ones((side, side), dtype=np.uint8)


def _fraction_darker(plane: Plane, than: Plane, times: float) -> float:
    """Fraction of pixels of the plane that are darker than `times` the brightness of the other."""
    darker = cv2.compare(plane, cv2.convertScaleAbs(than, alpha=times), cv2.CMP_LT)
    return cv2.countNonZero(darker) / float(plane.size)


def find_ground(rgb: Rgb, *, tolerant: bool = False) -> Ground | None:
    """What the picture is drawn on if it is a clean line drawing, else None (a photo, a painting, blank paper).

    A drawing is mostly ground; when all that is thin is closed away, next to nothing with an outline is left, only the
    ground, evenly or unevenly lit. (The limits were set on photos, cut-out objects and drawings: drawings have up to a
    quarter as much outline left as strokes, cut-outs from seven tenths.) The ground is light where more than half of
    the pixels are in the lighter half.

    Args:
        rgb: The picture.
        tolerant: Whether to accept the shading and smudges of pencil on paper, when the owner calls it a drawing.
    """
    small = _sampled(luminance(rgb))
    ground: Ground = "light" if cv2.countNonZero((small > HALF).view(np.uint8)) * 2 > small.size else "dark"
    if ground == "dark":
        small = np.asarray(cv2.bitwise_not(small), dtype=np.uint8)
    brush = _brush(small)
    paper = np.asarray(cv2.morphologyEx(small, cv2.MORPH_CLOSE, brush), dtype=np.uint8)
    highest = np.asarray(cv2.dilate(paper, brush), dtype=np.uint8)
    stroked = _fraction_darker(small, paper, 0.9)
    outlined = _fraction_darker(np.asarray(cv2.erode(paper, brush), dtype=np.uint8), highest, 0.85)
    most_stroked, most_outlined = (0.5, 0.9) if tolerant and ground == "light" else (0.25, 0.35)
    return ground if LEAST_STROKED <= stroked <= most_stroked and outlined <= most_outlined * stroked else None


def _paper(plane: Plane) -> Plane:
    """Brightness of the ground at each pixel, never below half of its median: large blacks are ink, not shade."""
    small = _sampled(plane)
    brush = _brush(small)
    paper = np.maximum(cv2.morphologyEx(small, cv2.MORPH_CLOSE, brush), np.uint8(np.median(small) / 2))
    smooth = cv2.blur(paper, brush.shape)
    return np.asarray(cv2.resize(smooth, plane.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _stretch(ink: Plane) -> Plane:
    """Table of 256 levels that makes the grain of the paper black and the stronger strokes white."""
    step = max(1, max(ink.shape) // (2 * SAMPLE_SIDE_PIXELS))
    sample = ink[::step, ::step]
    low, median = np.percentile(sample, (16, 50))
    black = median + 3.0 * (median - low) + FAINT_LEVELS
    strong = sample[sample > black]
    white = max(float(np.percentile(strong, 75)) if strong.size else 0.0, black + LEAST_CONTRAST)
    levels = np.arange(256, dtype=np.float32)
    return np.asarray(np.clip((levels - black) * (255.0 / (white - black)), 0, 255), dtype=np.uint8)


def strokes(rgb: Rgb, ground: Ground) -> Plane:
    """The strokes of a drawing, white on black: shade and grain of the ground removed, contrast stretched.

    Ink of any colour counts: the channel in which it differs most from the ground decides.
    """
    red, green, blue = cv2.split(rgb if ground == "light" else cv2.bitwise_not(rgb))
    plane = np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.uint8)
    paper = _paper(plane)
    ink = np.asarray(cv2.divide(cv2.subtract(paper, plane), paper, scale=255.0), dtype=np.uint8)
    return np.asarray(cv2.LUT(ink, _stretch(ink)), dtype=np.uint8)
