"""Measures regions: size, place, form, borders."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Labels, Mask, Plane, distance, plane

Values: TypeAlias = npt.NDArray[np.float64]
"""One number a region."""
Lookup: TypeAlias = npt.NDArray[np.int64]
"""One whole number a region."""

LINE = 0.3
"""Line coverage from which a pixel counts as line."""
_OBJECT = 0.008
"""Regions smaller than this share of the picture belong to the object around them."""
_MOST_OBJECTS = 24


@dataclass(frozen=True, slots=True)
class Shapes:
    """What is known of each region, as arrays indexed by region number.

    Attributes:
        area: Share of the picture.
        x: Centre, 0 left to 1 right.
        y: Centre, 0 top to 1 bottom.
        top: Highest point, 0 to 1.
        bottom: Lowest point, 0 to 1.
        touches: Shares of the picture's (top, bottom, left, right) side that it holds, shape (4, count).
        extent: Share of its bounding box that it fills.
        roundness: 1 for a disc, less for anything else.
        closed: Share of its inner border that lies on a line.
    """

    area: Values
    x: Values
    y: Values
    top: Values
    bottom: Values
    touches: Values
    extent: Values
    roundness: Values
    closed: Values


def borders(labels: Labels, ink: Mask) -> tuple[Lookup, Lookup, Values]:
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


def roots(parent: Lookup) -> Lookup:
    """Each region's representative, where joined regions share one."""
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent


def root(parent: Lookup, one: int) -> int:
    """The representative of one region."""
    while parent[one] != one:
        one = int(parent[one])
    return one


def join(parent: Lookup, one: int, two: int) -> None:
    """Make two regions one."""
    one, two = root(parent, one), root(parent, two)
    parent[max(one, two)] = min(one, two)


def shapes(labels: Labels, lines: Plane) -> Shapes:
    """Measure every region."""
    height, width = labels.shape
    count = int(labels.max()) + 1
    flat = labels.ravel()
    pixels = np.maximum(np.bincount(flat, minlength=count), 1).astype(np.float64)
    rows, columns = np.divmod(np.arange(flat.size), width)
    box = np.zeros((4, count))
    box[0], box[2] = height, width
    for index, at in ((0, rows), (2, columns)):
        np.minimum.at(box[index], flat, at)
        np.maximum.at(box[index + 1], flat, at)
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    touches = np.stack([np.bincount(side, minlength=count) / side.size for side in sides])
    low, high, support = borders(labels, lines > LINE)
    border = np.bincount(low, minlength=count) + np.bincount(high, minlength=count)
    lined = np.bincount(low, support, count) + np.bincount(high, support, count)
    # A staircase border is longer than the curve it follows, by 4/pi on average.
    around = np.maximum(border * np.pi / 4, 1)
    return Shapes(
        area=pixels / flat.size,
        x=np.bincount(flat, columns, count) / pixels / width,
        y=np.bincount(flat, rows, count) / pixels / height,
        top=box[0] / height,
        bottom=(box[1] + 1) / height,
        touches=touches,
        extent=pixels / ((box[1] - box[0] + 1) * (box[3] - box[2] + 1)),
        roundness=np.minimum(4 * np.pi * pixels / around**2, 1.2),
        closed=lined / np.maximum(border, 1),
    )


def grouped(labels: Labels, shape: Shapes) -> Lookup:
    """For each region the object it belongs to: itself if large, else the large one over the longest borders."""
    count = shape.area.size
    low, high, _ = borders(labels, np.zeros(labels.shape, dtype=np.bool_))
    keys, lengths = np.unique(low * count + high, return_counts=True)
    one, two = np.divmod(keys, count)
    owner = np.arange(count, dtype=np.int64)
    limit = max(_OBJECT, float(np.sort(shape.area)[-_MOST_OBJECTS]) if count > _MOST_OBJECTS else 0.0)
    for index in np.argsort(-lengths, kind="stable").tolist():
        a, b = root(owner, int(one[index])), root(owner, int(two[index]))
        a, b = (a, b) if shape.area[a] >= shape.area[b] else (b, a)
        if a != b and shape.area[b] < limit:
            owner[b] = a
    return roots(owner)


def outlined(labels: Labels, lines: Plane) -> float:
    """Share of the line pixels that part two regions: near 1 for closed drawings, low for loose edges."""
    ink = lines > LINE
    edge = np.zeros(labels.shape, dtype=np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    near = distance(~edge) <= max(min(labels.shape) / 120, 3)
    return float((near & ink).sum() / max(int(ink.sum()), 1))
