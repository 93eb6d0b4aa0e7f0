"""Measures how many of a control's edges a picture keeps."""

import cv2
import numpy as np

from tests.support.sample_drawings import Rgb


def _edges(rgb: Rgb, low: int, high: int) -> Rgb:
    return np.asarray(cv2.Canny(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), low, high) > 0, dtype=np.uint8)


def recall_of(control: Rgb, picture: Rgb) -> float:
    """Share of the control's own Canny edge pixels (100/200) with an edge of the picture (60/150) within 2 px."""
    wanted = _edges(control, 100, 200) > 0
    reach = cv2.dilate(_edges(picture, 60, 150), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return float((np.asarray(reach) > 0)[wanted].mean())


def chance_of(control: Rgb, picture: Rgb) -> float:
    """The same for the control moved by 23 px down and 17 px right: what any map would score."""
    return recall_of(np.asarray(np.roll(control, (23, 17), axis=(0, 1)), dtype=np.uint8), picture)
