"""Gives every region a role in the picture and a colour: one object, one hue."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft.canvas import Field, Labels, Mask, blend, grid, plane, stream
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.objects import MATERIALS, Material
from controlnet_mcp.providers.draft.palette import Colour, mix, shifted
from controlnet_mcp.providers.draft.roles import GROUND, PATH, SKY, THING, WIDE, parts, roles, suns, twins, within
from controlnet_mcp.providers.draft.scene import Places
from controlnet_mcp.providers.draft.shapes import Lookup, Shapes, Values
from controlnet_mcp.providers.draft.texture import fbm

Paint = npt.NDArray[np.float64]
"""One colour a region: shape (count, 3)."""

_EXTENT = {
    "wall": 0.8,
    "roof": 0.52,
    "foliage": 0.75,
    "wood": 0.95,
    "skin": 0.75,
    "ceramic": 0.85,
    "stone": 0.65,
    "coffee": 0.75,
}
"""How much of its bounding box a thing of this material usually fills."""
_FITTING = 0.3
"""Misfit up to which a material is used a second time."""


@dataclass(frozen=True, slots=True)
class Coloured:
    """The outcome of colouring, for each region.

    Attributes:
        role: What it is, from `roles`.
        colour: Its colour.
        glow: 1.0 where it shines by itself.
        part: Whether it is a part of a larger thing.
        sure: How sure the drawing is of it, 0 to 1.
    """

    role: Lookup
    colour: Paint
    glow: Values
    part: npt.NDArray[np.bool_]
    sure: Values


def coloured(shape: Shapes, group: Lookup, look: Look) -> Coloured:
    """Colour every region.

    Args:
        shape: Regions.
        group: Region to the region that stands for its object.
        look: The brief.
    """
    role = roles(shape, look)
    part = parts(shape) & (group != np.arange(group.size))
    own, glow = _object_colours(shape, role, group, look)
    rng = stream(look.key, "tones")
    tone = (rng.random(shape.area.size) - 0.5) * np.where(group == np.arange(group.size), 0.06, 0.2)
    colour = np.clip(np.asarray(own, dtype=np.float64)[group] * (1 + tone[:, None]), 0, 1)
    role = role[group]
    for index in np.flatnonzero(part).tolist():
        paint, shines = _part(index, shape, role, own[int(group[index])], look)
        colour[index], glow[index] = paint, float(shines)
        role[index] = THING
    sure = np.clip((shape.closed - 0.55) / 0.35, 0, 1)
    return Coloured(role, colour, glow, part, np.minimum(sure, sure[group]))


def _object_colours(shape: Shapes, role: Lookup, group: Lookup, look: Look) -> tuple[list[Colour], Values]:
    """Materials that the words name go to the things they fit best, mood colours to the rest; also what shines."""
    found: list[Colour] = [look.theme.ground[0]] * role.size
    glow = np.zeros(role.size)
    order = np.argsort(-shape.area, kind="stable").tolist()
    things = [i for i in order if role[i] == THING and group[i] == i]
    sun = suns(shape, look)
    for index in [i for i in things if sun[i]][:1]:
        found[index] = _sun(look)
        glow[index] = 1.0
        things.remove(index)
    matched = _matched(shape, things, _waiting(look))
    flesh = next((m.colours for m in look.materials if m.name == "skin"), None)
    cursor = 0
    for index in things:
        if flesh and bool(within(shape.area, 0, 0.025)[index]):  # a neck, an ear, a hand
            found[index] = flesh[1]
        elif index in matched:
            found[index] = matched[index]
        else:
            found[index] = look.accents[cursor % len(look.accents)]
            cursor += 1
    for index in np.flatnonzero(role == GROUND).tolist():
        found[index] = mix(look.theme.ground[0], look.theme.foliage, 0.3)
    for index in np.flatnonzero(role == PATH).tolist():
        found[index] = mix(mix(look.theme.ground[0], look.theme.light, 0.55), (0.86, 0.72, 0.55), 0.35)
    return found, glow


def _waiting(look: Look) -> list[Material]:
    """Materials for things, first the named ones; outdoors there are always leaves and wood."""
    named = [m for m in look.materials if m.place != "ground" and m.name != "glass"]
    if look.setting != "outdoor" or any(m.name == "foliage" for m in named):
        return named
    leaf = look.theme.foliage
    return [
        *named,
        replace(MATERIALS["foliage"], colours=(leaf, shifted(leaf, -0.07), shifted(leaf, 0.08))),
        MATERIALS["wood"],
    ]


def _matched(shape: Shapes, things: list[int], waiting: list[Material]) -> dict[int, Colour]:
    """Pair things and materials, the best fitting pair first; a material may serve twice, in another variant."""
    pairs = sorted(
        (_misfit(material, shape, index) + 0.05 * rank - 0.6 * float(shape.area[index]) ** 0.5, rank, index)
        for rank, material in enumerate(waiting)
        for index in things
    )
    matched: dict[int, Colour] = {}
    used: dict[int, int] = {}
    for most in (1, 2):
        for cost, rank, index in pairs:
            if index in matched or used.get(rank, 0) >= most or (most > 1 and cost >= _FITTING):
                continue
            colours = waiting[rank].colours
            same = twins(shape, index)
            for twin in [index, *(other for other in things if other not in matched and same[other])]:
                matched[twin] = colours[(used.get(rank, 0) + (twin if twin != index else 0)) % len(colours)]
            used[rank] = used.get(rank, 0) + 1
    return matched


def _sun(look: Look) -> Colour:
    return mix(look.theme.light, (1.0, 0.82, 0.35), 0.1 if look.theme.night else 0.7)


def _misfit(material: Material, shape: Shapes, index: int) -> float:
    fill = _EXTENT.get(material.name, 0.8)
    inside = bool(within(shape.area, 0, 0.12)[index]) and not bool(shape.touches[:, index].any())
    off = 1.2 * abs(material.rise - float(shape.y[index])) + 0.9 * abs(fill - float(shape.extent[index]))
    return off if material.place == "thing" else off - 0.1 + float(not inside)


def _part(index: int, shape: Shapes, role: Lookup, around: Colour, look: Look) -> tuple[Colour, bool]:
    """Colour of a part, and whether it shines; parts of like size and form get one colour, as windows do."""
    at = int(role[index])
    if at in {SKY, WIDE} and suns(shape, look)[index]:
        return _sun(look), True
    kind = round(math.log(float(shape.area[index])) * 1.4) + (0 if bool(within(shape.extent, 0.84, 2)[index]) else 7)
    choices = [m.colours[0] for m in look.materials if m.place == "part"]
    glassy = any(m.name == "glass" for m in look.materials)
    if glassy and look.theme.lamps_lit and kind % 2 == 0 and bool(within(shape.area, 0, 0.01)[index]):
        return (1.0, 0.84, 0.48), True
    choices += [m.colours[0] for m in look.materials if m.name in {"wood", "flower", "gold"}]
    choices += [shifted(around, 0.12, 1.1), *look.accents[:4], shifted(around, -0.14)]
    return choices[kind % len(choices)], False


def painted(labels: Labels, shape: Shapes, found: Coloured, look: Look) -> Field:
    """Lay the colours down, each region lighter towards its top, hues wandering a little as hand-mixed paint does."""
    height, width = labels.shape
    y, _ = grid(height, width)
    field = plane(found.colour[labels])
    span = np.maximum(shape.bottom - shape.top, 0.05)
    up = (plane(shape.y[labels]) - y) / plane(span[labels])
    drift = fbm(height, width, stream(look.key, "drift"), max(min(height, width) / 5, 8), 3) - 0.5
    field = plane(field * (1 + 0.16 * up + 0.18 * drift)[..., None])
    warm = plane(drift * 0.1)
    field[..., 0] += warm
    field[..., 2] -= warm
    return blend(plane(np.clip(field, 0, 1)), look.theme.light, plane(np.clip(up, 0, 1) * 0.1))


def places(labels: Labels, found: Coloured) -> Places:
    """Where sky, ground and backdrop show."""
    role = found.role[labels]
    return Places(sky=role == SKY, ground=role == GROUND, backdrop=role == WIDE)


def things(labels: Labels, found: Coloured) -> Mask:
    """Where things are."""
    return np.asarray(found.role[labels] == THING, dtype=np.bool_)
