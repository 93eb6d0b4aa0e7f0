"""Drawings: telling a clean drawing from a photo, and taking its strokes as white on black."""

from typing import Literal, TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance, resized, weakest_channel

Ground: TypeAlias = Literal["light", "dark"]
"""The ground of a drawing: dark strokes on light paper, or light strokes on a dark board."""

LEAST_STROKED = 0.002
"""Fraction of pixels that must be strokes: blank paper is no drawing."""
MOST_STROKED_PENCIL = 0.5
"""Fraction of pixels that may be strokes in the most smudged pencil drawing."""
GROUNDS: tuple[Ground, ...] = ("light", "dark")


def _sampled(plane: Plane) -> Plane:
    """The plane at no more than 448 px, by averaging squares of pixels (of 2, 4, 8…: that is many times faster)."""
    side = 1
    while max(plane.shape) > side * 448 and min(plane.shape) >= 2 * side:
        side *= 2
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    whole = plane[: rows * side, : columns * side]
    return resized(whole, (columns, rows))


def _brush(small: Plane) -> Plane:
    """A square as wide as the widest stroke: a sixteenth of the longer side."""
    side = max(3, round(max(small.shape) / 16))
    return np.ones((side, side), dtype=np.uint8)


def find_ground(rgb: Rgb, *, tolerant: bool = False) -> Ground | None:
    """The ground of the picture if it is a clean line drawing, else None (a photo, a painting, blank paper).

    A drawing is mostly ground; when all that is thin is closed away, next to nothing with an outline is left, only the
    ground, evenly or unevenly lit. (The limits were set on photos, cut-out objects and drawings: drawings have up to a
    quarter as much outline left as strokes, cut-outs from seven tenths.) That is tried for dark strokes and, on the
    negative, for light ones, whatever the brightness of the ground: white chalk on light blue is light on dark, too.

    Strokes are darker than the ground by a tenth. An outline is a drop of the ground by 15 %, or by half of what the
    strokes drop: in a dim photo all drops are small.

    Where it is `tolerant`, shading and smudges of pencil on paper are accepted: the caller says that it is a drawing.
    """
    small = _sampled(luminance(rgb))
    mostly_light = cv2.countNonZero((small > HALF).view(np.uint8)) * 2 > small.size
    pencilled = False
    for ground in GROUNDS if mostly_light else GROUNDS[::-1]:
        plane = small if ground == "light" else np.asarray(cv2.bitwise_not(small), dtype=np.uint8)
        brush = _brush(plane)
        paper = np.asarray(cv2.morphologyEx(plane, cv2.MORPH_CLOSE, brush), dtype=np.uint8)
        strokes_at = np.asarray(cv2.compare(plane, cv2.convertScaleAbs(paper, alpha=0.9), cv2.CMP_LT), dtype=np.uint8)
        stroked = cv2.countNonZero(strokes_at) / plane.size
        if not LEAST_STROKED <= stroked <= MOST_STROKED_PENCIL:
            continue
        drop = cv2.mean(cv2.subtract(paper, plane), mask=strokes_at)[0]
        highest = np.asarray(cv2.dilate(paper, brush), dtype=np.uint8)
        least = cv2.min(cv2.convertScaleAbs(highest, alpha=0.15), np.full_like(highest, max(1, round(drop / 2))))
        outlines_at = cv2.compare(cv2.subtract(highest, cv2.erode(paper, brush)), least, cv2.CMP_GT)
        outlined = cv2.countNonZero(outlines_at) / plane.size
        if stroked <= 0.25 and outlined <= 0.35 * stroked:  # noqa: PLR2004  # the limits of above
            return ground
        if tolerant and mostly_light and ground == "light":
            pencilled = outlined <= 0.9 * stroked
    return "light" if pencilled else None


def strokes(rgb: Rgb, ground: Ground) -> Plane:
    """The strokes of a drawing, white on black: shade and grain of the ground removed, contrast stretched.

    Ink of any colour counts: the channel in which it differs most from the ground decides.
    """
    plane = weakest_channel(rgb if ground == "light" else np.asarray(cv2.bitwise_not(rgb), dtype=np.uint8))
    small = _sampled(plane)
    brush = _brush(small)
    # never below half of its median: large blacks are ink, not shade
    closed = np.maximum(cv2.morphologyEx(small, cv2.MORPH_CLOSE, brush), np.uint8(np.median(small) / 2))
    paper = cv2.resize(cv2.blur(closed, brush.shape), plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
    ink = np.asarray(cv2.divide(cv2.subtract(paper, plane), paper, scale=255.0), dtype=np.uint8)
    step = max(1, max(ink.shape) // 1024)
    sample = ink[::step, ::step]
    low, median = np.percentile(sample, (16, 50))
    black = median + 3.0 * (median - low) + 4  # levels: above the grain of the paper
    strong = sample[sample > black]
    # faint pencil becomes white, grain does not
    white = max(float(np.percentile(strong, 75)) if strong.size else 0.0, black + 48)
    stretched = np.clip((np.arange(256, dtype=np.float32) - black) * (255.0 / (white - black)), 0, 255)
    return np.asarray(cv2.LUT(ink, stretched.astype(np.uint8)), dtype=np.uint8)
