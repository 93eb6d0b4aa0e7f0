"""Bringing what was asked for and what came out to one size, and over each other."""

import math
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb
from controlnet_mcp.images.resize import to_frame

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
Shift: TypeAlias = tuple[int, int]
"""Columns to the right and rows down."""
Scalar = TypeVar("Scalar", np.uint8, np.float32)

WORKING_SIDE_PIXELS = 512
"""Structure is compared at no more than the area of this square: the size at which ControlNet++ measures."""
LARGEST_SHIFT = 1 / 64
"""A result may lie off by up to this fraction of its longer side and be put right."""


def size_below(rgb: Rgb, side_pixels: int) -> Size:
    """The size with the aspect of a picture and no more area than a square of this side; never larger than it is."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side_pixels / math.sqrt(width * height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fitted(rgb: Rgb, size: Size) -> Rgb:
    """A picture (or plane) at a size, cropped to its aspect as a control picture is."""
    return to_frame(rgb, *size)


def fitted_lines(line_map: Rgb, size: Size) -> Plane:
    """A line map at a size: lines are widened before they shrink, because thin ones would fade."""
    red, green, blue = cv2.split(line_map)
    plane = np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)
    shrink = math.ceil(min(plane.shape[1] / size[0], plane.shape[0] / size[1]))
    if shrink > 1:
        plane = np.asarray(cv2.dilate(plane, np.ones((shrink, shrink), dtype=np.uint8)), dtype=np.uint8)
    return fitted(plane, size)


def best_shift(still: Levels, moving: Levels) -> Shift:
    """How far `moving` has to go to lie best over `still`, at most `LARGEST_SHIFT`, in steps of two pixels.

    The peak of the cross-correlation at half size; what lies outside counts as the mean.
    """
    half = (max(1, still.shape[1] // 2), max(1, still.shape[0] // 2))
    ground = np.asarray(cv2.resize(still, half, interpolation=cv2.INTER_AREA), dtype=np.float32)
    piece = np.asarray(cv2.resize(moving, half, interpolation=cv2.INTER_AREA), dtype=np.float32)
    ground -= ground.mean()
    piece -= piece.mean()
    reach = max(1, round(max(half) * LARGEST_SHIFT))
    padded = np.pad(ground, reach)
    found = np.asarray(cv2.matchTemplate(padded, piece, cv2.TM_CCORR), dtype=np.float32)
    if found[reach, reach] >= found.max() * (1 - 1e-4):  # flat, or already in place
        return 0, 0
    column, row = cv2.minMaxLoc(found)[3]
    return 2 * (column - reach), 2 * (row - reach)


def shifted(plane: npt.NDArray[Scalar], shift: Shift) -> npt.NDArray[Scalar]:
    """The plane moved; what comes in is black."""
    if shift == (0, 0):
        return plane
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], dtype=np.float32)
    moved = cv2.warpAffine(plane, matrix, (plane.shape[1], plane.shape[0]), flags=cv2.INTER_NEAREST)
    return moved.astype(plane.dtype)
