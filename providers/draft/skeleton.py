"""Reads limbs from a pose map by their OpenPose colours."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Mask, Rgb, pieces

_TRUNK = ("shoulder", "shoulder", "upper-arm", "forearm", "upper-arm", "forearm")
_LEGS = ("flank", "thigh", "shin", "flank", "thigh", "shin")
PARTS = (*_TRUNK, *_LEGS, "neck", "face", "face", "face", "face")
"""What each of the 17 limbs is, in OpenPose's drawing order: limb `i` has hue 20 degrees times `i`."""

_HUES = 18
_LEAST_PIXELS = 6
_LEAST_LIMBS = 3
_SLENDER = 3.2
"""Least ratio of the spreads along and across a limb: length over width, squared."""


@dataclass(frozen=True, slots=True)
class Limb:
    """One limb: index into `PARTS` and its two ends as (x, y) in pixels."""

    part: int
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length(self) -> float:
        """Pixels from end to end."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    @property
    def kind(self) -> str:
        """What it is, from `PARTS`."""
        return PARTS[self.part]


def drawn(rgb: Rgb) -> Mask:
    """Where a skeleton or a set of landmarks is drawn (anything but black)."""
    return np.asarray(rgb.max(axis=2) > 40, dtype=np.bool_)  # noqa: PLR2004  # darker than any limb


def limbs(rgb: Rgb) -> list[Limb]:
    """Limbs of every person in a pose map.

    Args:
        rgb: Map whose limbs have OpenPose's 18 hues; other drawings give few or none.
    """
    hsv = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), dtype=np.int16)
    coloured = drawn(rgb) & (hsv[..., 1] > 150)  # noqa: PLR2004  # blends of two limbs are paler
    index = np.where(coloured, (hsv[..., 0] * 2 + 10) // 20 % _HUES, -1)
    found: list[Limb] = []
    for part in range(len(PARTS)):
        number, where, stats = pieces(np.asarray(index == part, dtype=np.bool_))
        for piece in range(1, number):
            if int(stats[piece, cv2.CC_STAT_AREA]) >= _LEAST_PIXELS:
                limb = _limb(part, np.argwhere(where == piece))
                if limb is not None:
                    found.append(limb)
    return _longest_first(found)


def _limb(part: int, spots: npt.NDArray[np.int64]) -> Limb | None:
    """Fit a line through pixels; round spots are joints and not limbs."""
    points = spots[:, ::-1].astype(np.float64)
    centre = points.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((points - centre).T) + np.eye(2) * 1e-3)
    if spread[1] < _SLENDER * spread[0]:
        return None
    along = (points - centre) @ axes[:, 1]
    low, high = centre + axes[:, 1] * float(along.min()), centre + axes[:, 1] * float(along.max())
    return Limb(part, (float(low[0]), float(low[1])), (float(high[0]), float(high[1])))


def _longest_first(found: list[Limb]) -> list[Limb]:
    """Drop scraps: pieces of a hue that are far shorter than its longest limb."""
    longest = {part: max((limb.length for limb in found if limb.part == part), default=0.0) for part in range(_HUES)}
    return [limb for limb in found if limb.length > 0.22 * longest[limb.part]]


def people(found: list[Limb]) -> list[list[Limb]]:
    """Group limbs whose ends meet into people."""
    reach = 0.3 * float(np.median([limb.length for limb in found])) if found else 0.0
    groups: list[list[Limb]] = []
    for limb in found:
        joined = [group for group in groups if any(_gap(limb, other) < reach for other in group)]
        merged = [limb, *(other for group in joined for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append(merged)
    return [sorted(group, key=lambda limb: limb.part) for group in groups if len(group) >= _LEAST_LIMBS]


def _gap(one: Limb, two: Limb) -> float:
    ends = [(a, b) for a in (one.start, one.end) for b in (two.start, two.end)]
    return min(float(np.hypot(a[0] - b[0], a[1] - b[1])) for a, b in ends)
