"""Media of the studio: gouache, watercolour, oil, ink, pencil."""

import numpy as np

from controlnet_mcp.providers.draft import texture
from controlnet_mcp.providers.draft.canvas import (
    Field,
    blend,
    blurred,
    gradients,
    luminance,
    plane,
    smoothstep,
    stream,
    warped,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.light import bloomed, lit
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.surface import PAPER, RICE, away, deckle, ink_over, unit_of, vivid

_PALE = 0.3
"""Luminance above which ink is black; below it lines are left open."""


def illustration(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Gouache: soft matt colour with dry-brush traces on paper."""
    unit = unit_of(scene.shade)
    base = lit(scene, look, 0.9)
    brush, _, _ = texture.brushed(luminance(base), stream(look.key, "brush"), 9 * unit)
    height, width = scene.shade.shape
    dry = texture.fbm(height, width, stream(look.key, "dry"), 18 * unit, 3, stretch=5.0) - 0.5
    base = plane(base * (1 + 0.028 * brush + 0.09 * dry)[..., None])
    grain = texture.paper(height, width, stream(look.key, "paper"))
    base = plane(vivid(base, 1.08) + 0.022 * grain[..., None])
    surface = plane(np.clip(bloomed(base, scene, look, 0.6), 0, 1))
    return surface, ink_over(surface, look)


def watercolour(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Transparent pigment: pools, granulation, darker wash edges, white paper around."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    rng = stream(look.key, "water")
    flow = texture.fbm(height, width, rng, 46 * unit, 3)
    cross = texture.fbm(height, width, rng, 46 * unit, 3)
    reach = 16 * unit * away(scene, 2, 14 * unit)
    base = warped(lit(scene, look, 0.75), plane((flow - 0.5) * reach), plane((cross - 0.5) * reach))
    x, y = gradients(luminance(blurred(base, 1.2 * unit)))
    rim = np.clip(blurred(plane(np.hypot(x, y)), 1.5 * unit) * 9 * unit, 0, 0.35)
    pools = texture.fbm(height, width, rng, 120 * unit, 4)
    grain = texture.paper(height, width, stream(look.key, "paper"))
    density = (0.62 + 0.75 * (pools - 0.35) + rim) * (1 + 0.13 * grain)
    density = np.clip(density, 0.18, 1.25) * (0.04 + 0.96 * deckle(base.shape, look, 0.06))
    # Pigment takes light away by Beer's law, so a thick wash turns deep and not grey.
    clear = np.clip(vivid(base, 1.25), 0.02, 1) ** density[..., None]
    surface = plane(np.clip(clear * np.asarray(PAPER, dtype=np.float32) + 0.014 * grain[..., None], 0, 1))
    surface = plane(np.clip(bloomed(surface, scene, look, 0.25), 0, 1))
    return surface, ink_over(surface, look, 0.35, 0.5)


def oil(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Strokes that follow the forms, broken colour, light catching on thick paint."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    base = vivid(lit(scene, look, 1.1), 1.15)
    brush, ux, uy = texture.brushed(luminance(base), stream(look.key, "brush"), 22 * unit)
    reach = 7 * unit * away(scene, 2, 9 * unit)
    base = warped(base, plane(ux * brush * reach), plane(uy * brush * reach))
    hue = texture.fbm(height, width, stream(look.key, "broken"), 30 * unit, 3) - 0.5
    broken = np.stack([hue * 0.06 + brush * 0.042, brush * 0.044, -hue * 0.06 + brush * 0.036], axis=-1)
    x, y = gradients(blurred(brush, 0.7 * unit))
    ridge = -(x * look.light[0] + y * look.light[1]) * 0.28
    weave = texture.canvas_weave(height, width) * 0.012
    surface = plane(base * (1 + broken * 1.5) + np.clip(ridge, -0.1, 0.16)[..., None] + weave[..., None])
    surface = plane(np.clip(bloomed(plane(np.clip(surface, 0, 1)), scene, look, 0.6), 0, 1))
    return surface, ink_over(surface, look, 0.3, 0.45)


def ink(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Black washes and hatching on rice paper with a breath of colour."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    rng = stream(look.key, "ink")
    base = lit(scene, look, 1.2)
    tone = luminance(base)
    pools = texture.fbm(height, width, rng, 70 * unit, 4)
    wash = np.clip((0.82 - blurred(tone, 1.5 * unit)) * 0.95 + (pools - 0.5) * 0.22, 0, 0.72)
    wash = plane(wash * (1 - 0.75 * scene.sky) * deckle(base.shape, look, 0.05))
    colour = blend(RICE, vivid(base, 1.5), 0.3 if look.named else 0.16)
    wobble = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), 9 * unit) * 40 * unit
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    pitch = 2 * np.pi / max(6.5 * unit, 4.0)
    hatch = np.maximum(
        smoothstep(plane(np.sin((x + y + wobble) * 0.7 * pitch)), 0.35, 0.95)
        * smoothstep(plane(-scene.shade), 0.12, 0.5),
        smoothstep(plane(np.sin((x - y + wobble) * 0.7 * pitch)), 0.35, 0.95)
        * smoothstep(plane(-scene.shade), 0.45, 0.8),
    )
    grain = texture.paper(height, width, rng)
    black = np.asarray((0.09, 0.09, 0.12), dtype=np.float32)
    cover = np.clip(wash * (0.75 + 0.1 * grain) + hatch * 0.5, 0, 0.85)
    surface = plane(np.clip(blend(colour, black, plane(cover)) + 0.015 * grain[..., None], 0, 1))
    lines = plane(
        np.where(luminance(blurred(surface, 4 * unit))[..., None] > _PALE, black, np.asarray(RICE, dtype=np.float32))
    )
    return surface, lines


def pencil(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Coloured pencil: strokes that let the paper through, denser in the shadows."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    base = vivid(lit(scene, look, 1.0), 1.2)
    rng = stream(look.key, "pencil")
    length = max(int(26 * unit), 7)
    stroke = texture.strokes(height, width, rng, length, 52)
    second = texture.strokes(height, width, rng, length, 118)
    tooth = texture.paper(height, width, rng)
    dark = 1 - luminance(base)
    press = 0.5 + 0.75 * dark + 0.42 * stroke + 0.3 * second * smoothstep(dark, 0.3, 0.7) + 0.16 * tooth
    cover = plane(np.clip(press, 0.05, 1) * (0.06 + 0.94 * deckle(base.shape, look, 0.07)))
    surface = blend(PAPER, base, cover)
    surface = plane(np.clip(surface + 0.012 * tooth[..., None], 0, 1))
    return surface, ink_over(surface, look, 0.4, 0.3)
