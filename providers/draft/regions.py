"""Divides a line drawing into the regions between its lines, tells what they are, and gives each a colour."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Labels, Plane, pieces_of
from controlnet_mcp.providers.draft.words import WHITE, Look, mix

Values: TypeAlias = npt.NDArray[np.float64]  # one number (or one colour) a region
Lookup: TypeAlias = npt.NDArray[np.int64]  # one whole number a region

THING, PART, TRUNK, CROWN, SUN, SKY, GROUND, WIDE, PATH = range(9)
"""What a region is; WIDE is a space that reaches behind everything, PART a window, door, eye or button."""

_LINE, _GAP, _CRUMB = 0.3, 0.012, 0.0004
"""Coverage of a line pixel; share of the shorter side up to which a gap counts as closed; least area of a region."""

_MEASURES = ("area", "top", "bottom", "sides", "around", "y", "lowest", "extent", "slim")
"""Share of the picture; shares of its sides that a region holds; heights of the centre and the lowest point, 0 to 1;
share of the bounding box that it fills, and the width of that over its height."""
_RULES: tuple[tuple[int, str, dict[str, tuple[float, float]]], ...] = (
    (PART, "", {"around": (0, 0.02), "extent": (0.86, 1), "area": (0.0005, 0.006), "y": (0.42, 1)}),
    (TRUNK, "indoor", {"around": (0, 0.05), "slim": (0, 0.4), "y": (0.45, 1), "area": (0.002, 0.03)}),
    (
        CROWN,
        "indoor",
        {"around": (0, 0), "slim": (0.7, 1.5), "extent": (0.66, 0.81), "area": (0.02, 0.12), "y": (0, 0.58)},
    ),
    (CROWN, "indoor", {"around": (0, 0), "slim": (0.7, 1.5), "extent": (0.66, 0.81), "area": (0.003, 0.02)}),
    (SUN, "indoor", {"around": (0, 0), "slim": (0.8, 1.2), "extent": (0.7, 0.85), "area": (0, 0.06), "y": (0, 0.35)}),
    (GROUND, "indoor", {"top": (0, 0.1), "sides": (0.12, 2), "area": (0.02, 1), "y": (0.4, 1)}),
    (GROUND, "", {"top": (0, 0.1), "bottom": (0.3, 1), "y": (0.55, 1)}),
    (PATH, "indoor", {"bottom": (0.03, 0.3), "y": (0.75, 1), "sides": (0, 0.05)}),
    (WIDE, "", {"top": (0.22, 1), "y": (0, 0.55)}),
    (SKY, "indoor", {"top": (0.22, 1), "y": (0, 0.55)}),
    (WIDE, "", {"top": (0.3, 1), "bottom": (0.25, 1)}),
    (WIDE, "", {"top": (0.3, 1), "lowest": (0.9, 1)}),
)
"""A role, the setting in which it is not found, and limits that its measures lie between; the last that fits wins."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions of a picture: the number of each pixel's region, and by that number its role and its colour."""

    labels: Labels
    role: Lookup
    paint: npt.NDArray[np.floating]


def regions_of(lines: Plane, look: Look) -> Regions | None:
    """Find, name and colour the regions of a drawing; None where lines (their coverage, 0 to 1) divide nothing."""
    ink = np.asarray(lines > _LINE, dtype=np.uint8)
    radius = max(round(min(lines.shape) * _GAP / 2), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, disc)
    parts, stats, centres = pieces_of(np.equal(closed, 0))
    kept = stats[:, cv2.CC_STAT_AREA] > _CRUMB * ink.size
    kept[0] = False
    if int(kept.sum()) <= 1:
        return None
    known = kept[parts]
    unknown, precise = np.asarray(~known, dtype=np.uint8), cv2.DIST_LABEL_PIXEL
    nearest: Labels = np.asarray(
        cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 3, labelType=precise)[1], np.int32
    )
    # A pixel of a line belongs to the region that is nearest to it.
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    owner[nearest[known]] = (np.cumsum(kept) - 1)[parts[known]]
    labels = np.asarray(owner[nearest], dtype=np.int32)
    measures = _measured(labels, stats[kept], centres[kept, 1])
    role = _roles(measures, look)
    return Regions(labels, role, _coloured(measures["area"], role, look))


def _measured(labels: Labels, stats: Values, y: Values) -> dict[str, Values]:
    """Measures of every region, of OpenCV's statistics and of the row of its centre."""
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    top, bottom, left, right = (np.bincount(side, minlength=len(stats)) / side.size for side in sides)
    _, above, wide, tall, area = stats.T
    height, around = labels.shape[0], top + bottom + left + right
    of_box = (area / (tall * wide), wide / tall)
    values = (area / labels.size, top, bottom, left + right, around, y / height, (above + tall) / height, *of_box)
    return dict(zip(_MEASURES, values, strict=True))


def _roles(found: dict[str, Values], look: Look) -> Lookup:
    """Decide from form and from where each region touches the frame what it is."""
    role = np.full(found["area"].size, THING, dtype=np.int64)
    for kind, not_in, limits in _RULES:
        fits = [(found[name] >= low) & (found[name] <= high) for name, (low, high) in limits.items()]
        if look.setting != not_in:
            role[np.all(fits, axis=0)] = kind
    if (role < SKY).all():
        role[int(found["around"].argmax())] = WIDE
    return role


def _coloured(area: Values, role: Lookup, look: Look) -> Values:
    """One colour a region: accents go to things, the largest first, so that it has the colour that the words name."""
    theme = look.theme
    colours = np.tile(np.asarray(mix(theme.ground[0], theme.foliage, 0.3)), (role.size, 1))
    colours[role == PATH] = mix(theme.ground[0], (0.9, 0.8, 0.65), 0.7)
    colours[role == SUN] = mix(theme.light, (1.0, 0.82, 0.35), 0.1 if theme.weather == "stars" else 0.7)
    colours[role == CROWN] = theme.foliage
    colours[role == TRUNK] = mix((0.5, 0.34, 0.2), theme.shade, 0.2)
    colours[role == PART] = (1.0, 0.84, 0.48) if theme.dim else mix(theme.sky[0], WHITE, 0.4)
    things = [index for index in np.argsort(-area, kind="stable").tolist() if role[index] == THING]
    for rank, index in enumerate(things):
        colours[index] = look.accents[rank % len(look.accents)]
    return colours
