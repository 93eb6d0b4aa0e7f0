"""Surface normals of a given depth map: weight-free, exact arithmetic."""

from functools import partial

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Rgb
from controlnet_mcp.images.maps.strips import strip_by_strip

COLOURED_LEVELS = 24
"""Channels of a depth map differ by no more than this (JPEG and colour profiles leave a few levels)."""
COLOURED_SHARE = 0.01
"""Fraction of the pixels that may differ more."""


def is_grey(rgb: Rgb) -> bool:
    """Whether a picture has no colour, as a depth map has none and a normal map always has."""
    red, green, blue = cv2.split(rgb)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    coloured = cv2.countNonZero(cv2.threshold(spread, COLOURED_LEVELS, 255, cv2.THRESH_BINARY)[1])
    return coloured <= COLOURED_SHARE * spread.size


def _colour(part: Levels) -> cv2.typing.MatLike:
    """From -1..1 to 0..255, rounded down as the reference does."""
    part *= np.float32(127.5)
    part += np.float32(127.5)
    return part.astype(np.uint8)


def _strip_normals(depth: Levels, farther_than: float, flatness: float, sign: float) -> Rgb:
    far = depth < farther_than
    across, down = (np.asarray(cv2.Sobel(depth, cv2.CV_32F, along, 1 - along), dtype=np.float32) for along in (1, 0))
    across[far] = 0
    down[far] = 0
    across *= np.float32(sign)
    ahead = np.full(depth.shape, flatness, dtype=np.float32)
    length = np.sqrt(across * across + down * down + ahead * ahead)
    parts = [np.divide(part, length, out=part) for part in (across, down, ahead)]
    return np.asarray(cv2.merge([_colour(part) for part in parts]), dtype=np.uint8)


def normals(depth: Levels, background_threshold: float, flatness: float, red: str) -> Rgb:
    """The directions of the surface as colours: red sideways, green up, blue towards the viewer.

    The formula is that of ControlNet's MiDaS annotator (`MidasDetector`, sd-controlnet-normal): Sobel slopes of the
    depth as the sideways parts, a constant towards the viewer, scaled to length one and from -1..1 to 0..255, blue in
    front. There the depth is a network's raw output; here it is in levels of brightness.

    Args:
        depth: Nearer is larger; any scale, but `flatness` is in its units per pixel (times 8, Sobel's gain).
        background_threshold: Of the range of the depth, 0 to 1: what is farther is flat.
        flatness: The constant; smaller makes slopes stand out.
        red: `left` (the reference: red where the surface faces left) or `right` (OpenGL).
    """
    nearest, farthest = float(depth.max()), float(depth.min())
    limit = farthest + background_threshold * (nearest - farthest)
    work = partial(_strip_normals, farther_than=limit, flatness=flatness, sign=-1.0 if red == "right" else 1.0)
    picture: Rgb = np.empty((*depth.shape, 3), dtype=np.uint8)
    return strip_by_strip(depth, picture, work, margin_rows=1)
