"""The sketch of the demo: a cottage, a tree, hills and a path, drawn by code with an unsteady pen.

Imported lazily: it brings NumPy and OpenCV. Coordinates are pixels of the finished sketch, from the upper left corner.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
Points: TypeAlias = npt.NDArray[np.float64]
"""Shape (n, 2): x and y."""

WIDTH, HEIGHT = 1024, 768
_PAPER = (251, 248, 241)
_INK = (52, 50, 66)
_FINER = 3
"""The pen draws on a sheet so many times larger, which is then made smaller: soft edges, fractions of pixels."""
_STEP = 4.0
"""Pixels between the points of a line."""


def draw() -> Rgb:
    """The sketch: shape (768, 1024, 3), dark lines on light paper; always the same."""
    pen = _Pen()
    for corners in _STRAIGHT:
        pen.line(_polyline(corners))
    for corners in _BENT:
        pen.line(_smooth(corners))
    for x, y, radius, bumps in _RINGS:
        pen.line(_ring(x, y, radius, bumps))
    for turn in range(11):
        pen.line(_ray(142, 132, 2 * math.pi * turn / 11))
    for x, y in _FLOWERS:
        pen.line(_ring(x, y, 13, 5))
        pen.line(_smooth([(x, y + 15), (x - 3, y + 32), (x + 1, y + 50)]))
    return pen.sheet()


class _Pen:
    """Draws lines that waver a little and are thicker where the hand is slow."""

    def __init__(self) -> None:
        self._page = np.empty((HEIGHT * _FINER, WIDTH * _FINER, 3), dtype=np.uint8)
        self._page[:] = _PAPER
        self._chance = np.random.default_rng(7)

    def line(self, points: Points) -> None:
        """Draw along points that are a few pixels apart."""
        wavering = points + self._waver(len(points), 1.5, 34) + self._waver(len(points), 0.45, 9)
        width = 3.4 + self._waver(len(points), 0.7, 25)[:, 0]
        width *= np.minimum(1, 0.72 + 0.1 * np.minimum(np.arange(len(points)), np.arange(len(points))[::-1]))
        places = np.rint(wavering * _FINER * 16).astype(np.int32)
        for start, end, thickness in zip(places[:-1], places[1:], width * _FINER, strict=False):
            cv2.line(self._page, start.tolist(), end.tolist(), _INK, max(round(thickness), 1), cv2.LINE_AA, 4)

    def sheet(self) -> Rgb:
        """The page at its final size."""
        return np.asarray(cv2.resize(self._page, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _waver(self, count: int, reach: float, period: float) -> Points:
        """Smooth chance: shape (count, 2), about `reach` pixels, changing every `period` points."""
        knots = self._chance.normal(0, reach * 0.6, (math.ceil(count / period) + 3, 2))
        at = np.arange(count) / period
        return np.stack([np.interp(at, np.arange(len(knots)), knots[:, axis]) for axis in (0, 1)], axis=1)


def _polyline(corners: Sequence[tuple[float, float]]) -> Points:
    """Points every few pixels along straight lines."""
    return np.concatenate([_between(start, end) for start, end in zip(corners, corners[1:], strict=False)])


def _between(start: tuple[float, float], end: tuple[float, float]) -> Points:
    count = max(int(math.dist(start, end) / _STEP), 2)
    return np.linspace(start, end, count)


def _smooth(corners: Sequence[tuple[float, float]]) -> Points:
    """A soft curve through the corners (Catmull-Rom)."""
    p = np.array([corners[0], *corners, corners[-1]], dtype=np.float64)
    parts: list[Points] = []
    for before, start, end, after in zip(p, p[1:], p[2:], p[3:], strict=False):
        t = np.linspace(0, 1, max(int(math.dist(start, end) / _STEP), 2))[:, None]
        bend = (2 * before - 5 * start + 4 * end - after) * t**2 + (3 * start - before - 3 * end + after) * t**3
        parts.append(start + 0.5 * ((end - before) * t + bend))
    return np.concatenate(parts)


def _ring(x: float, y: float, radius: float, bumps: int) -> Points:
    """A circle, or a ring of `bumps` like a crown of leaves; it overlaps itself a little, as by hand."""
    turn = np.linspace(0.3, 2 * math.pi + 0.36, max(int(radius * 2), 24))
    reach = radius * (1 + (0.14 * np.abs(np.sin(turn * bumps / 2)) if bumps else 0))
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)


def _ray(x: float, y: float, turn: float) -> Points:
    near, far = 74.0, 98.0
    across, down = math.cos(turn), math.sin(turn)
    return _between((x + near * across, y + near * down), (x + far * across, y + far * down))


_STRAIGHT: tuple[tuple[tuple[float, float], ...], ...] = (
    ((330, 612), (330, 440), (430, 318), (530, 440), (530, 616), (330, 612)),  # front
    ((308, 462), (430, 308), (644, 306), (746, 452), (536, 456), (430, 308)),  # roof
    ((722, 454), (722, 600), (530, 616)),  # side
    ((594, 304), (594, 238), (642, 238), (642, 304)),  # chimney
    ((586, 238), (650, 238)),
    ((400, 613), (400, 516)),  # door
    ((462, 516), (462, 615)),
    ((566, 492), (620, 490), (620, 548), (566, 551), (566, 492)),  # windows
    ((593, 491), (593, 549)),
    ((566, 521), (620, 519)),
    ((650, 489), (696, 487), (696, 541), (650, 545), (650, 489)),
    ((673, 488), (673, 543)),
    ((650, 517), (696, 514)),
    ((410, 402), (450, 402)),  # round window
    ((430, 382), (430, 422)),
)
_BENT: tuple[tuple[tuple[float, float], ...], ...] = (
    ((400, 516), (412, 494), (431, 486), (451, 494), (462, 516)),  # door arch
    ((0, 430), (90, 372), (190, 352), (270, 384), (338, 432)),  # hills
    ((690, 372), (780, 330), (880, 318), (960, 342), (1024, 376)),
    ((0, 560), (120, 540), (230, 552), (330, 580)),
    ((722, 566), (800, 560), (826, 562)),
    ((880, 566), (950, 556), (1024, 562)),
    ((400, 614), (392, 650), (338, 700), (262, 768)),  # path
    ((462, 616), (470, 654), (462, 704), (476, 768)),
    ((826, 470), (832, 560), (818, 640)),  # trunk
    ((876, 470), (874, 560), (892, 640)),
    ((818, 640), (838, 630), (856, 642), (874, 630), (892, 640)),
    ((618, 226), (604, 206), (622, 186), (648, 178), (640, 156), (612, 152)),  # smoke
    (
        (764, 150),
        (756, 118),
        (796, 104),
        (820, 76),
        (862, 84),
        (878, 106),
        (920, 106),
        (926, 140),
        (906, 152),
        (764, 150),
    ),
    ((300, 110), (316, 98), (328, 112), (342, 98), (358, 108)),  # birds
    ((392, 158), (404, 148), (414, 159), (426, 148), (438, 156)),
)
_RINGS: tuple[tuple[float, float, float, int], ...] = (
    (142, 132, 56, 0),  # sun
    (850, 396, 112, 11),  # crown
    (430, 402, 24, 0),  # round window
    (450, 566, 4, 0),  # door knob
    (262, 588, 46, 7),  # bushes
)
_FLOWERS = ((92, 640), (166, 668), (584, 668), (664, 690), (742, 664), (960, 676))
