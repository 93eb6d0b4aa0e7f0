"""Light on forms: relief from regions, shading from relief, cast shadows, haze, mood."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import (
    Field,
    Labels,
    Mask,
    Plane,
    blend,
    blurred,
    distance,
    gradients,
    luminance,
    plane,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.scene import Scene


def inflated(labels: Labels, things: Mask) -> Plane:
    """Swell every region that is a thing like a cushion; height in pixels."""
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    reach = min(labels.shape) * 0.11
    inside = np.minimum(distance(~(edge | ~things)), reach)
    return blurred(plane(np.sqrt(inside * (2 * reach - inside))), min(labels.shape) / 90)


def shaded(relief: Plane, look: Look, strength: float = 1.0) -> Plane:
    """Light a relief (height in pixels) from the look's side: -1 to 1, flat is 0."""
    x, y = gradients(relief)
    x_light, y_light = look.light
    return plane(np.tanh(-(x * x_light + y * y_light) * strength * 0.9))


def cast(things: Mask, look: Look, drop: float) -> Plane:
    """Soft shadow that things throw away from the light, 0 to 1; `drop` in pixels."""
    x_light, y_light = look.light
    shift = np.array([[1, 0, -x_light * drop], [0, 1, max(-y_light, 0.25) * drop * 0.5]], dtype=np.float32)
    height, width = things.shape
    moved = plane(cv2.warpAffine(things.astype(np.float32), shift, (width, height)))
    return plane(blurred(moved, max(drop * 0.4, 1.0)) * (1 - things))


def lit(scene: Scene, look: Look, strength: float = 1.0) -> Field:
    """Local colours under the mood's light: warm lights, coloured shadows, haze in the distance, dimmed at night."""
    theme = look.theme
    shade = scene.shade * strength
    colour = scene.colour
    shadow = plane(np.asarray(theme.shade, dtype=np.float32))
    dark = plane(colour * (0.45 + 0.55 * shadow) * 0.78 + shadow * 0.04)
    colour = blend(colour, dark, plane(np.clip(-shade, 0, 1) * 0.8))
    light = plane(1 - (1 - colour) * (1 - 0.45 * np.asarray(theme.light, dtype=np.float32)))
    colour = blend(colour, light, plane(np.clip(shade, 0, 1) * 0.75))
    haze = 0.55 if theme.weather == "haze" else 0.38
    colour = blend(colour, theme.sky[1], plane(np.clip(scene.far, 0, 1) * haze * (1 - scene.sky)))
    if theme.dim:
        colour = dimmed(colour, look, scene)
    return colour


def dimmed(colour: Field, look: Look, scene: Scene) -> Field:
    """Pull everything but sky and what shines towards night."""
    theme = look.theme
    grey = luminance(colour)[..., None]
    shade = np.asarray(theme.shade, dtype=np.float32)
    night = plane((colour * 0.7 + grey * 0.3) * (0.5 + shade * 0.9) * 0.82 + shade * 0.1)
    amount = theme.dim * 1.35 * (1 - 0.85 * scene.sky) * (1 - scene.glow)
    return blend(colour, night, plane(np.clip(amount, 0, 0.92)))


def bloomed(colour: Field, scene: Scene, look: Look, strength: float) -> Field:
    """Let what shines spill its light around."""
    if not bool(scene.glow.any()):
        return colour
    spread = min(scene.glow.shape) / 22
    halo = np.clip(blurred(scene.glow, spread) * 1.2 + blurred(scene.glow, spread * 3) * 1.4, 0, 1)
    light = np.asarray(look.theme.light, dtype=np.float32)
    return plane(1 - (1 - np.clip(colour, 0, 1)) * (1 - halo[..., None] * light * strength))
