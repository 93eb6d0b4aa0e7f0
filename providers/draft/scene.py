"""Makes a scene of each kind of control: local colours, form, distance and light, before any medium.

A line drawing is divided into the regions between its lines; where each lies, and its form, tell what it may be.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Rgb, disc, luminance
from controlnet_mcp.images.modalities import Structure
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Labels,
    Mask,
    Plane,
    along,
    blend,
    blurred,
    distance,
    edges_of,
    fbm,
    gradients,
    grid,
    pieces_of,
    plane,
    smoothstep,
    stream,
    unit_of,
)
from controlnet_mcp.providers.draft.words import WHITE, Look, from_hex, mix, shifted

THING, PART, TRUNK, CROWN, SUN, SKY, GROUND, WIDE, PATH = range(9)
"""Kinds of regions; WIDE is a space that reaches behind everything, PART a window, door, eye or button."""

_LINE, _GAP, _CRUMB = 0.3, 0.012, 0.0004
"""Coverage of a line pixel; share of the shorter side up to which a gap counts as closed; least area of a region."""

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
"""A role, the setting in which it is not found, and limits that its measures lie between; the last that fits wins.

`area` is a share of the picture; `top`, `bottom`, `sides` and `around` are shares of its borders that a region holds;
`y` and `lowest` the heights of its centre and lowest point, 0 to 1; `extent` the share of its bounding box that it
fills, and `slim` the width of that over its height.
"""


def _nowhere() -> Plane:
    return np.zeros((1, 1), dtype=np.float32)


@dataclass(slots=True)
class Scene:
    """A picture before its medium; planes have one size, or one value for everywhere.

    Evenly lit colours; coverage of the lines to keep, 0 to 1; form shading, -1 in shadow to 1 lit; 0 near to 1 far; 1
    where there is sky or a backdrop; 1 where the sun or moon shines; whether the colours are those of a photo.
    """

    colour: Field
    lines: Plane = field(default_factory=_nowhere)
    shade: Plane = field(default_factory=_nowhere)
    far: Plane = field(default_factory=_nowhere)
    sky: Plane = field(default_factory=_nowhere)
    glow: Plane = field(default_factory=_nowhere)
    pictured: bool = field(default=False, kw_only=True)


def _sky(look: Look, height: int, width: int, horizon: float) -> Field:
    """A sky down to `horizon` (share of the height), with the stars or clouds of the mood."""
    theme, (y, _) = look.theme, grid(height, width)
    drift = fbm(height, width, stream(look.key, "sky"), max(height / 4, 8), 4, stretch=2.2)
    down = plane(y / horizon + (drift - 0.5) * 0.22)
    field = along(down, (theme.sky[0], mix(theme.sky[0], theme.sky[1], 0.55), theme.sky[1]))
    if theme.weather == "stars":
        stars, rng, count = np.zeros_like(down), stream(look.key, "stars"), max(height * width // 2600, 12)
        stars[rng.integers(0, height, count), rng.integers(0, width, count)] = rng.random(count) ** 3 + 0.3
        glow = np.clip((stars + 3 * blurred(stars, 0.7 * unit_of(stars))) * (1.3 - down), 0, 1)
        return blend(field, WHITE, plane(glow))
    noise = fbm(height, width, stream(look.key, "clouds"), max(height / 4.5, 8), 5, stretch=2.4)
    white = mix(theme.sky[1], mix(WHITE, theme.light, 0.6), 0.3 if theme.dim else 0.75)
    strength = {"clouds": 0.85, "haze": 0.5, "clear": 0.0}[theme.weather]
    return blend(field, white, plane(smoothstep(noise, 0.52, 0.78) * strength * np.clip(1.35 - y * 1.2, 0, 1)))


def _ground(look: Look, height: int, width: int, horizon: float) -> Field:
    """Ground from `horizon` (share of the height) down to the viewer."""
    far, near = look.theme.ground
    patches = fbm(height, width, stream(look.key, "ground"), max(height / 5, 8), 6, stretch=3.0) - 0.5
    down = plane((grid(height, width)[0] - horizon) / (1 - horizon) + patches * 0.6)
    return along(down, (far, mix(far, near, 0.6), near, shifted(near, -0.05)))


def _wide(look: Look, height: int, width: int, horizon: float = 0.66) -> Field:
    """For a space that reaches from top to bottom: a wall with a pool of light, outdoors a sky, over the ground."""
    y, x = grid(height, width)
    drift = fbm(height, width, stream(look.key, "wide"), max(min(height, width) / 3, 8), 4) - 0.5
    if look.setting == "outdoor":
        behind = _sky(look, height, width, horizon)
    else:
        base = mix(look.theme.sky[1], look.accents[2], 0.22)
        away = np.hypot((x - 0.5 - 0.16 * look.light[0]) * 1.25, (y - 0.4) * 1.1) * 1.25 - 0.1 + drift * 0.4
        edge = mix(look.theme.sky[0], look.theme.shade, 0.25)
        behind = along(plane(away), (mix(base, look.theme.light, 0.45), base, edge))
    floor = smoothstep(plane(y + drift * 0.1), horizon - 0.03, horizon + 0.06)
    return blend(behind, _ground(look, height, width, horizon), plane(floor * 0.8))


def _lit_from(look: Look, x: Plane, y: Plane, gain: float) -> Plane:
    """Light on slopes along x and y: -1 in shadow, 0 flat, 1 lit."""
    return plane(np.tanh(-(x * look.light[0] + y * look.light[1]) * gain))


def _shadowed(colour: Field, solid: Mask, look: Look) -> Field:
    """Soft shadows that solid things throw away from the light."""
    drop = min(solid.shape) * 0.05
    shift = plane([[1, 0, -look.light[0] * drop], [0, 1, max(-look.light[1], 0.25) * drop * 0.5]])
    moved = plane(cv2.warpAffine(solid.astype(np.float32), shift, solid.shape[::-1]))
    return blend(colour, look.theme.shade, plane(blurred(moved, max(drop * 0.4, 1.0)) * ~solid * 0.42))


def _outlines(edge: Mask) -> Plane:
    """Thin lines along edges, as line coverage."""
    return plane(np.clip(blurred(plane(np.clip(1.3 - 0.6 * distance(~edge), 0, 1)), 0.9) * 1.5, 0, 1))


def from_lines(lines: Plane, look: Look) -> Scene:
    """Find, name and colour the regions of a drawing; lines that divide nothing give a picture of the mood."""
    ink = np.asarray(lines > _LINE, dtype=np.uint8)
    radius = max(round(min(lines.shape) * _GAP / 2), 1)
    parts, stats, centres = pieces_of(np.equal(cv2.morphologyEx(ink, cv2.MORPH_CLOSE, disc(radius)), 0))
    kept = stats[:, cv2.CC_STAT_AREA] > _CRUMB * ink.size
    kept[0] = False
    if int(kept.sum()) <= 1:
        return Scene(_wide(look, *lines.shape), lines)
    known = kept[parts]
    unknown = np.asarray(~known, dtype=np.uint8)
    found = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)[1]
    nearest: Labels = np.asarray(found, dtype=np.int32)
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)  # a pixel of a line belongs to the region nearest to it
    owner[nearest[known]] = (np.cumsum(kept) - 1)[parts[known]]
    labels: Labels = np.asarray(owner[nearest], dtype=np.int32)

    _, above, wide, tall, area = stats[kept].T
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    top, bottom, left, right = (np.bincount(side, minlength=len(area)) / side.size for side in sides)
    measures = {
        "area": area / labels.size,
        "top": top,
        "bottom": bottom,
        "sides": left + right,
        "around": top + bottom + left + right,
        "y": centres[kept, 1] / len(labels),
        "lowest": (above + tall) / len(labels),
        "extent": area / (tall * wide),
        "slim": wide / tall,
    }
    role = np.full(area.size, THING, dtype=np.int64)
    for kind, not_in, limits in _RULES:
        fits = [(measures[name] >= low) & (measures[name] <= high) for name, (low, high) in limits.items()]
        if look.setting != not_in:
            role[np.all(fits, axis=0)] = kind
    if (role < SKY).all():
        role[int(measures["around"].argmax())] = WIDE

    theme = look.theme
    colours = np.tile(np.asarray(mix(theme.ground[0], theme.foliage, 0.3)), (role.size, 1))
    colours[role == PATH] = mix(theme.ground[0], (0.9, 0.8, 0.65), 0.7)
    colours[role == SUN] = mix(theme.light, (1.0, 0.82, 0.35), 0.1 if theme.weather == "stars" else 0.7)
    colours[role == CROWN] = theme.foliage
    colours[role == TRUNK] = mix((0.5, 0.34, 0.2), theme.shade, 0.2)
    colours[role == PART] = (1.0, 0.84, 0.48) if theme.dim else mix(theme.sky[0], WHITE, 0.4)
    things = [index for index in np.argsort(-area, kind="stable").tolist() if role[index] == THING]
    for rank, index in enumerate(things):  # the largest first, so that it has the colour that the words name
        colours[index] = look.accents[rank % len(look.accents)]
    return _painted(labels, role, colours, lines, look)


def _painted(
    labels: Labels, role: npt.NDArray[np.int64], colours: npt.NDArray[np.floating], lines: Plane, look: Look
) -> Scene:
    """Colour and light regions: skies and grounds behind, things that swell and throw shadows before them.

    `labels` has the number of each pixel's region; `role` and `colours` say by that number what it is and its colour.
    """
    (height, width), at = lines.shape, role[labels]
    y, _ = grid(height, width)
    drift = fbm(height, width, stream(look.key, "drift"), max(height / 5, 8), 5) - 0.5
    colour = plane(colours[labels]) * (1 + 0.25 * drift)[..., None]
    ground, thing = at == GROUND, np.asarray(at < SUN, dtype=np.bool_)
    rows = np.flatnonzero(ground.any(axis=1))
    horizon = float(np.clip(rows[0] / height, 0.3, 0.85)) if rows.size else 0.66
    colour = np.where((at == SKY)[..., None], _sky(look, height, width, horizon), colour)
    colour = np.where(ground[..., None], blend(_ground(look, height, width, horizon), colour, 0.5), colour)
    colour = np.where((at == WIDE)[..., None], _wide(look, height, width), colour)
    reach = min(height, width) * 0.11
    inside = np.minimum(distance(~edges_of(labels) & thing), reach)
    swelling = blurred(plane(np.sqrt(inside * (2 * reach - inside))), min(height, width) / 90)
    return Scene(
        colour=blurred(_shadowed(plane(np.clip(colour, 0, 1)), thing, look), 0.8),
        lines=lines,
        shade=_lit_from(look, *gradients(swelling), 0.75),
        far=plane(np.clip(1 - (y - horizon) / (1 - horizon) * 1.6, 0, 1) * ground),
        sky=plane((at == SKY) | (at == WIDE)),
        glow=plane((at == SUN) * 0.9),
    )


def from_relief(rgb: Rgb, look: Look) -> Scene:
    """Objects between the breaks of a depth or normal map; `form` adds how they are modelled."""
    slopes = np.hypot(*gradients(blurred(plane(rgb.astype(np.float32) / 255), 1.0)))
    return from_lines(smoothstep(plane(np.linalg.norm(slopes, axis=2)), 0.04, 0.09), look)


def form(rgb: Rgb, structure: Structure, look: Look) -> tuple[Plane, Plane]:
    """Shading of a normal map (red right, green up, blue to the viewer) or depth map (near is bright), and distance."""
    if structure == "normal":
        right, up, towards = cv2.split(plane(rgb.astype(np.float32) / 127.5 - 1))
        return plane(_lit_from(look, plane(-right), plane(up), 1.25) + 0.5 * (towards - 1)), _nowhere()
    depth = plane(rgb.max(axis=2))
    depth = plane((depth - depth.min()) / max(float(np.ptp(depth)), 12.0))
    slopes = gradients(blurred(depth, max(min(depth.shape) / 220, 1.2)))
    usual = float(np.percentile(np.hypot(*slopes), 80)) * 2 + 0.003  # slopes count against the map's own
    return _lit_from(look, *slopes, 1.1 / usual), plane(np.clip(1.05 - depth * 1.3, 0, 1))


_CLASSES = """
120 120 120 thing d9cbb5  180 120 120 thing c98f6a  6 230 230 sky ffffff  80 50 50 ground a9825c  4 200 3 leaf 5f9a45
140 140 140 ground a3a0a2  230 230 230 still bfdcea  4 250 7 ground 86b256  150 5 61 thing d9946f
120 120 70 ground ab8360  8 255 51 still 8a5a38  255 6 82 still a8743f  143 255 140 still 8896a8
204 255 4 leaf 5f9a45  204 70 3 still a5673f  0 102 200 thing c4463c  61 230 250 ground 6aaec8
11 102 255 thing 6a7f9a  9 7 230 ground 4f9fc0  112 9 255 ground a5c267  255 41 10 still 9a948a
160 150 20 ground ead2a0  11 200 200 ground 5fa8c4  255 0 0 thing e2637f  255 102 0 still 8fa86a
"""
"""Red, green and blue of the common ADE20K classes (as MMSegmentation and the ControlNet annotators paint them), what
kind of surface each is (a named colour dyes a thing, not what stands still), and its colour."""


def from_classes(rgb: Rgb, look: Look) -> Scene:
    """Paint each class of a segmentation map in its material; colours of no class take accents."""
    cells, others = _CLASSES.split(), len(look.accents)
    keys = np.asarray([cells[start::5] for start in range(3)], dtype=np.float32).T
    values, where = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    off = np.linalg.norm(values[:, None].astype(np.float32) - keys, axis=2)
    unknown = len(keys) + values.sum(axis=1, dtype=np.int64) // 40 % others
    nearest = np.asarray(np.where(np.less(off.min(axis=1), 40), off.argmin(axis=1), unknown), dtype=np.uint8)
    classes: npt.NDArray[np.uint8] = nearest[where].reshape(rgb.shape[:2])
    used, numbers = np.unique(np.asarray(cv2.medianBlur(classes, 5), np.uint8), return_inverse=True)
    labels = np.asarray(numbers.reshape(classes.shape), dtype=np.int32)
    kinds = np.asarray([*cells[3::5], *["thing"] * others])[used]
    paint = plane([*map(from_hex, cells[4::5]), *look.accents])[used]
    paint[kinds == "leaf"] = blend(paint[kinds == "leaf"], look.theme.foliage, 0.6)
    if look.named:
        paint[kinds == "thing"] = blend(paint[kinds == "thing"], look.named[0], 0.7)
    role = np.select([kinds == "sky", kinds == "ground"], [SKY, GROUND], THING)
    return _painted(labels, role, paint, _outlines(edges_of(labels)), look)


_BODY = (((8, 11, 7, 10), 0.1, "legs"), ((3, 5), 0.065, "skin"), ((2, 4), 0.085, "top"), ((0, 1, 6, 9), 0.15, "top"))
"""Limbs of an OpenPose map (limb `i` has hue 20 degrees times `i`), the radius of the body around them, its colour."""


def peopled(rgb: Rgb, look: Look, scene: Scene | None = None) -> Scene:
    """Stand mannequins where a pose map has skeletons, in a scene or in a setting of their own.

    A body is what lies within a radius of its limbs; landmarks without a body are a face.
    """
    rows, columns = rgb.shape[:2]
    hsv, ink = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), dtype=np.int32), np.greater(rgb.max(axis=2), 40)
    limb_of = np.where(ink & np.greater(hsv[..., 1], 150), (hsv[..., 0] * 2 + 10) // 20 % 18, -1)  # blends are paler
    paints = {
        "skin": mix((0.95, 0.79, 0.66), (0.56, 0.39, 0.28), look.key[3] / 255),
        "hair": mix((0.2, 0.14, 0.12), (0.66, 0.46, 0.26), look.key[4] / 255),
        "top": look.accents[0],
        "legs": look.named[1] if look.named[1:] else shifted(look.theme.accents[2], -0.1, 0.8),
    }
    height, paint = np.zeros((rows, columns), dtype=np.float32), np.zeros((rows, columns, 3), dtype=np.float32)

    def stamp(core: Mask, radius: float, colour: str) -> None:
        """Lay a rounded form of some radius around a core over what is there."""
        off = distance(~core) if core.any() else np.full(core.shape, np.inf)
        inside = off < radius
        height[inside], paint[inside] = np.sqrt(radius**2 - off[inside] ** 2), paints[colour]

    trunk, neck = _limbs(limb_of, (0, 1, 6, 9)), _limbs(limb_of, (12,))
    unit = float(pieces_of(trunk)[1][1:, cv2.CC_STAT_HEIGHT].max(initial=0))
    for limbs, radius, colour in _BODY if unit else ():
        stamp(_limbs(limb_of, limbs), radius * unit, colour)
    stamp(neck, 0.09 * unit, "skin")
    off = distance(~trunk)
    head = neck & (off > 0.9 * off[neck].max(initial=0)) if unit else ink
    unit = unit or float(np.ptp(np.argwhere(ink), axis=0).min()) if ink.any() else 0.0
    stamp(head, 0.25 * unit, "hair")
    lower = round(0.1 * unit)
    stamp(np.vstack([np.zeros_like(head[:lower]), head[: rows - lower]]), 0.2 * unit, "skin")
    paint[ink & ~trunk.any()] = (0.2, 0.1, 0.1)
    there = np.asarray(height > 0, dtype=np.bool_)
    foot = float(np.flatnonzero(there.any(axis=1))[-1]) / rows if there.any() else 0.9
    scene = scene or Scene(_wide(look, rows, columns, float(np.clip(foot - 0.2, 0.45, 0.85))))
    scene.colour = blurred(plane(np.where(there[..., None], paint, _shadowed(scene.colour, there, look))), 0.7)
    scene.shade = plane(np.where(there, _lit_from(look, *gradients(blurred(height, rows / 300)), 0.9), scene.shade))
    scene.far, scene.sky = plane(np.where(there, 0, scene.far)), plane(np.where(there, 0, scene.sky))
    borders = edges_of((paint @ plane((1000, 100, 10))).astype(np.int32))
    scene.lines = plane(np.maximum(scene.lines * np.where(there, 0.4, 1), _outlines(borders)))
    return scene


def _limbs(limb_of: Labels, limbs: tuple[int, ...]) -> Mask:
    """Where some limbs are: the large pieces of their colours, since joints share the colours of limbs."""
    found = np.zeros(limb_of.shape, dtype=np.bool_)
    for limb in limbs:
        pieces, stats, _ = pieces_of(np.equal(limb_of, limb))
        areas = stats[1:, cv2.CC_STAT_AREA]
        found |= np.isin(pieces, 1 + np.flatnonzero(areas > 0.3 * areas.max(initial=0)))
    return found


def from_photo(rgb: Rgb, look: Look, modality: str) -> Scene:
    """A photo in its own colours, simplified, with its own contours as lines; a mood that the words name tints it."""
    unit, theme = unit_of(rgb), look.theme
    if modality in {"blur", "low-quality", "tile"}:
        soft = cv2.GaussianBlur(rgb, (0, 0), (4 if modality == "blur" else 2) * unit)
        rgb = np.asarray(cv2.addWeighted(rgb, 1.8, soft, -0.8, 0), dtype=np.uint8)
    smooth = cv2.edgePreservingFilter(rgb, flags=cv2.RECURS_FILTER, sigma_s=24 * unit, sigma_r=0.3)
    colour = plane(np.asarray(smooth, dtype=np.float32) / 255)
    grey = float(colour.max(axis=2).mean() - colour.min(axis=2).mean()) < 0.03  # noqa: PLR2004  # no colours of its own
    toned = grey or modality in {"gray", "illusion"}
    if modality == "illusion":  # a land whose light and dark follow the pattern
        crowns = fbm(rgb.shape[0], rgb.shape[1], stream(look.key, "land"), 70 * unit, 6)
        colour = plane(np.clip(0.68 * blurred(colour, 3 * unit) + 0.8 * (crowns - 0.3)[..., None], 0, 1))
    tone = luminance(colour)
    if look.moody or toned:  # the picture's light, with the mood's colours along it from shadow to light
        middle = look.named[0] if look.named else mix(look.accents[0], theme.foliage, 0.3)
        lab = cv2.cvtColor(along(tone, (theme.shade, middle, theme.light)), cv2.COLOR_RGB2Lab)
        lab[..., 0] = cv2.cvtColor(colour, cv2.COLOR_RGB2Lab)[..., 0]
        share = 0.9 if toned or theme.name == "monochrome" else 0.25
        colour = blend(colour, np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1), share)
    dip = blurred(tone, 2.1 * unit) - blurred(tone, 1.3 * unit)
    return Scene(colour, smoothstep(plane(dip * 9), 0.12, 0.5), pictured=True)
