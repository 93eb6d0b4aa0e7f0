"""Gives skeletons a body: a painter's mannequin with head, torso, clothes and a shadow."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.providers.draft import light, scenery
from controlnet_mcp.providers.draft.body import LEGS, SHOES, SKIN, TOP
from controlnet_mcp.providers.draft.bust import bodies
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    Rgb,
    blend,
    blurred,
    grid,
    pieces,
    plane,
    smoothstep,
)
from controlnet_mcp.providers.draft.classes import border_lines
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.objects import MATERIALS
from controlnet_mcp.providers.draft.palette import Colour, mix, shifted
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.skeleton import drawn


def scene_from_skeleton(rgb: Rgb, look: Look) -> Scene:
    """A figure in a setting.

    Args:
        rgb: Pose map or face landmarks on black, at the size of the plan.
        look: The brief.
    """
    height, width = rgb.shape[:2]
    labels, relief = bodies(rgb)
    setting, glow = _setting(look, height, width, labels)
    colour, shade, lines = dressed(setting, labels, relief, look)
    if not bool(np.isin(labels, (TOP, LEGS)).any()):
        marks = blurred(plane(drawn(rgb)), 0.7)
        colour = blend(colour, (0.3, 0.16, 0.14), plane(np.clip(marks, 0, 1) * 0.75))
    figure = plane(labels > 0)
    return Scene(colour, shade, plane(0.35 * (1 - figure)), plane(1 - figure), plane(glow * (1 - figure)), lines)


def dressed(setting: Field, labels: npt.NDArray[np.int32], relief: Plane, look: Look) -> tuple[Field, Plane, Plane]:
    """Put figures before a setting: colours, shading and outlines."""
    height = labels.shape[0]
    figure = np.asarray(labels > 0, dtype=np.bool_)
    feet = _ground_shadow(figure, look)
    setting = blend(setting, look.theme.shade, plane(feet * 0.55))
    table = plane([(0.0, 0.0, 0.0), *_wardrobe(look)])
    colour = plane(np.where(figure[..., None], table[labels], setting))
    shade = plane(light.shaded(blurred(relief, height / 300), look, 1.0) * figure)
    return blurred(colour, 0.7), shade, border_lines(np.asarray(np.where(labels > SHOES, SKIN, labels), dtype=np.int32))


def _wardrobe(look: Look) -> list[Colour]:
    """Colours of skin, hair, top, legs, shoes, eyes and mouth."""
    own = {material.name: material.colours[0] for material in look.materials}
    skins, hairs = MATERIALS["skin"].colours, MATERIALS["hair"].colours
    skin = skins[look.key[3] % len(skins)]
    if "skin" not in own:
        skin = own.get("metal") or own.get("fur") or own.get("scales") or skin
    hair = own.get("hair") or hairs[look.key[4] % len(hairs)]
    top = look.named[0] if look.named else own.get("suit") or own.get("metal") or own.get("cloth") or look.accents[0]
    legs = (
        look.named[1]
        if len(look.named) > 1
        else own.get("suit") or own.get("leather") or shifted(look.accents[2], -0.1, 0.8)
    )
    return [
        skin,
        hair,
        top,
        legs,
        shifted(legs, -0.2, 0.7),
        (0.16, 0.1, 0.1),
        shifted(mix(skin, (0.7, 0.2, 0.2), 0.5), -0.05),
    ]


def _setting(look: Look, height: int, width: int, labels: npt.NDArray[np.int32]) -> tuple[Field, Plane]:
    """Sky and ground outdoors, a studio otherwise; the floor lies where the feet are."""
    rows = np.flatnonzero((labels > 0).any(axis=1))
    foot = float(rows[-1]) / height if rows.size else 0.9
    horizon = float(np.clip(foot - 0.2, 0.45, 0.85))
    y, _ = grid(height, width)
    floor = scenery.ground(look, height, width, horizon)
    if look.setting == "outdoor":
        behind = blurred(scenery.vista(look, height, width, horizon), height / 200)
        edge = smoothstep(plane(y + np.zeros((1, width))), horizon - 0.006, horizon + 0.006)
        return blend(behind, floor, edge), np.zeros((height, width), dtype=np.float32)
    wall = scenery.backdrop(look, height, width)
    if foot > 0.98:  # noqa: PLR2004  # cut off by the frame: no floor to see
        return wall, np.zeros((height, width), dtype=np.float32)
    edge = smoothstep(plane(y + np.zeros((1, width))), horizon - 0.05, horizon + 0.06)
    return blend(wall, floor, plane(edge * 0.6)), np.zeros((height, width), dtype=np.float32)


def _ground_shadow(figure: npt.NDArray[np.bool_], look: Look) -> Plane:
    """An ellipse of shadow under each figure's feet, leaning away from the light."""
    height, width = figure.shape
    shadow = np.zeros((height, width), dtype=np.float32)
    number, _, stats = pieces(figure)
    lowest = int((stats[1:, 1] + stats[1:, 3]).max(initial=0))
    for piece in range(1, number):
        left, top, wide, tall = (int(stats[piece, column]) for column in range(4))
        if top + tall >= height - 1 or top + tall < lowest - 0.15 * height or wide * tall < 0.004 * height * width:
            continue
        centre = (round(left + wide / 2 - look.light[0] * wide * 0.5), round(top + tall - 0.012 * tall))
        cv2.ellipse(shadow, centre, (max(round(wide * 0.75), 1), max(round(tall * 0.035), 1)), 0, 0, 360, 1.0, -1)
    return plane(blurred(shadow, max(height / 90, 1.0)) * ~figure)
