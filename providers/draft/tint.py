"""Colours a grey picture by hand."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    grid,
    luminance,
    plane,
    smoothstep,
)
from controlnet_mcp.providers.draft.filters import guided
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import Colour, mix, to_oklch
from controlnet_mcp.providers.draft.photo import restyled
from controlnet_mcp.providers.draft.scene import Scene


def tinted(field: Field, look: Look) -> Scene:
    """Colour a grey picture by hand: scribbles of colour chosen by brightness and place, spread along its tones."""
    tone = luminance(field)
    height, width = tone.shape
    grey = plane(np.repeat(tone[..., None], 3, axis=2))
    soft = guided(grey, tone, max(min(height, width) // 24, 2), 0.02)[..., 0]
    chroma = _chroma(plane(soft), look)
    lab_tone = plane(cv2.cvtColor(grey, cv2.COLOR_RGB2Lab))[..., 0]
    strength = smoothstep(tone, 0.02, 0.3) * (1 - 0.75 * smoothstep(tone, 0.82, 1.0))
    spread = (
        guided(plane(np.dstack([chroma, chroma[..., :1]]) / 100), tone, max(min(height, width) // 40, 2), 0.004) * 100
    )
    lab = plane(np.dstack([lab_tone, spread[..., 0] * strength, spread[..., 1] * strength]))
    colour = plane(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1))
    scene = restyled(field, look, "gray")
    scene.colour = colour
    return scene


def _chroma(tone: Plane, look: Look) -> Plane:
    """Lab a and b for each pixel: anchors of (brightness, height, distance from the middle), each with a colour."""
    height, width = tone.shape
    y, x = grid(height, width)
    aside = plane(np.hypot((x - 0.5) * 1.2, y - 0.5))
    total = np.zeros((height, width, 2), dtype=np.float32)
    weights = np.full((height, width), 1e-6, dtype=np.float32)
    for (light, place, middle), colour, gain in _anchors(look):
        off = ((tone - light) / 0.2) ** 2 + ((y - place) / 0.42) ** 2 + ((aside - middle) / 0.38) ** 2
        weight = plane(np.exp(-2.0 * off) * gain + 1e-5)
        lab = plane(cv2.cvtColor(plane([[colour]]), cv2.COLOR_RGB2Lab))[0, 0]
        total += weight[..., None] * lab[1:]
        weights += weight
    return plane(total / weights[..., None] * 1.25)


def _anchors(look: Look) -> list[tuple[tuple[float, float, float], Colour, float]]:
    """Where each colour belongs: brightness, height (0 top), distance from the middle; and how strongly it pulls."""
    theme = look.theme
    behind = theme.sky[0] if look.setting != "indoor" else mix(look.accents[2], theme.sky[0], 0.5)
    found: list[tuple[tuple[float, float, float], Colour, float]] = [
        ((0.75, 0.05, 0.55), behind, 1.0),
        ((0.45, 0.1, 0.6), behind, 0.8),
        ((0.12, 0.6, 0.4), theme.shade, 0.8),
        ((0.45, 0.95, 0.55), theme.ground[1], 1.0),
        ((0.85, 0.55, 0.2), theme.light, 0.5),
        ((0.5, 0.85, 0.2), look.accents[0], 0.9),
    ]
    for rank, material in enumerate(m for m in look.materials if m.place != "ground"):
        lightness = to_oklch(material.colours[0])[0]
        outside = material.name in {"foliage", "wood", "stone", "brick", "wall"}
        place = (lightness - 0.05, 0.7 if outside else material.rise, 0.6 if outside else 0.12)
        found.append((place, material.colours[0], 2.0 if rank == 0 else 1.2))
    if not look.materials:
        found.append(((0.6, 0.45, 0.1), mix(look.accents[1], theme.light, 0.3), 1.0))
    for rank, colour in enumerate(look.named[:3]):
        found.append(((to_oklch(colour)[0] - 0.1, 0.65 - 0.2 * rank, 0.25), colour, 1.8))
    return found
