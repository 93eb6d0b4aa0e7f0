"""Pose maps: people and their joints found by the user's own model, and drawn as OpenPose draws them.

Two published kinds of ONNX file are understood, told apart by their outputs; both have one input of shape
(1, 3, rows, columns) and give the 17 joints of COCO (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles;
left before right):

* RTMO, as OpenMMLab's deployment exports it and rtmlib reads it: two outputs, boxes of shape (1, persons, 5) as corners
  and score, joints of shape (1, persons, 17, 3) as x, y, score. Blue first, 0 to 255, padded right and below.
* YOLO pose, as Ultralytics exports it: one output. Either (1, 56, anchors), a centre, a size, a score and 17 joints
  each; or, with suppression built in, (1, persons, 57), corners, score, class and 17 joints. Red first, 0 to 1, padded
  on both sides.

People are drawn as ControlNet expects: the 18 joints and 17 limbs of OpenPose's COCO model, each in its own colour, on
black. Colours, widths and rounding are those of `draw_bodypose` in ControlNet 1.1 and controlnet_aux, so the same
joints give the same bytes.
"""

import colorsys
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.maps import model_unusable, open_model
from controlnet_mcp.images.maps.arrays import Levels, Rgb

SIDE_PIXELS = 640
"""Side of the input where the model takes any: that of both kinds as published."""
JOINTS = 17
ANCHOR_VALUES = 4 + 1 + 3 * JOINTS
PERSON_VALUES = 4 + 2 + 3 * JOINTS
Joint: TypeAlias = tuple[float, float] | None
"""Column and row in pixels, None where it is not seen."""

FROM_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's joints by their places in COCO: nose, neck, right arm, left arm, right leg, left leg, eyes, ears."""
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of joints, in the order in which they are drawn."""
COLOURS = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(joint / 18, 1, 1)) for joint in range(18)]
"""Red, green, blue of each joint, 20 degrees of hue apart; those of the limbs are the first 17."""


def find_people(rgb: Rgb, path: Path, minimum_confidence: float) -> Levels:
    """The joints of everybody in a picture: shape (persons, 17, 3), each x and y in pixels and confidence, 0 to 1.

    Persons that are less certain than the minimum confidence, 0 to 1, are left out.

    Raises:
        RequestError: `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` when the file is no such model.
    """
    model = open_model("pose", path)
    columns, rows = model.columns or SIDE_PIXELS, model.rows or SIDE_PIXELS
    is_rtmo = model.outputs > 1
    scale = min(columns / rgb.shape[1], rows / rgb.shape[0])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    left, top = (0, 0) if is_rtmo else ((columns - size[0]) // 2, (rows - size[1]) // 2)
    canvas: Rgb = np.full((rows, columns, 3), 114, dtype=np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    values = (canvas[..., ::-1] if is_rtmo else canvas).astype(np.float32) / np.float32(1 if is_rtmo else 255)
    outputs = model.run(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))
    shapes = [output.shape for output in outputs]
    match shapes:
        case [(1, persons, 5), (1, also, 17, 3)] if persons == also:
            corners, scores, joints = outputs[0][0][:, :4], outputs[0][0][:, 4], outputs[1][0]
        case [(1, int(count), _)] if count == ANCHOR_VALUES:
            found = outputs[0][0].T
            half = found[:, 2:4] / 2
            corners = np.concatenate((found[:, :2] - half, found[:, :2] + half), axis=1)
            scores, joints = found[:, 4], found[:, 5:].reshape(-1, JOINTS, 3)
        case [(1, _, int(count))] if count == PERSON_VALUES:
            found = outputs[0][0]
            corners, scores, joints = found[:, :4], found[:, 4], found[:, 6:].reshape(-1, JOINTS, 3)
        case _:
            raise model_unusable("pose", f"its outputs of shapes {shapes} are of no kind known")
    corners = corners.astype(np.float64)
    boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    # of two boxes that share more than 45 % (intersection over union) the less certain one is dropped
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), minimum_confidence, 0.45)
    people: Levels = joints[np.asarray(kept, dtype=np.intp).ravel()].copy()
    people[..., :2] = (people[..., :2] - np.array((left, top), dtype=np.float32)) / np.float32(scale)
    return people


def openpose_joints(person: Levels, minimum_confidence: float) -> tuple[Joint, ...]:
    """The 18 joints of OpenPose from the 17 of COCO, of shape (17, 3): x and y in pixels and confidence.

    Joints below the minimum confidence, 0 to 1, are not seen; the neck is midway between two shoulders that are seen.
    """
    seen = [(float(x), float(y)) if sure >= minimum_confidence else None for x, y, sure in person]
    left, right = seen[5], seen[6]  # shoulders
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    return tuple(neck if place is None else seen[place] for place in FROM_COCO)


def draw_people(shape: tuple[int, int], people: Iterable[tuple[Joint, ...]], stick_pixels: int) -> Rgb:
    """The skeletons of people of 18 joints each on black; every rounding towards zero is the reference's.

    `shape` is rows and columns; `stick_pixels` is half the width of a limb and the radius of a joint (reference: 4).
    """
    canvas: Rgb = np.zeros((*shape, 3), dtype=np.uint8)
    for joints in people:
        for (first, second), colour in zip(LIMBS, COLOURS[: len(LIMBS)], strict=True):
            one, other = joints[first], joints[second]
            if not one or not other:
                continue
            across, down = one[0] - other[0], one[1] - other[1]
            middle = (int((one[0] + other[0]) / 2), int((one[1] + other[1]) / 2))
            axes = (int(math.hypot(across, down) / 2), stick_pixels)
            limb = cv2.ellipse2Poly(middle, axes, int(math.degrees(math.atan2(down, across))), 0, 360, 1)
            darker = [int(part * 0.6) for part in colour]
            cv2.fillConvexPoly(canvas, np.asarray(limb, dtype=np.int32), darker)
        for joint, colour in zip(joints, COLOURS, strict=True):
            if joint:
                cv2.circle(canvas, (int(joint[0]), int(joint[1])), stick_pixels, colour, thickness=-1)
    return canvas
