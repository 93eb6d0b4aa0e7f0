"""Pose by a model file of the user's: its persons, drawn as OpenPose draws them."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.maps import MapModels, MapParameters
from controlnet_mcp.images.maps.recipes import make_map
from tests.support.onnx_models import Floats, pose

SIDE = 128
"""Rows and columns of the models' input."""
COLUMNS, ROWS = 256, 192
"""The picture: at half its size it fills the input's width, and 16 rows above and below are padding."""
BODY = {
    "nose": (64, 30),
    "left_eye": (66, 28),
    "right_eye": (62, 28),
    "left_ear": (69, 29),
    "right_ear": (59, 29),
    "left_shoulder": (76, 42),
    "right_shoulder": (52, 42),
    "left_elbow": (84, 58),
    "right_elbow": (44, 57),
    "left_wrist": (80, 74),
    "right_wrist": (36, 46),
    "left_hip": (71, 76),
    "right_hip": (57, 76),
    "left_knee": (74, 92),
    "right_knee": (52, 93),
    "left_ankle": (73, 108),
    "right_ankle": (49, 107),
}
"""A person in pixels of the centred input, column and row, in COCO's order; the offset makes no number a whole one."""
RIGHT_ARM = ["right_shoulder", "right_elbow", "right_wrist"]
LEFT_ARM = ["left_shoulder", "left_elbow", "left_wrist"]
RIGHT_LEG = ["right_hip", "right_knee", "right_ankle"]
LEFT_LEG = ["left_hip", "left_knee", "left_ankle"]
HEAD = ["right_eye", "left_eye", "right_ear", "left_ear"]
OPENPOSE = ["nose", "neck", *RIGHT_ARM, *LEFT_ARM, *RIGHT_LEG, *LEFT_LEG, *HEAD]
OFFSET = 0.3
PAIRS = "2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18"
"""The limbs as the recipe numbers the joints, from 1."""
HUES = "f00 f50 fa0 ff0 af0 5f0 0f0 0f5 0fa 0ff 0af 05f 00f 50f a0f f0f f0a f05"
"""The colours of the joints, each digit 17 levels."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model: where the picture lies in its input, and how it wants red."""

    name: str
    top: int
    channel: int
    full: float


RTMO, YOLO, YOLO_SUPPRESSED = Kind("rtmo", 0, 2, 255.0), Kind("yolo", 16, 0, 1.0), Kind("yolo suppressed", 16, 0, 1.0)
KINDS = pytest.mark.parametrize("kind", [RTMO, YOLO, YOLO_SUPPRESSED], ids=lambda kind: kind.name)


def person(kind: Kind, left: float = 0.0, sure: float = 0.9, unseen: tuple[str, ...] = ()) -> Floats:
    """The 17 joints as a model of the kind says them: column, row, confidence."""
    down = kind.top - YOLO.top + OFFSET
    rows = [(x + left + OFFSET, y + down, 0.1 if name in unseen else sure) for name, (x, y) in BODY.items()]
    return np.array(rows, dtype=np.float32)


def said(kind: Kind, people: list[tuple[Floats, float]]) -> list[Floats]:
    """What a model of the kind gives out for people and how certain it is of each."""
    joints = np.stack([one for one, _ in people])
    scores = np.array([[score] for _, score in people], dtype=np.float32)
    least, most = joints[..., :2].min(axis=1), joints[..., :2].max(axis=1)
    if kind is RTMO:
        return [np.concatenate((least, most, scores), axis=1)[None], joints[None]]
    flat = joints.reshape(len(people), -1)
    if kind is YOLO:
        return [np.concatenate(((least + most) / 2, most - least, scores, flat), axis=1).T[None]]
    return [np.concatenate((least, most, scores, np.zeros_like(scores), flat), axis=1)[None]]


def picture() -> npt.NDArray[np.uint8]:
    """Grey, with a pure red square: that is what the tiny models look for."""
    rgb: npt.NDArray[np.uint8] = np.full((ROWS, COLUMNS, 3), 60, dtype=np.uint8)
    rgb[80:110, 120:150] = (255, 0, 0)
    return rgb


def openpose(kind: Kind, joints: Floats) -> list[tuple[float, float] | None]:
    """OpenPose's 18 joints by name, as fractions of the picture's sides; those that are unsure are None."""
    sure = dict(zip(BODY, joints[:, 2] >= 0.3, strict=True))
    places = dict(zip(BODY, (joints[:, :2] - (0, kind.top)) * 2 / (COLUMNS, ROWS), strict=True))
    places["neck"] = (places["left_shoulder"] + places["right_shoulder"]) / 2
    sure["neck"] = sure["left_shoulder"] and sure["right_shoulder"]
    return [(float(places[name][0]), float(places[name][1])) if sure[name] else None for name in OPENPOSE]


def reference_drawing(people: list[list[tuple[float, float] | None]], stick: int = 4) -> npt.NDArray[np.uint8]:
    """The published recipe of ControlNet's draw_bodypose, for joints as fractions of the sides."""
    canvas: npt.NDArray[np.uint8] = np.zeros((ROWS, COLUMNS, 3), dtype=np.uint8)
    colours = [[17 * int(digit, 16) for digit in hue] for hue in HUES.split()]
    for joints in people:
        for pair, colour in zip(PAIRS.split(), colours, strict=False):
            first, second = (joints[int(number) - 1] for number in pair.split("-"))
            if first is None or second is None:
                continue
            columns = np.array([first[0], second[0]]) * COLUMNS
            rows = np.array([first[1], second[1]]) * ROWS
            length = ((rows[0] - rows[1]) ** 2 + (columns[0] - columns[1]) ** 2) ** 0.5
            angle = math.degrees(math.atan2(rows[0] - rows[1], columns[0] - columns[1]))
            middle = (int(np.mean(columns)), int(np.mean(rows)))
            outline = cv2.ellipse2Poly(middle, (int(length / 2), stick), int(angle), 0, 360, 1)
            cv2.fillConvexPoly(canvas, np.asarray(outline), [int(float(part) * 0.6) for part in colour])
        for joint, colour in zip(joints, colours, strict=True):
            if joint:
                cv2.circle(canvas, (int(joint[0] * COLUMNS), int(joint[1] * ROWS)), stick, colour, thickness=-1)
    return canvas


def model(folder: Path, kind: Kind, people: list[tuple[Floats, float]]) -> MapModels:
    """A model file of the kind that finds these people in the picture."""
    return MapModels(pose=pose(folder / "pose.onnx", said(kind, people), SIDE, kind.channel, kind.full))


@KINDS
def test_a_person_is_drawn_as_openpose_draws_one(tmp_path: Path, kind: Kind) -> None:
    """Byte for byte the published drawing, where the model saw the joints, for each kind of model."""
    made = make_map(picture(), "pose", models=model(tmp_path, kind, [(person(kind), 0.9)]))
    assert np.array_equal(made.rgb, reference_drawing([openpose(kind, person(kind))]))
    assert 0.01 < made.coverage < 0.5
    assert made.parameters == {"minimum_confidence": 0.3, "stick_pixels": 4}
    assert not made.notes


@KINDS
def test_each_person_is_drawn_once(tmp_path: Path, kind: Kind) -> None:
    """Of two findings in one place the more certain counts; a doubtful one does not count at all."""
    near, doubtful = person(kind, left=1.0), person(kind, left=-30.0)
    found = [(near, 0.6), (person(kind), 0.9), (person(kind, left=40.0), 0.7), (doubtful, 0.2)]
    made = make_map(picture(), "pose", models=model(tmp_path, kind, found))
    drawn = [openpose(kind, person(kind)), openpose(kind, person(kind, left=40.0))]
    assert np.array_equal(made.rgb, reference_drawing(drawn))


@KINDS
def test_what_is_not_seen_is_not_drawn(tmp_path: Path, kind: Kind) -> None:
    """A hidden shoulder takes the neck and all its limbs with it; the head is then a head alone."""
    joints = person(kind, unseen=("left_shoulder", "right_ankle", "nose"))
    made = make_map(picture(), "pose", models=model(tmp_path, kind, [(joints, 0.9)]))
    expected = openpose(kind, joints)
    hidden = [name for name, joint in zip(OPENPOSE, expected, strict=True) if joint is None]
    assert hidden == ["nose", "neck", "left_shoulder", "right_ankle"]
    assert np.array_equal(made.rgb, reference_drawing([expected]))


def test_thicker_sticks_and_another_confidence_can_be_asked_for(tmp_path: Path) -> None:
    """For a large picture, and for one with few certain joints."""
    models = model(tmp_path, YOLO, [(person(YOLO, sure=0.5), 0.9)])
    thick = make_map(picture(), "pose", MapParameters(stick_pixels=8), models)
    assert np.array_equal(thick.rgb, reference_drawing([openpose(YOLO, person(YOLO))], stick=8))
    assert make_map(picture(), "pose", MapParameters(minimum_confidence=0.6), models).coverage == 0


def test_a_picture_of_nobody_is_said_to_be_one(tmp_path: Path) -> None:
    """The map is blank, and the answer says why."""
    made = make_map(picture(), "pose", models=model(tmp_path, YOLO, [(person(YOLO), 0.1)]))
    assert not made.rgb.any()
    assert any("nobody" in note for note in made.notes)


def test_a_model_that_speaks_otherwise_is_told(tmp_path: Path) -> None:
    """Heat maps, for instance, are of no kind that is known."""
    path = pose(tmp_path / "heat.onnx", [np.ones((1, 17, 32, 32), dtype=np.float32)], SIDE, 0, 1.0)
    with pytest.raises(ControlNetError, match=r"\(1, 17, 32, 32\)") as caught:
        make_map(picture(), "pose", models=MapModels(pose=path))
    assert caught.value.code == "not_configured"
    assert "CONTROLNET_MCP_POSE_MODEL" in caught.value.hint
