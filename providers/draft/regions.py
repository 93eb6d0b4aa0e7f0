"""Divides a line drawing into the regions an eye sees, also where lines have gaps.

Trapped balls: a region starts wherever a ball of some radius fits between the lines, largest balls first; watershed grows
the starts to the lines; neighbours whose shared border is mostly not on a line become one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Labels, Mask, Plane, distance, plane

Values: TypeAlias = npt.NDArray[np.float64]
"""One number a region."""
Lookup: TypeAlias = npt.NDArray[np.int64]
"""One whole number a region."""

_BALLS = (0.08, 0.04, 0.02, 0.011, 0.006)
"""Ball radii as shares of the shorter side."""
_CRUMB = 0.0006
"""Smaller regions, as a share of the picture, join a neighbour."""
_OBJECT = 0.008
"""Smaller regions belong to the object around them."""
_MERGING = (0.25, 0.45, 0.6, 0.65, 0.65)
"""Regions join when less of their border than this lies on a line, rising from round to round; where two parts of one
thing meet in a gap, up to half of the border lies in the thickness of the lines beside the gap."""
_LINE = 0.3
"""Coverage from which a pixel counts as line."""


def segment(lines: Plane) -> Labels:
    """Number the regions of a drawing from 0.

    Args:
        lines: Line coverage, 0 to 1.
    """
    ink = np.asarray(lines > _LINE, dtype=np.bool_)
    reach = distance(~ink)
    starts = _starts(reach, [max(share * min(lines.shape), 1.0) for share in _BALLS])
    if int(starts.max()) <= 1:
        return np.zeros(lines.shape, dtype=np.int32)
    return _merged(_flooded(ink, starts), ink)


def _starts(reach: Plane, radii: Sequence[float]) -> Labels:
    starts = np.zeros(reach.shape, dtype=np.int32)
    count = 0
    for radius in radii:
        number, parts = cv2.connectedComponents((reach > radius).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
        taken = np.bincount(parts.ravel(), weights=(starts > 0).ravel(), minlength=number) > 0
        taken[0] = True
        fresh = np.zeros(number, dtype=np.int32)
        fresh[~taken] = count + 1 + np.arange(int((~taken).sum()), dtype=np.int32)
        count += int((~taken).sum())
        starts += fresh[parts]
    return starts


def _flooded(ink: Mask, starts: Labels) -> Labels:
    """Grow the starts to the lines, then share the lines out to the region nearest to each of their pixels.

    Lines flood last, as a region of their own: OpenCV orders pixels by how much they differ from their neighbour, so a label
    that got into a line would run along the whole of it.
    """
    line = int(starts.max()) + 1
    seeds = np.where(ink, line, starts).astype(np.int32)
    wall = np.repeat((ink * np.uint8(255))[..., None], 3, axis=2)
    flooded = np.asarray(cv2.watershed(wall, seeds), dtype=np.int32)
    unknown = (flooded < 1) | (flooded == line)
    _, nearest = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    owner[nearest[~unknown]] = flooded[~unknown]
    return np.asarray(owner[nearest] - 1, dtype=np.int32)


def _borders(labels: Labels, ink: Mask) -> tuple[Lookup, Lookup, Values]:
    """Each place where two regions meet: the lower number, the higher, and 1.0 where that is on a line."""
    near = plane(ink)
    pairs: list[tuple[Labels, Labels, Plane]] = [
        (labels[:, :-1], labels[:, 1:], np.maximum(near[:, :-1], near[:, 1:])),
        (labels[:-1], labels[1:], np.maximum(near[:-1], near[1:])),
    ]
    first = np.concatenate([a[a != b] for a, b, _ in pairs]).astype(np.int64)
    second = np.concatenate([b[a != b] for a, b, _ in pairs]).astype(np.int64)
    support = np.concatenate([s[a != b] for a, b, s in pairs]).astype(np.float64)
    return np.minimum(first, second), np.maximum(first, second), support


def _roots(parent: Lookup) -> Lookup:
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent


def _merged(labels: Labels, ink: Mask) -> Labels:
    """Join neighbours without a line between them, then crumbs into the neighbour they touch most."""
    low, high, support = _borders(labels, ink)
    count = int(labels.max()) + 1
    parent = np.arange(count, dtype=np.int64)
    area = np.bincount(labels.ravel(), minlength=count) / labels.size
    for threshold in (*_MERGING, -1.0):
        parent = _roots(parent)
        a, b = parent[low], parent[high]
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        keys, where, lengths = np.unique(a * count + b, return_inverse=True, return_counts=True)
        share = np.bincount(where, weights=support[apart], minlength=len(keys)) / lengths
        sizes = np.bincount(parent, weights=area, minlength=count)
        order = np.argsort(-lengths if threshold < 0 else share, kind="stable")
        for index in order.tolist():
            one, two = divmod(int(keys[index]), count)
            small = min(sizes[one], sizes[two]) < _CRUMB
            if share[index] < threshold or (threshold < 0 and small):
                _join(parent, one, two)
    _, numbered = np.unique(_roots(parent), return_inverse=True)
    return np.asarray(numbered.ravel()[labels], dtype=np.int32)


def _root(parent: Lookup, one: int) -> int:
    while parent[one] != one:
        one = int(parent[one])
    return one


def _join(parent: Lookup, one: int, two: int) -> None:
    one, two = _root(parent, one), _root(parent, two)
    parent[max(one, two)] = min(one, two)
