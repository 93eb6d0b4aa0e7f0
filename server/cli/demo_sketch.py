"""The sketch of the demo: a cottage, a tree, hills and a path, drawn by code with an unsteady pen.

Imported lazily: it brings NumPy and OpenCV. Coordinates are pixels of the finished sketch, from the upper left corner.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.server.cli.demo_scene import BODIES, BRANCHES, CURVES, FLOWERS, LINES, RINGS, SUN, TUFTS, Place

Rgb: TypeAlias = npt.NDArray[np.uint8]
Points: TypeAlias = npt.NDArray[np.float64]
"""Shape (n, 2): x and y."""

WIDTH, HEIGHT = 1024, 768
_PAPER = (251, 248, 241)
_INK = (52, 50, 66)
_FINER = 3
"""The pen draws on a sheet so many times larger, which is then made smaller: soft edges, fractions of pixels."""
_SUBPIXEL_BITS = 4
_STEP = 4.0
"""Pixels between the points of a line."""
_SEED = 7


def draw() -> Rgb:
    """The sketch: shape (768, 1024, 3), dark lines on light paper; always the same."""
    pen = _Pen()
    _trace(pen, map(_smooth, CURVES))
    _trace(pen, _sunbeams())
    for body in BODIES:  # in front of all before it
        pen.cover(_polyline([*body, body[0]]))
    for x, y, radius, bumps in RINGS:
        pen.cover(_ring(x, y, radius, bumps))
    _trace(pen, map(_smooth, BRANCHES))
    _trace(pen, map(_polyline, LINES))
    for flower in FLOWERS:
        _trace(pen, _flower(*flower))
    _trace(pen, (_polyline([(x - 9, y - 13), (x - 3, y), (x, y - 18), (x + 4, y), (x + 11, y - 12)]) for x, y in TUFTS))
    return pen.sheet()


class _Pen:
    """Draws lines that waver a little and are thinner where they begin and end."""

    def __init__(self) -> None:
        self._page = np.empty((HEIGHT * _FINER, WIDTH * _FINER, 3), dtype=np.uint8)
        self._page[:] = _PAPER
        self._chance = np.random.default_rng(_SEED)

    def cover(self, points: Points) -> None:
        """Draw an outline and hide what was drawn inside of it."""
        inside = np.rint(points * _FINER).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(self._page, [inside], _PAPER)
        self.line(points)

    def line(self, points: Points) -> None:
        """Draw along points that are a few pixels apart."""
        count = len(points)
        wavering = points + self._waver(count, 1.6, 34) + self._waver(count, 0.5, 9)
        to_end = np.minimum(np.arange(count), np.arange(count)[::-1])
        width = (3.4 + self._waver(count, 0.7, 25)[:, 0]) * np.minimum(1, 0.7 + 0.1 * to_end)
        places = np.rint(wavering * _FINER * 2**_SUBPIXEL_BITS).astype(np.int32)
        for start, end, thickness in zip(places, places[1:], width * _FINER, strict=False):
            cv2.line(
                self._page, start.tolist(), end.tolist(), _INK, max(round(thickness), 1), cv2.LINE_AA, _SUBPIXEL_BITS
            )

    def sheet(self) -> Rgb:
        """The page at its final size."""
        return np.asarray(cv2.resize(self._page, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _waver(self, count: int, reach: float, period: float) -> Points:
        """Smooth chance: shape (count, 2), about `reach` pixels, with a new aim every `period` points."""
        aims = self._chance.normal(0, reach * 0.6, (math.ceil(count / period) + 2, 2))
        at = np.arange(count) / period
        return np.stack([np.interp(at, np.arange(len(aims)), aims[:, axis]) for axis in (0, 1)], axis=1)


def _trace(pen: _Pen, lines: Iterable[Points]) -> None:
    for points in lines:
        pen.line(points)


def _polyline(corners: Sequence[Place]) -> Points:
    """Points every few pixels along straight lines."""
    return np.concatenate([_between(start, end) for start, end in itertools.pairwise(corners)])


def _between(start: Place, end: Place) -> Points:
    return np.linspace(start, end, max(int(math.dist(start, end) / _STEP), 2))


def _smooth(corners: Sequence[Place]) -> Points:
    """A soft curve through the corners (Catmull-Rom spline, tension 0.5)."""
    ends = np.array([corners[0], *corners, corners[-1]], dtype=np.float64)
    parts: list[Points] = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        t = np.linspace(0, 1, max(int(math.dist(start, end) / _STEP), 2))[:, None]
        bend = (2 * before - 5 * start + 4 * end - after) * t**2 + (3 * start - before - 3 * end + after) * t**3
        parts.append(start + 0.5 * ((end - before) * t + bend))
    return np.concatenate(parts)


def _ring(x: float, y: float, radius: float, bumps: int) -> Points:
    """A circle, or a ring of `bumps` like a crown of leaves; it overlaps itself a little, as by hand."""
    turn = np.linspace(0.3, 2 * math.pi + 0.36, max(int(radius * 2), 24))
    reach = radius * (1 + (0.14 * np.abs(np.sin(turn * bumps / 2)) if bumps else 0))
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)


def _sunbeams() -> Iterable[Points]:
    x, y, near, far, count = SUN
    for turn in np.linspace(0, 2 * math.pi, count, endpoint=False).tolist():
        across, down = math.cos(turn), math.sin(turn)
        yield _between((x + near * across, y + near * down), (x + far * across, y + far * down))


def _flower(x: float, y: float) -> Iterable[Points]:
    yield _ring(x, y, 13, 5)
    yield _smooth([(x, y + 16), (x - 3, y + 32), (x + 1, y + 50)])
