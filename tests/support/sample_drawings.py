"""Generated sketches and control maps that look hand-made, for tests and benches; the same size gives the same bytes.

All are uint8 of shape (size, size, 3).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float]
"""x and y, 0 to 1."""

INK = (38, 34, 40)
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of OpenPose key points (18-point body, counted from 0) that limbs join, in colour order."""
JOINTS: tuple[Point, ...] = (
    *((0.50, 0.17), (0.50, 0.27), (0.42, 0.28), (0.34, 0.38), (0.27, 0.29), (0.58, 0.28), (0.65, 0.40), (0.70, 0.52)),
    *((0.45, 0.54), (0.41, 0.73), (0.40, 0.92), (0.55, 0.54), (0.60, 0.72), (0.66, 0.90)),
    *((0.48, 0.15), (0.52, 0.15), (0.455, 0.16), (0.545, 0.16)),
)
"""A waving figure as 18 OpenPose key points."""


def openpose_colour(index: int) -> tuple[int, int, int]:
    """Colour of limb and joint `index`: eighteen hues, 20 degrees apart, as OpenPose draws them."""
    hsv = np.array([[[index * 10, 255, 255]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return (red, green, blue)


def paper(size: int) -> Rgb:
    """White paper."""
    return np.full((size, size, 3), 255, dtype=np.uint8)


def stroke(page: Rgb, points: Sequence[Point], *, closed: bool = False) -> None:
    """Draw a slightly wobbly line through points, about 1/150 of the size thick."""
    size = page.shape[0]
    corners = [*points, points[0]] if closed else list(points)
    path: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        steps = max(int(math.hypot(x1 - x0, y1 - y0) * 60), 2)
        for step in range(steps + 1):
            share = step / steps
            wobble = 0.0016 * math.sin(37 * (x0 + y0) + share * 9 + 53 * (x1 - y1))
            path.append(((x0 + (x1 - x0) * share + wobble) * size, (y0 + (y1 - y0) * share - wobble) * size))
    line = np.round(np.array(path) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(page, [line], isClosed=False, color=INK, thickness=max(size // 150, 1), lineType=cv2.LINE_AA, shift=4)


def blob(x: float, y: float, radius: float, bumps: int = 0, flat: float = 1.0) -> list[Point]:
    """Points of a circle, or of a cloud-like ring with `bumps`."""
    ring: list[Point] = []
    for step in range(48):
        turn = 2 * math.pi * step / 48
        reach = radius * (1 + 0.13 * abs(math.sin(bumps * turn / 2))) if bumps else radius
        ring.append((x + reach * math.cos(turn), y + reach * math.sin(turn) * flat))
    return ring


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def house(size: int) -> Rgb:
    """A house with chimney, door and windows, a tree, hills and a sun: dark lines on white paper."""
    page = paper(size)
    stroke(page, [(0.0, 0.60), (0.13, 0.50), (0.24, 0.47), (0.34, 0.53)])
    stroke(page, [(0.66, 0.50), (0.76, 0.40), (0.88, 0.38), (1.0, 0.47)])
    stroke(page, [(0.0, 0.74), (0.20, 0.71), (0.34, 0.73)])
    stroke(page, [(0.66, 0.73), (0.77, 0.72)])
    stroke(page, [(0.82, 0.72), (1.0, 0.75)])
    stroke(page, box(0.34, 0.46, 0.66, 0.80), closed=True)
    stroke(page, [(0.29, 0.47), (0.50, 0.26), (0.71, 0.47)], closed=True)
    stroke(page, [(0.58, 0.34), (0.58, 0.24), (0.64, 0.24), (0.64, 0.40)])
    stroke(page, box(0.46, 0.60, 0.54, 0.80), closed=True)
    for left in (0.38, 0.575):
        stroke(page, box(left, 0.53, left + 0.055, 0.61), closed=True)
    stroke(page, blob(0.17, 0.17, 0.075), closed=True)
    stroke(page, blob(0.795, 0.50, 0.10, bumps=9), closed=True)
    stroke(page, [(0.77, 0.60), (0.77, 0.77), (0.82, 0.77), (0.82, 0.60)])
    stroke(page, [(0.45, 0.80), (0.38, 0.90), (0.30, 1.0)])
    stroke(page, [(0.55, 0.80), (0.58, 0.90), (0.56, 1.0)])
    return page


def vase(size: int) -> Rgb:
    """A vase with three flowers on a table: dark lines on white paper."""
    page = paper(size)
    stroke(page, [(0.0, 0.76), (0.36, 0.75)])
    stroke(page, [(0.64, 0.75), (1.0, 0.76)])
    left = [(0.44, 0.48), (0.43, 0.54), (0.36, 0.64), (0.36, 0.76), (0.42, 0.88)]
    stroke(page, [*left, *[(1 - x, y) for x, y in reversed(left)]], closed=True)
    for x, y in ((0.34, 0.28), (0.52, 0.19), (0.68, 0.31)):
        stroke(page, [(x, y + 0.07), (0.5 + (x - 0.5) * 0.3, 0.48)])
        stroke(page, blob(x, y, 0.075, bumps=6), closed=True)
        stroke(page, blob(x, y, 0.028), closed=True)
    stroke(page, blob(0.43, 0.40, 0.045, flat=0.5), closed=True)
    stroke(page, blob(0.60, 0.42, 0.045, flat=0.5), closed=True)
    return page


def street(size: int) -> Rgb:
    """A city street in perspective: dark lines on white paper."""
    page = paper(size)
    stroke(page, [(0.0, 0.95), (0.46, 0.56), (0.54, 0.56), (1.0, 0.95)])
    for left, right, top in ((0.0, 0.16, 0.06), (0.16, 0.29, 0.22), (0.29, 0.38, 0.33), (0.38, 0.46, 0.42)):
        for a, b in ((left, right), (1 - right, 1 - left)):
            low = 0.58 + 0.34 * (abs(0.5 - (a + b) / 2) - 0.06)
            stroke(page, [(a, low), (a, top), (b, top + 0.02), (b, low)])
            for row in range(4):
                y = top + 0.05 + row * (low - top - 0.08) / 4
                pane = (b - a) * 0.28
                stroke(page, box(a + pane * 0.55, y, a + pane * 1.4, y + 0.045), closed=True)
                stroke(page, box(b - pane * 1.4, y, b - pane * 0.55, y + 0.045), closed=True)
    stroke(page, [(0.5, 0.60), (0.5, 0.68)])
    stroke(page, [(0.5, 0.74), (0.5, 0.88)])
    return page


def face(size: int) -> Rgb:
    """A portrait: hair, face, neck and shoulders; dark lines on white paper."""
    page = paper(size)
    stroke(
        page, [(0.5 + 0.19 * math.sin(t), 0.42 - 0.25 * math.cos(t)) for t in np.linspace(0, 2 * math.pi, 40).tolist()]
    )
    stroke(page, [(0.315, 0.36), (0.40, 0.30), (0.52, 0.28), (0.62, 0.31), (0.685, 0.37)])
    stroke(
        page,
        [
            (0.30, 0.62),
            (0.26, 0.40),
            (0.31, 0.20),
            (0.50, 0.11),
            (0.69, 0.20),
            (0.74, 0.40),
            (0.70, 0.62),
            (0.62, 0.62),
        ],
    )
    stroke(page, [(0.30, 0.62), (0.38, 0.62)])
    for x in (0.43, 0.57):
        stroke(page, blob(x, 0.41, 0.038, flat=0.55), closed=True)
        stroke(page, blob(x, 0.41, 0.014), closed=True)
        stroke(page, [(x - 0.045, 0.365), (x, 0.35), (x + 0.045, 0.365)])
    stroke(page, [(0.505, 0.42), (0.48, 0.50), (0.515, 0.51)])
    stroke(page, blob(0.5, 0.575, 0.05, flat=0.35), closed=True)
    stroke(page, [(0.44, 0.655), (0.43, 0.74), (0.25, 0.80), (0.14, 1.0)])
    stroke(page, [(0.56, 0.655), (0.57, 0.74), (0.75, 0.80), (0.86, 1.0)])
    stroke(page, [(0.43, 0.74), (0.50, 0.82), (0.57, 0.74)])
    return page


def skeleton(size: int) -> Rgb:
    """A waving figure as OpenPose draws it: limbs at 60 % of their colour, joints in full colour, on black."""
    page = np.zeros((size, size, 3), dtype=np.uint8)
    spots = [(round(x * size), round(y * size)) for x, y in JOINTS]
    for index, (a, b) in enumerate(LIMBS):
        red, green, blue = (int(channel * 0.6) for channel in openpose_colour(index))
        cv2.line(page, spots[a], spots[b], (red, green, blue), max(size // 64, 2), cv2.LINE_AA)
    for index, spot in enumerate(spots):
        cv2.circle(page, spot, max(size // 128, 2), openpose_colour(index), -1, cv2.LINE_AA)
    return page


def depth_map(size: int) -> Rgb:
    """Ground that rises towards the horizon, a sphere and a column before it, nothing behind: near is bright."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    depth = np.where(y > 0.55, 40 + (y - 0.55) * 360, 0.0)
    hill = 0.55 - 0.18 * np.exp(-(((x - 0.75) / 0.2) ** 2))
    depth = np.where((y > hill) & (y <= 0.55), 34, depth)
    depth = np.where((np.abs(x - 0.28) < 0.07) & (y > 0.2) & (y < 0.78), 150 - 350 * np.abs(x - 0.28), depth)
    round_part = 1 - ((x - 0.62) ** 2 + (y - 0.66) ** 2) / 0.17**2
    depth = np.where(round_part > 0, 190 + 60 * np.sqrt(np.maximum(round_part, 0)), depth)
    return np.repeat(np.clip(depth, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def normal_map(size: int) -> Rgb:
    """A sphere on a wall as surface normals: red is right, green is up, blue is towards the viewer."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    nx, ny = (x - 0.5) / 0.32, (0.5 - y) / 0.32
    inside = nx**2 + ny**2 < 1
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0))
    normal = np.zeros((size, size, 3), dtype=np.float32)
    normal[..., 0], normal[..., 1], normal[..., 2] = nx * inside, ny * inside, np.where(inside, nz, 1)
    return np.asarray(np.clip(normal * 127.5 + 127.5, 0, 255), dtype=np.uint8)


def segmentation(size: int) -> Rgb:
    """Sky, mountain, grass, road, house, tree, water and person in ADE20K colours."""
    page = np.zeros((size, size, 3), dtype=np.uint8)
    page[:] = (6, 230, 230)

    def fill(points: Sequence[Point], colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(page, [np.round(np.array(points) * size).astype(np.int32).reshape(-1, 1, 2)], colour)

    fill(
        [(0, 0.55), (0.2, 0.34), (0.38, 0.48), (0.6, 0.30), (0.85, 0.46), (1, 0.42), (1, 0.7), (0, 0.7)],
        (143, 255, 140),
    )
    fill(box(0, 0.58, 1, 1), (4, 250, 7))
    fill([(0, 0.66), (0.3, 0.63), (0.34, 0.70), (0, 0.78)], (61, 230, 250))
    fill([(0.47, 0.62), (0.53, 0.62), (0.72, 1), (0.36, 1)], (140, 140, 140))
    fill(box(0.60, 0.44, 0.84, 0.70), (180, 120, 120))
    fill(box(0.65, 0.50, 0.70, 0.57), (230, 230, 230))
    fill(box(0.74, 0.50, 0.79, 0.57), (230, 230, 230))
    fill(box(0.20, 0.58, 0.235, 0.76), (4, 200, 3))
    fill(blob(0.217, 0.50, 0.11, bumps=8), (4, 200, 3))
    fill(box(0.44, 0.70, 0.49, 0.88), (150, 5, 61))
    fill(blob(0.465, 0.68, 0.028), (150, 5, 61))
    return page
