"""Lines as points with a direction: what edges are compared by.

F-measure of edges with a tolerance, chance allowed for, at the threshold that suits the picture best.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb
from controlnet_mcp.images.structure_score import Figures
from controlnet_mcp.images.structure_score.alignment import Shift, best_shift, shifted

DIRECTIONS = 6
"""Directions are told apart in steps of 30 degrees."""
LIT = 64
"""Pixels of a line map above this belong to a line: half of what a thin line has left after shrinking by two."""
WIDEST_STROKE_PIXELS = 8
"""What is wider is a filled shape, of which only the outline counts."""


def disc(radius: int) -> Plane:
    """A round structuring element."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _directions(pixels: Plane) -> Plane:
    """The direction of the line through each pixel, 0 to 5, by the structure tensor of its surroundings."""
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.5)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    cosine = cv2.GaussianBlur(across * across - down * down, (0, 0), 2.0)
    sine = cv2.GaussianBlur(2 * across * down, (0, 0), 2.0)
    twice = cv2.phase(cosine, sine)
    return np.asarray((twice * (DIRECTIONS / (2 * np.pi))).astype(np.uint8) % DIRECTIONS, dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Thin lines.

    Attributes:
        pixels: 255 on the lines, 0 elsewhere; shape (height, width).
        directions: Of each pixel, 0 to 5; means something on the lines only.
    """

    pixels: Plane
    directions: Plane

    @property
    def empty(self) -> bool:
        """Whether there is no line."""
        return not self.pixels.any()

    def blurred(self) -> Levels:
        """The lines as broad ridges, to be laid over others."""
        return np.asarray(cv2.GaussianBlur(self.pixels, (0, 0), 2.0), dtype=np.float32)

    def moved(self, shift: Shift) -> "Lines":
        """The lines somewhere else."""
        return Lines(shifted(self.pixels, shift), shifted(self.directions, shift))


def lines_of(pixels: Plane) -> Lines:
    """Lines that are one pixel wide already, such as Canny's."""
    return Lines(pixels, _directions(pixels))


def middles_of(line_map: Plane) -> Lines:
    """The middles of the strokes of a line map, and the outlines of its filled shapes."""
    lit = np.asarray(cv2.threshold(line_map, LIT, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    filled = cv2.morphologyEx(lit, cv2.MORPH_OPEN, disc(WIDEST_STROKE_PIXELS // 2))
    three = np.ones((3, 3), dtype=np.uint8)
    outlines = cv2.subtract(filled, cv2.erode(filled, three))
    strokes = cv2.subtract(lit, filled)
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3)
    middles = cv2.bitwise_and(cv2.compare(depth, cv2.dilate(depth, three), cv2.CMP_GE), strokes)
    return lines_of(np.asarray(cv2.bitwise_or(middles, outlines), dtype=np.uint8))


TOLERANCE = 0.0042
"""How far a line may lie off, as a fraction of the diagonal: 3 px at 512 x 512 (BSDS allows 0.0075)."""
THRESHOLDS = ((100, 200), (50, 100), (20, 40))
"""Canny's, from the usual to those that see pale pictures."""
ONE_THRESHOLD = THRESHOLDS[1:2]
"""For straight lines, whose own detector takes five times as long as any other."""
SURROUNDINGS = 1 / 8
"""Chance is estimated in a box of this fraction of the longer side."""
MOST_CHANCE = 0.9
"""Where lines are so dense that nearly every point meets one, more is not allowed for."""
SAMPLED_POINTS = 10_000
"""Of more points than twice this, only every second, third… is looked up; the error is well below 0.01."""
RECALL_WEIGHT = 4.0
"""F2: recall counts twice as much as precision, because a picture may hold more than was asked for."""
CURVE = 0.75
"""Exponent that brings half of the structure to about half of the scale; the order stays."""

Stack = npt.NDArray[np.uint8]
"""One plane for each direction: shape (directions, height, width)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What part of some lines meets others: as counted, and beyond what would have met by chance (may be below 0)."""

    counted: float
    beyond_chance: float


def tolerance_pixels(shape: tuple[int, ...]) -> int:
    """How far off a line may lie in a plane of this shape, at least a pixel."""
    return max(1, round(TOLERANCE * math.hypot(shape[0], shape[1])))


@dataclass(frozen=True, slots=True, eq=False)
class _Reach:
    """Where a line of each direction would meet some lines, and which part of the surroundings that is.

    Attributes:
        near: 255 where a line of about this direction (30 degrees either way) is within the tolerance.
        density: The mean of that over a box.
    """

    near: Stack
    density: Stack


def _reach(lines: Lines, tolerance: int) -> _Reach:
    brush = disc(tolerance)
    grown: list[Plane] = []
    for step in range(DIRECTIONS):
        of_step = cv2.bitwise_and(lines.pixels, cv2.inRange(lines.directions, np.array(step), np.array(step)))
        grown.append(np.asarray(cv2.dilate(of_step, brush), dtype=np.uint8))
    box = max(3, round(max(lines.pixels.shape) * SURROUNDINGS))
    near, density = (np.empty((DIRECTIONS, *lines.pixels.shape), dtype=np.uint8) for _ in range(2))
    for step in range(DIRECTIONS):
        near[step] = cv2.max(cv2.max(grown[step - 1], grown[step]), grown[(step + 1) % DIRECTIONS])
        density[step] = cv2.blur(near[step], (box, box))
    return _Reach(near, density)


def _agreement(lines: Lines, reach: _Reach) -> Agreement:
    """How much of the lines lies in reach of others of their direction.

    Chance is the fraction of the surroundings that is in reach; a point that meets counts as (1 - chance) / (1 -
    chance), one that does not as -chance / (1 - chance): 1 where all meet, 0 on average where they are strewn.
    """
    points = np.asarray(cv2.findNonZero(lines.pixels), dtype=np.int64).reshape(-1, 2)
    sample = points[:: max(1, len(points) // SAMPLED_POINTS)]
    rows, columns = sample[:, 1], sample[:, 0]
    at = (lines.directions[rows, columns], rows, columns)
    meets = (reach.near[at] > 0).astype(np.float32)
    chance = np.minimum(reach.density[at].astype(np.float32) / 255, MOST_CHANCE)
    return Agreement(float(meets.mean()), float(((meets - chance) / (1 - chance)).mean()))


def _f_measure(precision: float, recall: float, recall_weight: float) -> float:
    if precision <= 0 or recall <= 0:
        return 0.0
    return (1 + recall_weight) * precision * recall / (recall_weight * precision + recall)


def _figures(asked: Lines, asked_reach: _Reach, found: Lines, tolerance: int) -> Figures:
    """F1 as counted; and F2 beyond chance, on the curve."""
    recall = _agreement(asked, _reach(found, tolerance))
    precision = _agreement(found, asked_reach)
    raw = _f_measure(precision.counted, recall.counted, 1.0)
    beyond = _f_measure(precision.beyond_chance, recall.beyond_chance, RECALL_WEIGHT)
    return Figures(raw, min(1.0, beyond) ** CURVE)


def edges_at_thresholds(result: Rgb, thresholds: Sequence[tuple[int, int]] = THRESHOLDS) -> Iterable[Lines]:
    """Canny edges of a picture, from few to many."""
    smooth = np.asarray(cv2.GaussianBlur(result, (0, 0), 1.0), dtype=np.uint8)
    for low, high in thresholds:
        yield lines_of(np.asarray(cv2.Canny(smooth, low, high), dtype=np.uint8))


def compare_edges(asked: Lines, found_ways: Iterable[Lines]) -> Figures:
    """The best agreement of asked lines with what was found, over the ways of finding (BSDS: optimal image scale).

    Args:
        asked: Not empty.
        found_ways: Lines of the result, found in one or more ways; the first that found any says where it lies.
    """
    tolerance = tolerance_pixels(asked.pixels.shape)
    best, reach = Figures(0.0, 0.0), None
    for found in found_ways:
        if found.empty:
            continue
        if reach is None:
            asked = asked.moved(best_shift(found.blurred(), asked.blurred()))
            reach = _reach(asked, tolerance)
        best = max(best, _figures(asked, reach, found, tolerance), key=lambda row: row.score)
    return best


def borders(labels: Plane) -> Plane:
    """The borders between labels, two pixels wide, 255 on black."""
    three = np.ones((3, 3), dtype=np.uint8)
    return np.asarray(cv2.compare(cv2.dilate(labels, three), cv2.erode(labels, three), cv2.CMP_NE), dtype=np.uint8)
