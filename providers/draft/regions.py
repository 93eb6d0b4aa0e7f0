"""Divides a line drawing into the regions an eye sees, also where lines have gaps.

Trapped balls: a region starts wherever a ball of some radius fits between the lines, largest balls first; watershed
grows the starts to the lines; neighbours whose shared border is mostly not on a line become one.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import Labels, Mask, Plane, distance, pieces, spread
from controlnet_mcp.providers.draft.shapes import LINE, borders, join, roots

_BALLS = (0.08, 0.04, 0.02, 0.011, 0.006)
"""Ball radii as shares of the shorter side."""
_CRUMB = 0.0006
"""Smaller regions, as a share of the picture, join a neighbour."""
_MERGING = (0.25, 0.45, 0.6, 0.65, 0.65)
"""Regions join when less of their border than this lies on a line, rising from round to round; where two parts of one
thing meet in a gap, up to half of the border lies in the thickness of the lines beside the gap."""


def segment(lines: Plane) -> Labels:
    """Number the regions of a drawing from 0.

    Args:
        lines: Line coverage, 0 to 1.
    """
    ink = np.asarray(lines > LINE, dtype=np.bool_)
    reach = distance(~ink)
    starts = _starts(reach, [max(share * min(lines.shape), 1.0) for share in _BALLS])
    if int(starts.max()) <= 1:
        return np.zeros(lines.shape, dtype=np.int32)
    return _merged(_flooded(ink, starts), ink)


def _starts(reach: Plane, radii: Sequence[float]) -> Labels:
    starts = np.zeros(reach.shape, dtype=np.int32)
    count = 0
    for radius in radii:
        number, parts, _ = pieces(np.asarray(reach > radius, dtype=np.bool_), diagonal=False)
        taken = np.bincount(parts.ravel(), weights=np.ravel(starts > 0), minlength=number) > 0
        taken[0] = True
        fresh = np.zeros(number, dtype=np.int32)
        fresh[~taken] = count + 1 + np.arange(int((~taken).sum()), dtype=np.int32)
        count += int((~taken).sum())
        starts += fresh[parts]
    return starts


def _flooded(ink: Mask, starts: Labels) -> Labels:
    """Grow the starts to the lines, then share the lines out to the region nearest to each of their pixels.

    Lines flood last, as a region of their own: OpenCV orders pixels by how much they differ from their neighbour, so
    a label that got into a line would run along the whole of it.
    """
    line = int(starts.max()) + 1
    seeds = np.where(ink, line, starts).astype(np.int32)
    wall = np.repeat((ink * np.uint8(255))[..., None], 3, axis=2)
    flooded = np.asarray(cv2.watershed(wall, seeds), dtype=np.int32)
    unknown = np.asarray((flooded < 1) | (flooded == line), dtype=np.bool_)
    return np.asarray(spread(flooded, unknown) - 1, dtype=np.int32)


def _merged(labels: Labels, ink: Mask) -> Labels:
    """Join neighbours without a line between them, then crumbs into the neighbour they touch most."""
    low, high, support = borders(labels, ink)
    count = int(labels.max()) + 1
    parent = np.arange(count, dtype=np.int64)
    area = np.bincount(labels.ravel(), minlength=count) / labels.size
    for threshold in (*_MERGING, -1.0):
        parent = roots(parent)
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
                join(parent, one, two)
    _, numbered = np.unique(roots(parent), return_inverse=True)
    return np.asarray(numbered.ravel()[labels], dtype=np.int32)
