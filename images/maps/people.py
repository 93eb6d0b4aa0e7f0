"""Finding people and their joints by the user's own model.

Two published kinds of ONNX file are understood, told apart by their outputs; both have one input of shape
(1, 3, rows, columns) and give the 17 joints of COCO (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles;
left before right):

* RTMO, as OpenMMLab's deployment exports it and rtmlib reads it: two outputs, boxes of shape (1, persons, 5) as corners
  and score, joints of shape (1, persons, 17, 3) as x, y, score. Blue first, 0 to 255, padded right and below.
* YOLO pose, as Ultralytics exports it: one output. Either (1, 56, anchors), a centre, a size, a score and 17 joints
  each; or, with suppression built in, (1, persons, 57), corners, score, class and 17 joints. Red first, 0 to 1, padded
  on both sides.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Rgb
from controlnet_mcp.images.maps.models import model_unusable
from controlnet_mcp.images.maps.sessions import Model, Tensor, open_model

SIDE_PIXELS = 640
"""Side of the input where the model takes any: that of both kinds as published."""
PADDING = 114
"""Grey level around a picture that has another aspect than the input."""
OVERLAP = 0.45
"""Of two boxes that share more than this (intersection over union), the less certain one is dropped."""
JOINTS = 17
ANCHOR_VALUES = 4 + 1 + 3 * JOINTS
PERSON_VALUES = 4 + 2 + 3 * JOINTS


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What a model says, in pixels of its input: boxes (n, 4) as corners, scores (n), joints (n, 17, 3)."""

    boxes: Levels
    scores: Levels
    joints: Levels


def _letterboxed(rgb: Rgb, columns: int, rows: int, *, centred: bool) -> tuple[Rgb, float, tuple[int, int]]:
    """The picture scaled into the input, by how much, and where its left upper corner came to lie."""
    scale = min(columns / rgb.shape[1], rows / rgb.shape[0])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    left, top = ((columns - size[0]) // 2, (rows - size[1]) // 2) if centred else (0, 0)
    canvas: Rgb = np.full((rows, columns, 3), PADDING, dtype=np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    return canvas, scale, (left, top)


def _tensor(picture: Rgb, model: Model) -> Tensor:
    """RTMO wants blue first, 0 to 255; YOLO red first, 0 to 1."""
    values = picture[..., ::-1] if _is_rtmo(model) else picture
    scaled = values.astype(np.float32) / np.float32(1 if _is_rtmo(model) else 255)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _is_rtmo(model: Model) -> bool:
    return model.outputs > 1


def _read(outputs: list[Tensor]) -> _Found | None:
    """The persons that a model found; None when the outputs have none of the documented shapes."""
    match [output.shape for output in outputs]:
        case [(1, persons, 5), (1, also, 17, 3)] if persons == also:
            boxes, joints = outputs[0][0], outputs[1][0]
            return _Found(boxes[:, :4], boxes[:, 4], joints)
        case [(1, int(values), _)] if values == ANCHOR_VALUES:
            rows = outputs[0][0].T
            half = rows[:, 2:4] / 2
            boxes = np.concatenate((rows[:, :2] - half, rows[:, :2] + half), axis=1)
            return _Found(boxes, rows[:, 4], rows[:, 5:].reshape(-1, JOINTS, 3))
        case [(1, _, int(values))] if values == PERSON_VALUES:
            rows = outputs[0][0]
            return _Found(rows[:, :4], rows[:, 4], rows[:, 6:].reshape(-1, JOINTS, 3))
        case _:
            return None


def _most_certain(found: _Found, minimum_confidence: float) -> Levels:
    """The joints of each person once: the most certain box of those that overlap."""
    corners = found.boxes.astype(np.float64)
    boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), found.scores.tolist(), minimum_confidence, OVERLAP)
    return found.joints[np.asarray(kept, dtype=np.intp).ravel()]


def find_people(rgb: Rgb, path: Path, minimum_confidence: float) -> Levels:
    """The joints of everybody in a picture: shape (persons, 17, 3), each x and y in pixels and confidence, 0 to 1.

    Args:
        rgb: The picture.
        path: The model.
        minimum_confidence: Persons that are less certain are left out, 0 to 1.

    Raises:
        RequestError: `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` when the file is no such model.
    """
    model = open_model("pose", path)
    columns, rows = model.columns or SIDE_PIXELS, model.rows or SIDE_PIXELS
    picture, scale, corner = _letterboxed(rgb, columns, rows, centred=not _is_rtmo(model))
    outputs = model.run(_tensor(picture, model))
    found = _read(outputs)
    if found is None:
        raise model_unusable(
            "pose", f"its outputs of shapes {[output.shape for output in outputs]} are of no kind known"
        )
    joints = _most_certain(found, minimum_confidence).copy()
    joints[..., :2] = (joints[..., :2] - np.array(corner, dtype=np.float32)) / np.float32(scale)
    return joints
