"""Lines as points with a direction, at one size, aligned and compared: F-measure with a tolerance, beyond chance."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb, Scalar, disc, resized, strongest_channel
from controlnet_mcp.images.resize import to_frame

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
Shift: TypeAlias = tuple[int, int]
"""Columns to the right and rows down."""

WORKING_SIDE_PIXELS = 512
"""Structure is compared at no more than the area of this square: the size at which ControlNet++ measures."""
LARGEST_SHIFT = 1 / 64
"""A result may lie off by up to this fraction of its longer side and be put right."""
DIRECTIONS = 6
"""Directions are told apart in steps of 30 degrees."""
THRESHOLDS = ((100, 200), (50, 100), (20, 40))
"""Canny's, from the usual to those that see pale pictures."""
ONE_THRESHOLD = THRESHOLDS[1:2]
"""For straight lines, whose own detector takes five times as long as any other."""
THREE = np.ones((3, 3), dtype=np.uint8)
"""A pixel and its eight neighbours."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A measure's own figure, and the score from 0 to 1 that is made of it."""

    raw: float
    score: float


def size_below(rgb: Rgb, side_pixels: int) -> Size:
    """The size with the aspect of a picture and no more area than a square of this side; never larger than it is."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side_pixels / math.sqrt(width * height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fitted_lines(line_map: Rgb, size: Size) -> Plane:
    """A line map at a size: lines are widened before they shrink, because thin ones would fade."""
    plane = strongest_channel(line_map)
    shrink = math.ceil(min(plane.shape[1] / size[0], plane.shape[0] / size[1]))
    if shrink > 1:
        plane = np.asarray(cv2.dilate(plane, np.ones((shrink, shrink), dtype=np.uint8)), dtype=np.uint8)
    return to_frame(plane, *size)


def best_shift(still: Levels, moving: Levels) -> Shift:
    """The shift by which `moving` lies best over `still`, at most `LARGEST_SHIFT`, in steps of two pixels.

    The peak of the cross-correlation at half size; what lies outside counts as the mean.
    """
    half = (max(1, still.shape[1] // 2), max(1, still.shape[0] // 2))
    ground, piece = (small - small.mean() for small in (resized(still, half), resized(moving, half)))
    reach = max(1, round(max(half) * LARGEST_SHIFT))
    found = np.asarray(cv2.matchTemplate(np.pad(ground, reach), piece, cv2.TM_CCORR), dtype=np.float32)
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


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Thin lines.

    Attributes:
        pixels: 255 on the lines, 0 elsewhere; shape (height, width).
        directions: Of each pixel, 0 to 5; means something on the lines only.
    """

    pixels: Plane
    directions: Plane

    def blurred(self) -> Levels:
        """The lines as broad ridges, to be laid over others."""
        return np.asarray(cv2.GaussianBlur(self.pixels, (0, 0), 2.0), dtype=np.float32)

    def laid_over(self, other: "Lines") -> "Lines":
        """The lines moved to where they lie best over others."""
        shift = best_shift(other.blurred(), self.blurred())
        return Lines(shifted(self.pixels, shift), shifted(self.directions, shift))


def lines_of(pixels: Plane) -> Lines:
    """Lines that are one pixel wide already, such as Canny's; directions by the structure tensor around each pixel."""
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.5)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    cosine = cv2.GaussianBlur(across * across - down * down, (0, 0), 2.0)
    sine = cv2.GaussianBlur(2 * across * down, (0, 0), 2.0)
    steps = (cv2.phase(cosine, sine) * (DIRECTIONS / (2 * np.pi))).astype(np.uint8) % DIRECTIONS
    return Lines(pixels, np.asarray(steps, dtype=np.uint8))


def middles_of(line_map: Plane) -> Lines:
    """The middles of the strokes of a line map, and the outlines of its filled shapes."""
    # 64: half of what a thin line has left after shrinking by two
    lit = np.asarray(cv2.threshold(line_map, 64, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    filled = cv2.morphologyEx(lit, cv2.MORPH_OPEN, disc(4))  # wider than 8 pixels
    outlines = cv2.subtract(filled, cv2.erode(filled, THREE))
    strokes = cv2.subtract(lit, filled)
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3)
    middles = cv2.bitwise_and(cv2.compare(depth, cv2.dilate(depth, THREE), cv2.CMP_GE), strokes)
    return lines_of(np.asarray(cv2.bitwise_or(middles, outlines), dtype=np.uint8))


def borders(labels: Plane) -> Plane:
    """The borders between labels, two pixels wide, 255 on black."""
    return np.asarray(cv2.compare(cv2.dilate(labels, THREE), cv2.erode(labels, THREE), cv2.CMP_NE), dtype=np.uint8)


def edges_at_thresholds(result: Rgb, thresholds: Sequence[tuple[int, int]] = THRESHOLDS) -> Iterable[Lines]:
    """Canny edges of a picture, from few to many."""
    smooth = np.asarray(cv2.GaussianBlur(result, (0, 0), 1.0), dtype=np.uint8)
    for low, high in thresholds:
        yield lines_of(np.asarray(cv2.Canny(smooth, low, high), dtype=np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Places where a line of each direction meets some lines; both arrays have the shape (directions, height, width).

    Attributes:
        near: 255 where a line of about this direction (30 degrees either way) is within the tolerance.
        density: The mean of that over a box of an eighth of the longer side.
    """

    near: npt.NDArray[np.uint8]
    density: npt.NDArray[np.uint8]

    def share_of(self, lines: Lines) -> tuple[float, float]:
        """The share of the points of some lines that meet: as counted, and beyond chance (may be below 0).

        Chance is the fraction of the surroundings that is in reach; a point that meets counts as (1 - chance) / (1 -
        chance), one that does not as -chance / (1 - chance): 1 where all meet, 0 on average where they are strewn.
        """
        points = np.asarray(cv2.findNonZero(lines.pixels), dtype=np.int64).reshape(-1, 2)
        sample = points[:: max(1, len(points) // 10_000)]  # the error is well below 0.01
        rows, columns = sample[:, 1], sample[:, 0]
        at = (lines.directions[rows, columns], rows, columns)
        meets = (self.near[at] > 0).astype(np.float32)
        # at most 0.9, where lines are so dense that nearly every point meets one
        chance = np.minimum(self.density[at].astype(np.float32) / 255, 0.9)
        return float(meets.mean()), float(((meets - chance) / (1 - chance)).mean())


def reach_of(lines: Lines, tolerance_pixels: int) -> Reach:
    """The places from which some lines are within the tolerance."""
    brush = disc(tolerance_pixels)
    grown: list[Plane] = []
    for step in range(DIRECTIONS):
        of_step = cv2.bitwise_and(lines.pixels, cv2.inRange(lines.directions, np.array(step), np.array(step)))
        grown.append(np.asarray(cv2.dilate(of_step, brush), dtype=np.uint8))
    box = max(3, round(max(lines.pixels.shape) / 8))
    near, density = (np.empty((DIRECTIONS, *lines.pixels.shape), dtype=np.uint8) for _ in range(2))
    for step in range(DIRECTIONS):
        near[step] = cv2.max(cv2.max(grown[step - 1], grown[step]), grown[(step + 1) % DIRECTIONS])
        density[step] = cv2.blur(near[step], (box, box))
    return Reach(near, density)


def _f_measure(precision: float, recall: float, recall_weight: float) -> float:
    if precision <= 0 or recall <= 0:
        return 0.0
    return (1 + recall_weight) * precision * recall / (recall_weight * precision + recall)


def compare_edges(asked: Lines, found_ways: Iterable[Lines]) -> Figures:
    """The best agreement of asked lines with what was found, over the ways of finding (BSDS: optimal image scale).

    The asked lines are not empty; the first way that found any line says where the result lies. The raw figure is F1 as
    counted. The score is F2 beyond chance (recall counts twice as much as precision, because a picture may hold more
    than was asked for), on a curve that brings half of the lines to about half of the scale.
    """
    # 3 px at 512 x 512; BSDS allows 0.0075 of the diagonal
    tolerance_pixels = max(1, round(0.0042 * math.hypot(*asked.pixels.shape)))
    best, reach = Figures(0.0, 0.0), None
    for found in found_ways:
        if not found.pixels.any():
            continue
        if reach is None:
            asked = asked.laid_over(found)
            reach = reach_of(asked, tolerance_pixels)
        recall, recall_beyond_chance = reach_of(found, tolerance_pixels).share_of(asked)
        precision, precision_beyond_chance = reach.share_of(found)
        beyond_chance = _f_measure(precision_beyond_chance, recall_beyond_chance, 4.0)
        figures = Figures(_f_measure(precision, recall, 1.0), min(1.0, beyond_chance) ** 0.75)
        best = max(best, figures, key=lambda row: row.score)
    return best
