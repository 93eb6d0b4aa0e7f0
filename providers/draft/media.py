"""The media: each takes a scene and gives the painted surface and the colour that its lines would have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from controlnet_mcp.providers.draft import texture
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    blend,
    blurred,
    distance,
    gradients,
    grid,
    luminance,
    plane,
    smoothstep,
    stream,
    warped,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.light import bloomed, lit
from controlnet_mcp.providers.draft.palette import Colour, from_hex, mix, shifted
from controlnet_mcp.providers.draft.scene import Scene

Painter: TypeAlias = Callable[[Scene, Look], tuple[Field, Field]]

_PAPER = from_hex("fbf8f0")
_RICE = from_hex("f5eddb")


@dataclass(frozen=True, slots=True)
class Medium:
    """How a medium works.

    Attributes:
        paint: Scene and look to surface and line colour, both colour fields.
        opacity: How strongly lines cover at conditioning scale 1.
        photo_lines: The same for lines that were found in a given photo, which has its own contrast.
        grain: Strength of the fine grain laid over the finished picture.
    """

    paint: Painter
    opacity: float
    photo_lines: float
    grain: float


def _unit(values: Plane) -> float:
    """Pixels that measure one pixel of a 512 px picture."""
    return max(min(values.shape[:2]) / 512, 0.25)


def _vivid(field: Field, amount: float) -> Field:
    grey = luminance(field)[..., None]
    return plane(np.clip(grey + (field - grey) * amount, 0, 1))


def _ink(surface: Field, look: Look, dark: float = 0.2, tint: float = 0.35) -> Field:
    """Line colour: the mood's shadow over light places, its light over dark ones, each tinted by what is below."""
    near = blurred(surface, max(14 * _unit(luminance(surface)), 2.0))
    below = luminance(near)[..., None]
    shadow = plane(np.asarray(mix((0.06, 0.06, 0.09), look.theme.shade, 0.35), dtype=np.float32))
    deep = shadow * (1 - tint) + near * tint * dark
    pale = plane(np.asarray(mix(look.theme.light, look.theme.sky[1], 0.3), dtype=np.float32)) * 0.9 + 0.08
    return plane(np.where(below > 0.16, deep, np.clip(pale, 0, 1)))


def _away(scene: Scene, near: float, far: float) -> Plane:
    """0 at lines, 1 well away from them: keeps edges where they are."""
    return smoothstep(distance(scene.lines < 0.25), near, far)


def _deckle(shape: tuple[int, ...], look: Look, width: float) -> Plane:
    """1 inside, falling to 0 at a torn, uneven border of unpainted paper."""
    height, wide = shape[0], shape[1]
    side = min(height, wide)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(wide, dtype=np.float32)[None, :]
    edge = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, wide - 1 - x)) / side
    rough = texture.fbm(height, wide, stream(look.key, "deckle"), max(side / 9, 4), 5)
    return smoothstep(plane(edge + (rough - 0.5) * width * 1.1), width * 0.35, width * 0.75)


def illustration(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Gouache: soft matt colour with dry-brush traces on paper."""
    unit = _unit(scene.shade)
    base = lit(scene, look, 0.9)
    brush, _, _ = texture.brushed(luminance(base), stream(look.key, "brush"), 9 * unit)
    dry = texture.fbm(*scene.shade.shape, stream(look.key, "dry"), 18 * unit, 3, stretch=5.0) - 0.5
    base = plane(base * (1 + 0.028 * brush + 0.09 * dry)[..., None])
    grain = texture.paper(*scene.shade.shape, stream(look.key, "paper"))
    base = plane(_vivid(base, 1.08) + 0.022 * grain[..., None])
    surface = plane(np.clip(bloomed(base, scene, look, 0.6), 0, 1))
    return surface, _ink(surface, look)


def watercolour(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Transparent pigment: pools, granulation, darker wash edges, white paper around."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    rng = stream(look.key, "water")
    flow = texture.fbm(height, width, rng, 46 * unit, 3)
    cross = texture.fbm(height, width, rng, 46 * unit, 3)
    reach = 16 * unit * _away(scene, 2, 14 * unit)
    base = warped(lit(scene, look, 0.75), plane((flow - 0.5) * reach), plane((cross - 0.5) * reach))
    x, y = gradients(luminance(blurred(base, 1.2 * unit)))
    rim = np.clip(blurred(plane(np.hypot(x, y)), 1.5 * unit) * 9 * unit, 0, 0.35)
    pools = texture.fbm(height, width, rng, 120 * unit, 4)
    grain = texture.paper(height, width, stream(look.key, "paper"))
    density = (0.62 + 0.75 * (pools - 0.35) + rim) * (1 + 0.13 * grain)
    density = np.clip(density, 0.18, 1.25) * (0.04 + 0.96 * _deckle(base.shape, look, 0.06))
    # Pigment takes light away by Beer's law, so a thick wash turns deep and not grey.
    clear = np.clip(_vivid(base, 1.25), 0.02, 1) ** density[..., None]
    surface = plane(np.clip(clear * np.asarray(_PAPER, dtype=np.float32) + 0.014 * grain[..., None], 0, 1))
    surface = plane(np.clip(bloomed(surface, scene, look, 0.25), 0, 1))
    return surface, _ink(surface, look, 0.35, 0.5)


def oil(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Strokes that follow the forms, broken colour, light catching on thick paint."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    base = _vivid(lit(scene, look, 1.1), 1.15)
    brush, ux, uy = texture.brushed(luminance(base), stream(look.key, "brush"), 22 * unit)
    reach = 7 * unit * _away(scene, 2, 9 * unit)
    base = warped(base, plane(ux * brush * reach), plane(uy * brush * reach))
    hue = texture.fbm(height, width, stream(look.key, "broken"), 30 * unit, 3) - 0.5
    broken = np.stack([hue * 0.06 + brush * 0.042, brush * 0.044, -hue * 0.06 + brush * 0.036], axis=-1)
    x, y = gradients(blurred(brush, 0.7 * unit))
    ridge = -(x * look.light[0] + y * look.light[1]) * 0.28
    weave = texture.canvas_weave(height, width) * 0.012
    surface = plane(base * (1 + broken * 1.5) + np.clip(ridge, -0.1, 0.16)[..., None] + weave[..., None])
    surface = plane(np.clip(bloomed(plane(np.clip(surface, 0, 1)), scene, look, 0.6), 0, 1))
    return surface, _ink(surface, look, 0.3, 0.45)


def ink(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Black washes and hatching on rice paper with a breath of colour."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    rng = stream(look.key, "ink")
    base = lit(scene, look, 1.2)
    tone = luminance(base)
    pools = texture.fbm(height, width, rng, 70 * unit, 4)
    wash = np.clip((0.82 - blurred(tone, 1.5 * unit)) * 0.95 + (pools - 0.5) * 0.22, 0, 0.72)
    wash = plane(wash * (1 - 0.75 * scene.sky) * _deckle(base.shape, look, 0.05))
    colour = blend(
        plane(np.broadcast_to(np.asarray(_RICE, dtype=np.float32), base.shape)),
        _vivid(base, 1.5),
        0.3 if look.named else 0.16,
    )
    wobble = blurred(plane(rng.standard_normal((height, width), dtype=np.float32)), 9 * unit) * 40 * unit
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    pitch = 2 * np.pi / (6.5 * unit if unit > 0.6 else 4.0)
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
        np.where(luminance(blurred(surface, 4 * unit))[..., None] > 0.3, black, np.asarray(_RICE, dtype=np.float32))
    )
    return surface, lines


def pencil(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Coloured pencil: strokes that let the paper through, denser in the shadows."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    base = _vivid(lit(scene, look, 1.0), 1.2)
    rng = stream(look.key, "pencil")
    length = max(int(26 * unit), 7)
    stroke = texture.strokes(height, width, rng, length, 52)
    second = texture.strokes(height, width, rng, length, 118)
    tooth = texture.paper(height, width, rng)
    dark = 1 - luminance(base)
    press = 0.5 + 0.75 * dark + 0.42 * stroke + 0.3 * second * smoothstep(dark, 0.3, 0.7) + 0.16 * tooth
    cover = plane(np.clip(press, 0.05, 1) * (0.06 + 0.94 * _deckle(base.shape, look, 0.07)))
    surface = blend(plane(np.broadcast_to(np.asarray(_PAPER, dtype=np.float32), base.shape)), base, cover)
    surface = plane(np.clip(surface + 0.012 * tooth[..., None], 0, 1))
    return surface, _ink(surface, look, 0.4, 0.3)


def neon(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Tubes of light in a dark room."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    base = lit(scene, look, 1.0)
    vivid = _neon_hues(scene, look)
    haze = texture.fbm(height, width, stream(look.key, "smoke"), 140 * unit, 4)
    night = np.asarray(mix((0.02, 0.015, 0.06), look.theme.shade, 0.22), dtype=np.float32)
    dark = plane(
        night
        + base * 0.13 * (0.6 + 0.8 * haze)[..., None]
        + vivid * (0.05 + 0.1 * np.clip(scene.shade, 0, 1))[..., None]
    )
    tubes = plane(vivid * np.maximum(scene.lines, scene.glow)[..., None])
    # Dense drawings would flood the room with light: the halo is measured against how much line there is.
    load = 1 / (1 + 7 * float(scene.lines.mean()))
    halo = blurred(tubes, 2.2 * unit) * 0.95 + blurred(tubes, 8 * unit) * 1.1 + blurred(tubes, 30 * unit) * 1.1
    surface = plane(1 - (1 - np.clip(dark, 0, 1)) * np.exp(-halo * load * 1.5))
    return plane(np.clip(surface, 0, 1)), plane(np.clip(vivid * 0.62 + 0.42, 0, 1))


def _neon_hues(scene: Scene, look: Look) -> Field:
    """The hue that a tube has at each place: two or three gas colours that drift over the picture."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    first = look.accents[0]
    palette = [shifted(c, 0.1, 1.5) for c in look.named or (first, shifted(first, 0.0, 1.0, 165), look.accents[1])]
    gases: list[Colour] = [mix(c, (1.0, 1.0, 1.0), 0.08) for c in palette[:3]]
    if len(gases) == 1:
        gases.append(shifted(gases[0], 0.05, 1.0, 50))
    drift = texture.fbm(height, width, stream(look.key, "gas"), 260 * unit, 2)
    y, _ = grid(height, width)
    at = np.clip(drift * 1.3 + (y - 0.5) * 0.5 - 0.1, 0, 1)
    stops = np.linspace(0, 1, len(gases))
    hues = plane(np.stack([np.interp(at, stops, [g[c] for g in gases]) for c in range(3)], axis=-1))
    own = _vivid(blurred(scene.colour, 5 * unit), 2.4)
    own = plane(own / np.maximum(own.max(axis=2, keepdims=True), 0.3))
    mixed = blend(hues, own, 0.35)
    return plane(np.clip(mixed / np.maximum(mixed.max(axis=2, keepdims=True), 0.35), 0, 1))


def poster(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Screen print: few flat tones, dots in the shadows."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    base = blurred(_vivid(lit(scene, look, 1.15), 1.25), 1.6 * unit)
    tone = luminance(base)
    steps = 6.0
    flat = (np.floor(tone * steps) + smoothstep(plane(tone * steps % 1), 0.45, 0.55)) / steps
    base = plane(base * (flat / np.maximum(tone, 0.02))[..., None])
    coarse = plane(np.round(base * 14) / 14)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    pitch = 2 * np.pi / max(7 * unit, 4)
    dots = np.sin((x + y) * 0.7071 * pitch) * np.sin((x - y) * 0.7071 * pitch)
    below = smoothstep(plane(-scene.shade), 0.1, 0.9)
    print_dots = smoothstep(plane(dots + below * 1.1), 0.8, 1.0) * (below > 0)
    surface = blend(blend(base, coarse, 0.5), look.theme.shade, plane(print_dots * 0.35))
    surface = plane(np.clip(bloomed(surface, scene, look, 0.15), 0, 1))
    return surface, _ink(surface, look, 0.1, 0.15)


def anime(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Two-tone shading with crisp borders, bright colour, a glowing sky."""
    unit = _unit(scene.shade)
    flat = Scene(scene.colour, scene.shade * 0, scene.far, scene.sky, scene.glow, scene.lines, scene.pictured)
    base = _vivid(lit(flat, look), 1.25)
    shadow = smoothstep(plane(-scene.shade), 0.2, 0.27) * 0.85
    cool = plane(base * (0.5 + 0.5 * np.asarray(shifted(look.theme.shade, 0.15), dtype=np.float32)) * 0.86)
    base = blend(base, cool, shadow)
    base = blend(base, (1.0, 1.0, 0.97), plane(smoothstep(scene.shade, 0.62, 0.7) * 0.28))
    bright = plane(base * smoothstep(luminance(base), 0.72, 1.0)[..., None])
    base = plane(1 - (1 - base) * (1 - 0.35 * blurred(bright, 12 * unit)))
    y, x = grid(*scene.shade.shape)
    ray = np.clip(1 - np.hypot((x - 0.5 - 0.5 * look.light[0]) * 0.9, (y - 0.05)), 0, 1) ** 2
    base = plane(1 - (1 - base) * (1 - (0.2 * ray)[..., None] * np.asarray(look.theme.light, dtype=np.float32)))
    surface = plane(np.clip(bloomed(base, scene, look, 0.7), 0, 1))
    return surface, _ink(surface, look, 0.25, 0.5)


def cinematic(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Strong light, film contrast, warm lights over cool shadows, bloom and vignette."""
    height, width = scene.shade.shape
    unit = _unit(scene.shade)
    base = lit(scene, look, 1.45)
    fine = texture.fbm(height, width, stream(look.key, "matter"), 9 * unit, 3) - 0.5
    base = plane(base * (1 + 0.1 * fine * (1 - scene.sky))[..., None])
    # Fine detail melts into the distance as it does behind a real lens.
    base = blend(base, blurred(base, 3.5 * unit), plane(np.clip(scene.far, 0, 1) * _away(scene, 2, 6 * unit)))
    base = plane(np.clip(base, 0, 1))
    base = plane(base * 0.55 + (base * base * (3 - 2 * base)) * 0.45)
    tone = luminance(base)
    base = blend(
        base, plane(base * np.asarray((1.1, 1.0, 0.86), dtype=np.float32)), plane(smoothstep(tone, 0.4, 0.9) * 0.8)
    )
    base = blend(
        base,
        plane(base * np.asarray((0.8, 1.0, 1.12), dtype=np.float32) + 0.01),
        plane((1 - smoothstep(tone, 0.1, 0.5)) * 0.8),
    )
    bright = plane(base * smoothstep(tone, 0.65, 1.0)[..., None])
    base = plane(1 - (1 - np.clip(base, 0, 1)) * (1 - 0.3 * np.clip(blurred(bright, 16 * unit), 0, 1)))
    y, x = grid(height, width)
    base = plane(base * (1.04 - 0.5 * np.clip(np.hypot(x - 0.5, y - 0.5) - 0.25, 0, 1))[..., None])
    surface = plane(np.clip(bloomed(base, scene, look, 0.9), 0, 1))
    return surface, _ink(surface, look, 0.5, 0.55)


PAINTERS: dict[str, Medium] = {
    "illustration": Medium(illustration, 0.85, 0.35, 0.012),
    "watercolour": Medium(watercolour, 0.72, 0.3, 0.008),
    "oil": Medium(oil, 0.75, 0.1, 0.012),
    "ink": Medium(ink, 0.95, 0.85, 0.012),
    "pencil": Medium(pencil, 0.75, 0.55, 0.02),
    "neon": Medium(neon, 0.95, 0.9, 0.01),
    "poster": Medium(poster, 0.92, 0.5, 0.01),
    "anime": Medium(anime, 0.85, 0.45, 0.004),
    "cinematic": Medium(cinematic, 0.62, 0.0, 0.022),
}
"""Name of `lexicon.MEDIA` to how it is done."""
