"""What all media share: paper, ink, colour strength, scale."""

import numpy as np

from controlnet_mcp.providers.draft import texture
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    blurred,
    distance,
    luminance,
    plane,
    smoothstep,
    stream,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import from_hex, mix
from controlnet_mcp.providers.draft.scene import Scene

PAPER = from_hex("fbf8f0")
"""White drawing paper."""
RICE = from_hex("f5eddb")
"""Rice paper."""
_DARK = 0.14
"""Luminance below which dark lines would not show."""
_TRACE = 0.25
"""Coverage from which a line holds the paint around it still."""


def unit_of(values: Plane) -> float:
    """Pixels that measure one pixel of a 512 px picture."""
    height, width = int(values.shape[0]), int(values.shape[1])
    return max(min(height, width) / 512, 0.25)


def vivid(field: Field, amount: float) -> Field:
    """Multiply the strength of colours."""
    grey = luminance(field)[..., None]
    return plane(np.clip(grey + (field - grey) * amount, 0, 1))


def ink_over(surface: Field, look: Look, dark: float = 0.2, tint: float = 0.35) -> Field:
    """Line colour: the mood's shadow over light places, its light over dark ones, each tinted by what is below."""
    near = blurred(surface, max(26 * unit_of(luminance(surface)), 2.0))
    below = luminance(near)[..., None]
    shadow = plane(np.asarray(mix((0.06, 0.06, 0.09), look.theme.shade, 0.35), dtype=np.float32))
    deep = shadow * (1 - tint) + near * tint * dark
    pale = plane(np.asarray(mix(look.theme.light, look.theme.sky[1], 0.3), dtype=np.float32)) * 0.9 + 0.08
    return plane(np.where(below > _DARK, deep, np.clip(pale, 0, 1)))


def away(scene: Scene, near: float, far: float) -> Plane:
    """0 at lines, 1 well away from them: keeps edges where they are."""
    return smoothstep(distance(scene.lines < _TRACE), near, far)


def deckle(shape: tuple[int, ...], look: Look, width: float) -> Plane:
    """1 inside, falling to 0 at a torn, uneven border of unpainted paper."""
    height, wide = shape[0], shape[1]
    side = min(height, wide)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(wide, dtype=np.float32)[None, :]
    edge = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, wide - 1 - x)) / side
    rough = texture.fbm(height, wide, stream(look.key, "deckle"), max(side / 9, 4), 5)
    return smoothstep(plane(edge + (rough - 0.5) * width * 1.1), width * 0.35, width * 0.75)
