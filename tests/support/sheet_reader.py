"""Reading a comparison sheet as a picture: where its pictures and its words are."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image

from controlnet_mcp.images.maps.arrays import Rgb

SMALLEST_SIDE = 60
"""What is larger than this in both directions is a picture, in pixels; letters are smaller."""

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is on a page, in reading order."""

    pixels: Rgb
    pictures: list[Box]
    marks: list[Box]

    @property
    def panels(self) -> list[Rgb]:
        """The pictures, without their edges."""
        return [self.pixels[top + 2 : bottom - 2, left + 2 : right - 2] for left, top, right, bottom in self.pictures]


def read_page(page: Image.Image) -> Found:
    """Find all that differs from the ground of a page: pictures, and the marks that letters are made of."""
    pixels: Rgb = np.asarray(page.convert("RGB"), dtype=np.uint8)
    differs = (np.abs(pixels.astype(np.int16) - pixels[0, 0]).max(axis=2) > 12).astype(np.uint8)
    stats = np.asarray(cv2.connectedComponentsWithStats(differs, connectivity=8)[2], dtype=np.int64)[1:]
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    boxes: list[Box] = list(zip(left.tolist(), top.tolist(), right.tolist(), bottom.tolist(), strict=True))
    large = [box for box in boxes if min(box[2] - box[0], box[3] - box[1]) > SMALLEST_SIDE]
    pictures = [box for box in large if not any(inside(box, other) for other in large if other != box)]
    marks = [box for box in boxes if not any(inside(box, picture) for picture in pictures)]
    return Found(pixels, sorted(pictures, key=lambda box: (round(box[3], -1), box[0])), marks)


def inside(box: Box, outer: Box) -> bool:
    """Whether a box lies in another one (or is it)."""
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


def meet(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
