"""What the regions of a drawing are, told by form and place alone."""

import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Mask
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.shapes import Lookup, Shapes, Values

THING, SKY, GROUND, WIDE, PATH = range(5)
"""Roles: a thing, sky, ground, a space that reaches behind everything, a path over the ground."""

_MOST_PARTS = 40


def within(values: Values, low: float, high: float) -> Mask:
    """Where values lie strictly between two limits."""
    return np.asarray((values > low) & (values < high), dtype=np.bool_)


def roles(shape: Shapes, look: Look) -> Lookup:
    """Decide from where each region touches the frame what it is; shares of sides and heights are 0 to 1."""
    top, bottom, left, right = shape.touches
    role = np.full(shape.area.size, THING, dtype=np.int64)
    sides = np.maximum(left, right)
    outside = look.setting != "indoor"
    tall = within(top, 0.3, 2) & (within(bottom, 0.25, 2) | within(shape.bottom, 0.9, 2))
    high = within(top, 0.22, 2) & within(shape.y, 0, 0.55) & ~tall
    low = within(bottom, 0.3, 2) & within(shape.y, 0.55, 1) & (within(sides, 0.08, 2) | outside)
    band = within(left + right, 0.12, 3) & within(shape.area, 0.02, 1) & within(shape.y, 0.4, 1) & outside
    path = within(bottom, 0.03, 0.3) & within(shape.y, 0.75, 1) & within(sides, -1, 0.05)
    floating = within(top, -1, 0.1)
    role[band & floating] = GROUND
    role[low & floating] = GROUND
    role[path & (look.setting == "outdoor")] = PATH
    role[high] = SKY if outside else WIDE
    role[tall] = WIDE
    if not role.any() and role.size:
        touching = shape.touches.sum(axis=0)
        role[within(touching, 0.5, 5) & (touching == touching.max())] = WIDE
    return role


def parts(shape: Shapes) -> Mask:
    """Small, closed, compact regions: windows, doors, eyes, buttons. The most compact forty at most."""
    good = within(shape.closed, 0.93, 2) & within(shape.touches.sum(axis=0), -1, 0.02)
    good &= within(shape.area, 0.0012, 0.12) & within(shape.extent, 0.45, 2) & within(shape.roundness, 0.35, 2)
    compact = np.where(good, shape.roundness * shape.extent, 0)
    if int(good.sum()) > _MOST_PARTS:
        good &= compact >= np.sort(compact)[-_MOST_PARTS]
    return np.asarray(good, dtype=np.bool_)


def suns(shape: Shapes, look: Look) -> Mask:
    """Round, small, high and whole: a sun or moon, outdoors."""
    disc = within(shape.roundness, 0.8, 2) & within(shape.extent, 0.68, 0.88)
    place = within(shape.y, 0, 0.4) & within(shape.area, 0, 0.06) & within(shape.touches.sum(axis=0), -1, 1e-9)
    return np.asarray(disc & place & (look.setting != "indoor"), dtype=np.bool_)


def twins(shape: Shapes, one: int) -> Mask:
    """Regions that look like another of the same kind: of like size, fullness and roundness."""
    size = np.abs(np.log(shape.area / shape.area[one]))
    form = np.abs(shape.extent - shape.extent[one]) + np.abs(shape.roundness - shape.roundness[one])
    return np.asarray(within(size, -1, 0.16) & within(form, -1, 0.2), dtype=np.bool_)


def fullness(shape: Shapes) -> npt.NDArray[np.float64]:
    """How far light should model a region as swelling: 1 for a ball or blob, 0.35 for a jagged or cornered thing."""
    share = np.clip((shape.roundness - 0.45) / 0.4, 0, 1)
    return 0.35 + 0.65 * share * share * (3 - 2 * share)
