"""Loose colour for drawings with open contours, such as edges of a photo: the subject is where the lines are."""

import numpy as np

from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    along,
    blend,
    blurred,
    grid,
    plane,
    resized,
    smoothstep,
    stream,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.light import shaded
from controlnet_mcp.providers.draft.objects import Material
from controlnet_mcp.providers.draft.palette import Colour, mix, shifted
from controlnet_mcp.providers.draft.scene import Places
from controlnet_mcp.providers.draft.texture import fbm


def washed(colour: Field, lines: Plane, look: Look, where: Places) -> Field:
    """Lay the subject's materials over what is behind it, as soft as the drawing is vague.

    Args:
        colour: What is there already.
        lines: Line coverage, 0 to 1.
        look: The brief.
        where: Sky, ground and backdrop.
    """
    height, width = lines.shape
    there = _subject(lines)
    behind = blend(colour, blurred(colour, min(height, width) / 12), plane(0.8 * where.backdrop))
    return blend(behind, _stacked(look, there), plane(there * 0.9))


def _subject(lines: Plane) -> Plane:
    """How much a place belongs to the subject: near many lines, and between them."""
    height, width = lines.shape
    side = min(height, width)
    small = resized(lines, max(width // 4, 1), max(height // 4, 1))
    near = blurred(small, side / 4 / 14)
    broad = blurred(small, side / 4 / 6)
    widest = blurred(small, side / 4 / 3.2)
    scales = ((near, 88, 0.45), (broad, 80, 0.4), (widest, 75, 0.35))
    parts = [weight * part / (float(np.percentile(part, share)) + 1e-4) for part, share, weight in scales]
    density = np.sum(parts, axis=0)
    return resized(smoothstep(plane(density), 0.22, 0.75), width, height)


def _stacked(look: Look, there: Plane) -> Field:
    """The subject's colours from top to bottom of where it is, their borders wandering."""
    height, width = there.shape
    y, x = grid(height, width)
    mass = np.maximum(there, 1e-3)
    rows = np.cumsum(np.asarray(mass.sum(axis=1), dtype=np.float64))
    top, bottom = (float(np.searchsorted(rows, float(rows[-1]) * share)) / height for share in (0.04, 0.96))
    drift = fbm(height, width, stream(look.key, "wash"), max(min(height, width) / 3.5, 8), 4) - 0.5
    at = np.clip((y - top) / max(bottom - top, 0.2) + drift * 0.45 + (x - 0.5) * 0.1, 0, 1)
    stops, colours = _stops(look)
    field = along(plane(at), colours, stops)
    return plane(np.clip(field * (1 + 0.3 * drift)[..., None], 0, 1))


def _stops(look: Look) -> tuple[list[float], list[Colour]]:
    """Where along the subject each colour is at its purest, 0 top to 1 bottom."""
    things: list[Material] = sorted((m for m in look.materials if m.place == "thing"), key=lambda m: m.rise)
    if look.named:
        family = [*look.named, shifted(look.named[0], -0.1), mix(look.named[0], look.theme.light, 0.5)]
    elif things:
        shades = 1 if things[2:] else 2
        family = [colour for material in things for colour in material.colours[:shades]]
    else:
        family = [look.accents[1], look.accents[0], look.accents[2], mix(look.accents[3], look.theme.light, 0.3)]
    family = [mix(colour, look.theme.light, 0.12) for colour in family]
    if len(family) == 1:
        family.append(shifted(family[0], -0.08))
    return np.linspace(0.02, 0.98, len(family)).tolist(), family


def implied(lines: Plane, look: Look) -> tuple[Plane, Plane]:
    """Form that open lines only hint at.

    Args:
        lines: Line coverage, 0 to 1.
        look: The brief.

    Returns:
        How dense the lines are (0 to 1: hair, fur, leaves), and shading as if the subject swelled towards the viewer.
    """
    side = min(lines.shape)
    dense = smoothstep(blurred(lines, side / 75), 0.1, 0.36)
    there = _subject(lines)
    swell = blurred(there, side / 16) * np.float32(side * 0.5) + blurred(dense, side / 60) * np.float32(side * 0.03)
    return dense, shaded(plane(swell), look)
