"""Segmentation maps: their labels, and mIoU where the labels of a result can be read too."""

from dataclasses import dataclass

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Plane, Rgb
from controlnet_mcp.images.structure.fitting import Size
from controlnet_mcp.images.structure.values import Figures

LEAST_SHARE = 0.002
"""A colour that covers less of the map than this is a blend at a border, not a class."""
MOST_LABELS = 64
READABLE = 0.9
"""Fraction of a picture that must have a class colour for its labels to be read."""
NEAR_LEVELS = 12
"""Levels in any channel within which a pixel has a colour; JPEG shifts flat colours by less."""
UNLABELLED = 255


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A label for each pixel (255: none), shape (height, width), and the colours that the labels stand for."""

    plane: Plane
    colours: Rgb


def _at_size(rgb: Rgb, size: Size) -> Rgb:
    """Cropped to the aspect and scaled without blending: a mixture of two classes is another class."""
    rows, columns = rgb.shape[:2]
    keep_columns = min(columns, max(1, round(rows * size[0] / size[1])))
    keep_rows = min(rows, max(1, round(columns * size[1] / size[0])))
    left, top = (columns - keep_columns) // 2, (rows - keep_rows) // 2
    cropped = np.ascontiguousarray(rgb[top : top + keep_rows, left : left + keep_columns])
    return np.asarray(cv2.resize(cropped, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def _main_colours(rgb: Rgb) -> Rgb:
    """The colours that cover a share of the map, most first, those near to a commoner one left out."""
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    values, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts.astype(np.int64), kind="stable")
    kept: list[tuple[int, int, int]] = []
    for value, count in zip(values[order].tolist(), counts[order].tolist(), strict=True):
        colour = (value >> 16, value >> 8 & 255, value & 255)
        if count < LEAST_SHARE * packed.size or len(kept) == MOST_LABELS:
            break
        if all(max(abs(a - b) for a, b in zip(colour, other, strict=True)) > NEAR_LEVELS for other in kept):
            kept.append(colour)
    return np.array(kept, dtype=np.uint8).reshape(-1, 3)


def _read(rgb: Rgb, colours: Rgb) -> Labels | None:
    """The labels of a picture in these colours, None when too little of it has one."""
    plane = np.full(rgb.shape[:2], UNLABELLED, dtype=np.uint8)
    for label in reversed(range(len(colours))):
        middle = colours[label].astype(np.float64)
        low, high = np.clip(middle - NEAR_LEVELS, 0, 255), np.clip(middle + NEAR_LEVELS, 0, 255)
        plane[np.asarray(cv2.inRange(rgb, low, high)) > 0] = label
    return Labels(plane, colours) if np.mean(plane != UNLABELLED) >= READABLE else None


def labels_of(segmentation: Rgb, size: Size) -> Labels | None:
    """The labels of a segmentation map at a size, None when it is none: a label for each flat colour."""
    rgb = _at_size(segmentation, size)
    return _read(rgb, _main_colours(rgb))


def read_labels(result: Rgb, size: Size, colours: Rgb) -> Labels | None:
    """The labels of a result that was drawn in class colours, None of any other."""
    return _read(_at_size(result, size), colours)


def compare_labels(asked: Plane, found: Plane) -> Figures:
    """MIoU over the asked classes; the score is the same beyond chance.

    By chance two areas p and q of the picture share p q, which is an IoU of p q / (p + q - p q).
    """
    ious: list[float] = []
    chances: list[float] = []
    for label in np.unique(asked[asked != UNLABELLED]).tolist():
        one, other = asked == label, found == label
        p, q = float(one.mean()), float(other.mean())
        ious.append(float((one & other).sum()) / max(1, int((one | other).sum())))
        chances.append(p * q / (p + q - p * q))
    if not ious:
        return Figures(0.0, 0.0)
    miou, chance = float(np.mean(ious)), float(np.mean(chances))
    return Figures(miou, max(0.0, (miou - chance) / (1 - chance)) if chance < 1 else miou)
