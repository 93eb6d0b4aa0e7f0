"""Segmentation maps: ADE20K class colours to the materials of a painter."""

from dataclasses import dataclass

import numpy as np

from controlnet_mcp.providers.draft import light, scenery
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Labels,
    Plane,
    Rgb,
    blend,
    blurred,
    distance,
    grid,
    plane,
    smoothstep,
    stream,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import Colour, from_hex, mix, shifted
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.texture import fbm

_TABLE = """
120 120 120 wall d9cbb5 flat        180 120 120 building c98f6a flat    6 230 230 sky - sky
80 50 50 floor a9825c ground        4 200 3 tree - leaf                 120 120 80 ceiling efe6d6 flat
140 140 140 road a3a0a2 ground      204 5 255 bed c9788a soft           230 230 230 windowpane bfdcea shine
4 250 7 grass - grass               224 5 255 cabinet 9a6f47 flat       235 255 7 sidewalk cfc5b5 ground
150 5 61 person d9946f soft         120 120 70 earth ab8360 ground      8 255 51 door 8a5a38 flat
255 6 82 table a8743f flat          143 255 140 mountain 8896a8 rock    204 255 4 plant - leaf
255 51 7 curtain b85a52 soft        204 70 3 chair a5673f flat          0 102 200 car c4463c soft
61 230 250 water - water            255 6 51 painting d0a05a flat       11 102 255 sofa 6a7f9a soft
255 7 71 shelf 9a7048 flat          255 9 224 house d8a878 flat         9 7 230 sea - water
220 220 220 mirror cfdde2 shine     255 9 92 rug a5505a ground          112 9 255 field - grass
8 255 214 armchair 7a8a6a soft      7 255 224 seat 8a6a5a soft          255 184 6 fence b89a72 flat
10 255 71 desk 9a6a40 flat          255 41 10 rock 9a948a rock          7 255 255 wardrobe 8f6744 flat
224 255 8 lamp ffe0a0 shine         102 8 255 bathtub eef0f0 soft       255 61 6 railing 7a7a80 flat
255 194 7 cushion d98f5a soft       255 8 41 column d8d0c0 soft         255 5 153 signboard d0503f flat
235 12 255 counter b89a78 flat      160 150 20 sand ead2a0 ground       0 163 255 sink e6ecee soft
255 31 0 path cdb793 ground         255 224 0 stairs bdb2a2 flat        11 200 200 river - water
255 82 0 bridge a89a86 flat         255 0 0 flower e2637f leaf          255 163 0 book a5503f flat
255 102 0 hill 8fa86a rock          0 82 255 palm - leaf                173 255 0 boat b5703f soft
255 184 184 tower c9b595 flat       255 0 20 truck cfd2d6 soft          255 0 245 bus d9a23a soft
"""
"""Red, green, blue, class, colour (`-`: from the mood), kind of surface. Colours of the classes: the ADE20K palette
that MMSegmentation and the reference ControlNet annotators use (150 classes; the common ones are here)."""

_NEAR = 40.0
"""Euclidean distance in RGB within which a pixel counts as a class."""


@dataclass(frozen=True, slots=True)
class _Surface:
    name: str
    key: tuple[int, int, int]
    colour: Colour | None
    kind: str


def _surfaces() -> tuple[_Surface, ...]:
    cells = _TABLE.split()
    rows = [cells[start : start + 6] for start in range(0, len(cells), 6)]
    return tuple(
        _Surface(name, (int(red), int(green), int(blue)), None if code == "-" else from_hex(code), kind)
        for red, green, blue, name, code, kind in rows
    )


SURFACES = _surfaces()


def _classified(rgb: Rgb) -> Labels:
    """Index into `SURFACES` for each pixel, -1 for colours of no known class."""
    codes = rgb.astype(np.int32)
    packed = (codes[..., 0] << 16) | (codes[..., 1] << 8) | codes[..., 2]
    values, where = np.unique(packed, return_inverse=True)
    colours = np.stack([values >> 16, (values >> 8) & 255, values & 255], axis=1).astype(np.float32)
    best = np.full(values.size, -1, dtype=np.int32)
    least = np.full(values.size, _NEAR, dtype=np.float32)
    for index, surface in enumerate(SURFACES):
        off = np.sqrt(((colours - np.asarray(surface.key, dtype=np.float32)) ** 2).sum(axis=1))
        nearer = off < least
        best[nearer], least[nearer] = index, off[nearer]
    return np.asarray(best[where].reshape(packed.shape), dtype=np.int32)


def scene_from_classes(rgb: Rgb, look: Look) -> Scene:
    """Paint each class in its material.

    Args:
        rgb: Class map at the size of the plan, resized without mixing colours.
        look: The brief.
    """
    height, width = rgb.shape[:2]
    labels = _classified(rgb)
    colour = _unknown(rgb, look)
    empty = np.zeros((height, width), dtype=np.float32)
    sky_mask, glow, bumps = empty.copy(), empty.copy(), empty.copy()
    rows = np.flatnonzero((labels == _index("sky")).any(axis=1))
    horizon = float(np.clip(rows[-1] / height, 0.3, 0.9)) if rows.size else 0.5
    fields = _fields(look, height, width, horizon)
    for index in [int(value) for value in np.unique(labels) if value >= 0]:
        surface, mask = SURFACES[index], labels == index
        field = fields.get(surface.kind)
        paint = field if field is not None and surface.colour is None else _flat(surface, look, height, width)
        colour = plane(np.where(mask[..., None], paint, colour))
        sky_mask[mask] = float(surface.kind == "sky")
        glow[mask] = 0.8 if surface.kind == "shine" and look.theme.lamps_lit else 0.0
        bumps[mask] = {"leaf": 1.0, "rock": 0.8, "soft": 0.15, "grass": 0.35}.get(surface.kind, 0.0)
    return _modelled(colour, labels, (sky_mask, glow, bumps), look, horizon)


def _index(name: str) -> int:
    return next(index for index, surface in enumerate(SURFACES) if surface.name == name)


def _unknown(rgb: Rgb, look: Look) -> Field:
    """Colours of no class, in the mood: each distinct map colour takes the accent that its value falls on."""
    pick = (rgb.astype(np.int32) @ np.asarray((7, 13, 29))) // 40 % len(look.accents)
    accents = plane(look.accents)
    return blend(accents[pick], look.theme.ground[0], 0.2)


def _fields(look: Look, height: int, width: int, horizon: float) -> dict[str, Field]:
    """Surfaces that a mood decides."""
    y, _ = grid(height, width)
    leaf_noise = fbm(height, width, stream(look.key, "leaf"), max(height / 14, 4), 4)
    leaf = look.theme.foliage
    leaves = blend(
        shifted(leaf, -0.1),
        shifted(leaf, 0.1),
        smoothstep(leaf_noise, 0.3, 0.75),
    )
    ripple = fbm(height, width, stream(look.key, "ripple"), max(height / 18, 4), 3, stretch=7.0)
    water = mix(mix(look.theme.sky[0], (0.2, 0.5, 0.65), 0.5), look.theme.shade, 0.1)
    waves = blend(
        water,
        mix(look.theme.sky[1], (1.0, 1.0, 1.0), 0.2),
        plane(smoothstep(ripple, 0.48, 0.8) * (0.65 - 0.35 * y)),
    )
    grass = blend(scenery.ground(look, height, width, horizon), leaf, 0.35)
    return {"sky": scenery.sky(look, height, width, horizon)[0], "leaf": leaves, "water": waves, "grass": grass}


def _flat(surface: _Surface, look: Look, height: int, width: int) -> Field:
    """One material with the small changes of tone that a real surface has; named colours dye the main things."""
    colour = mix(surface.colour or look.accents[0], look.accents[0], 0.08)
    if look.named and surface.name in {"house", "building", "car", "wall", "sofa", "bed", "person", "flower"}:
        colour = mix(colour, look.named[0], 0.75)
    spots = fbm(
        height, width, stream(look.key, surface.name), max(height / 9, 4), 4, 2.0 if surface.kind == "ground" else 1.0
    )
    return plane(plane(colour) * (0.86 + 0.28 * spots)[..., None])


def _modelled(colour: Field, labels: Labels, planes: tuple[Plane, Plane, Plane], look: Look, horizon: float) -> Scene:
    """Light the classes: swelling trees and people, a soft edge of shadow on the ground, haze towards the horizon."""
    sky_mask, glow, bumps = planes
    height, width = labels.shape
    rough = fbm(height, width, stream(look.key, "bump"), max(height / 16, 4), 4)
    solid = np.isin(labels, [i for i, s in enumerate(SURFACES) if s.kind in {"flat", "soft", "leaf", "shine"}])
    relief = light.inflated(labels, np.asarray(solid | np.greater(bumps, 0.5), dtype=np.bool_))
    relief = plane(relief * np.where(bumps > 0, 1, 0.35))
    shade = light.shaded(plane(relief + blurred(plane(rough * bumps), 1.0) * height / 16), look)
    shadow = light.cast(np.asarray(solid, dtype=np.bool_), look, height * 0.05)
    colour = blend(colour, look.theme.shade, plane(shadow * 0.4 * (1 - sky_mask)))
    y, _ = grid(height, width)
    far = plane(np.clip(1 - np.abs(y - horizon) * 3.2, 0, 1) * (1 - sky_mask) * ~solid)
    rock = np.isin(labels, [i for i, s in enumerate(SURFACES) if s.kind == "rock"])
    far = plane(np.maximum(far, rock * np.clip(0.4 + (y - horizon + 0.2) * 1.5, 0.3, 1)))
    return Scene(blurred(colour, 0.8), shade, far, sky_mask, glow, border_lines(labels))


def border_lines(labels: Labels) -> Plane:
    """A thin line wherever two labels meet, as line coverage."""
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    soft = blurred(plane(np.clip(1.3 - 0.6 * distance(~edge), 0, 1)), 0.9)
    return plane(np.clip(soft * 1.5, 0, 1))
