"""Bodies from a whole map: everybody in a pose map, or a bust around face landmarks."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.body import HAIR, SKIN, TOP, Body
from controlnet_mcp.providers.draft.canvas import (
    Plane,
    Rgb,
    distance,
    grown,
    plane,
)
from controlnet_mcp.providers.draft.skeleton import drawn, limbs, people


def bodies(rgb: Rgb) -> tuple[npt.NDArray[np.int32], Plane]:
    """Labels of body parts and their height in pixels."""
    found = people(limbs(rgb))
    labels = np.zeros(rgb.shape[:2], dtype=np.uint8)
    height = np.zeros(rgb.shape[:2], dtype=np.float32)
    for bones in sorted(found, key=lambda group: max(max(b.start[1], b.end[1]) for b in group)):
        Body(bones, labels, height).draw()
    if not found:
        _mass(rgb, labels, height)
    return labels.astype(np.int32), height


def _mass(rgb: Rgb, labels: npt.NDArray[np.uint8], height: Plane) -> None:
    """Without known limbs: a head around face landmarks, or a thick line figure around any other drawing."""
    ink = drawn(rgb)
    if not bool(ink.any()):
        return
    rows, columns = np.nonzero(ink)
    tall, wide = float(np.ptp(rows)) + 1, float(np.ptp(columns)) + 1
    if 0.6 < tall / wide < 2.2 and float(ink.mean()) < 0.25:  # noqa: PLR2004  # proportions of a face
        _bust(rows, columns, labels, height)
        return
    radius = max(min(rgb.shape[:2]) // 28, 2)
    thick = grown(plane(ink), radius) > 0
    deep = distance(np.asarray(thick, dtype=np.bool_))
    height[thick] = np.sqrt(np.maximum(deep[thick] * (2 * radius + 2 - deep[thick]), 0))
    labels[thick] = TOP


def _bust(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], labels: npt.NDArray[np.uint8], height: Plane
) -> None:
    x, y = float(columns.min() + np.ptp(columns) / 2), float(rows.min() + np.ptp(rows) / 2)
    size = max(float(np.ptp(columns)) * 0.56, float(np.ptp(rows)) * 0.5)
    spots: list[tuple[tuple[float, float], tuple[float, float], int]] = [
        ((x, y - size * 0.16), (size * 1.1, size * 1.26), HAIR),
        ((x, y + size * 2.5), (size * 2.1, size * 1.15), TOP),
        ((x, y + size * 1.25), (size * 0.45, size * 0.75), SKIN),
        ((x, y + size * 0.02), (size * 0.93, size * 1.2), SKIN),
    ]
    for (cx, cy), (rx, ry), label in spots:
        mask = np.zeros_like(labels)
        cv2.ellipse(mask, (round(cx), round(cy)), (max(round(rx), 1), max(round(ry), 1)), 0, 0, 360, 1, -1)
        inside = mask > 0
        deep = distance(np.asarray(inside, dtype=np.bool_))
        height[inside] = np.sqrt(np.maximum(deep[inside] * (2 * deep.max() - deep[inside]), 0)) * 0.8
        labels[inside] = label
