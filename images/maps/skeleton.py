"""Drawing people as OpenPose does and ControlNet expects: 18 joints, 17 limbs, each in its own colour, on black.

The joints are OpenPose's COCO model; colours, widths and rounding are those of `draw_bodypose` in ControlNet 1.1 and
controlnet_aux, so the same joints give the same bytes.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Rgb

Joint: TypeAlias = tuple[float, float] | None
"""Column and row in pixels, None where it is not seen."""

NOSE, NECK, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 1, 5, 6
"""Places of joints: the neck in OpenPose's order, the others in COCO's."""
FROM_COCO = (NOSE, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's joints by their places in COCO: nose, neck, right arm, left arm, right leg, left leg, eyes, ears."""
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of joints, in the order in which they are drawn."""
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Red, green, blue of each joint; those of the limbs are the first 17."""
LIMB_BRIGHTNESS = 0.6
"""Limbs are darker than joints by this factor."""


def openpose_joints(person: Levels, minimum_confidence: float) -> tuple[Joint, ...]:
    """The 18 joints of OpenPose from the 17 of COCO; the neck is midway between two shoulders that are both seen.

    Args:
        person: Shape (17, 3): x and y in pixels and confidence.
        minimum_confidence: Less certain joints are not seen, 0 to 1.
    """
    seen = [(float(x), float(y)) if sure >= minimum_confidence else None for x, y, sure in person]
    left, right = seen[LEFT_SHOULDER], seen[RIGHT_SHOULDER]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    return tuple(neck if place is None else seen[place] for place in FROM_COCO)


def _draw_limb(
    canvas: Rgb, one: tuple[float, float], other: tuple[float, float], colour: tuple[int, ...], stick_pixels: int
) -> None:
    """An ellipse from joint to joint; every rounding towards zero is the reference's."""
    across, down = one[0] - other[0], one[1] - other[1]
    middle = (int((one[0] + other[0]) / 2), int((one[1] + other[1]) / 2))
    axes = (int(math.hypot(across, down) / 2), stick_pixels)
    outline = cv2.ellipse2Poly(middle, axes, int(math.degrees(math.atan2(down, across))), 0, 360, 1)
    cv2.fillConvexPoly(canvas, np.asarray(outline, dtype=np.int32), [int(part * LIMB_BRIGHTNESS) for part in colour])


def draw_people(shape: tuple[int, int], people: Iterable[tuple[Joint, ...]], stick_pixels: int) -> Rgb:
    """The skeletons of people on black.

    Args:
        shape: Rows and columns of the picture.
        people: 18 joints each.
        stick_pixels: Half the width of a limb and the radius of a joint; 4 is the reference's.
    """
    canvas: Rgb = np.zeros((*shape, 3), dtype=np.uint8)
    for joints in people:
        for (first, second), colour in zip(LIMBS, COLOURS[: len(LIMBS)], strict=True):
            one, other = joints[first], joints[second]
            if one and other:
                _draw_limb(canvas, one, other, colour, stick_pixels)
        for joint, colour in zip(joints, COLOURS, strict=True):
            if joint:
                cv2.circle(canvas, (int(joint[0]), int(joint[1])), stick_pixels, colour, thickness=-1)
    return canvas
