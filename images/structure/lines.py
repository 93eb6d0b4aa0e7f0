"""Lines as points with a direction: what edges are compared by."""

from dataclasses import dataclass

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane
from controlnet_mcp.images.structure.fitting import Shift, shifted

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
