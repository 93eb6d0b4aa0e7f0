"""The media: how each turns a scene into a painted surface and the colour of the lines on it."""

from collections.abc import Callable

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    along,
    blend,
    blurred,
    distance,
    fbm,
    gradients,
    grid,
    luminance,
    paper,
    plane,
    smoothstep,
    stream,
    unit_of,
    vivid,
)
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.words import Look, from_hex, mix, shifted

_PAPER, _RICE, _BLACK = (plane(from_hex(code)) for code in ("fbf8f0", "f5eddb", "17171f"))


def _lit(scene: Scene, look: Look, strength: float = 1.0) -> Field:
    """Local colours under the mood's light: warm lights, coloured shadows, haze in the distance, dimmed at night."""
    theme, shade, dusk = look.theme, scene.shade * strength, plane(look.theme.shade)
    dark = plane(scene.colour * (0.45 + 0.55 * dusk) * 0.78 + dusk * 0.04)
    colour = blend(scene.colour, dark, plane(np.clip(-shade, 0, 1) * 0.8))
    light = plane(1 - (1 - colour) * (1 - 0.45 * plane(theme.light)))
    colour = blend(colour, light, plane(np.clip(shade, 0, 1) * 0.75))
    haze = (0.55 if theme.weather == "haze" else 0.38) * scene.far * (1 - scene.sky)
    colour = blend(colour, theme.sky[1], plane(haze))
    if theme.dim:
        night = plane((colour * 0.7 + luminance(colour)[..., None] * 0.3) * (0.5 + dusk * 0.9) * 0.82 + dusk * 0.1)
        colour = blend(colour, night, plane(theme.dim * 1.35 * (1 - 0.85 * scene.sky) * (1 - scene.glow)))
    return colour


def _ink_over(surface: Field, look: Look, dark: float, tint: float) -> Field:
    """Line colour: the mood's shadow over light places, its light over dark ones, each tinted by what is below."""
    near = blurred(surface, max(26 * unit_of(surface), 2.0))
    deep = plane(mix((0.06, 0.06, 0.09), look.theme.shade, 0.35)) * (1 - tint) + near * tint * dark
    pale = plane(mix(look.theme.light, look.theme.sky[1], 0.3)) * 0.9 + 0.08
    unseen = np.less(luminance(near)[..., None], 0.14)  # dark lines would not show
    return plane(np.clip(np.where(unseen, pale, deep), 0, 1))


def _deckle(height: int, width: int, look: Look, depth: float) -> Plane:
    """1 inside, falling to 0 at a torn, uneven border of unpainted paper."""
    y, x = (np.minimum(at, 1 - at) for at in grid(height, width))
    edge = np.minimum(y * height, x * width) / min(height, width)
    rough = fbm(height, width, stream(look.key, "deckle"), max(min(height, width) / 9, 4), 5)
    return smoothstep(plane(edge + (rough - 0.5) * depth * 1.1), depth * 0.35, depth * 0.75)


def illustration(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Gouache: soft matt colour with dry-brush traces on paper."""
    (height, width), unit = scene.shade.shape, unit_of(scene.shade)
    dry = fbm(height, width, stream(look.key, "dry"), 18 * unit, 3, stretch=5.0) - 0.5
    grain = paper(height, width, stream(look.key, "paper"))
    base = vivid(plane(_lit(scene, look, 0.9) * (1 + 0.12 * dry)[..., None]), 1.08)
    surface = plane(np.clip(base + 0.022 * grain[..., None], 0, 1))
    return surface, _ink_over(surface, look, 0.2, 0.35)


def watercolour(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Transparent pigment: pools, granulation, darker wash edges, white paper around."""
    (height, width), unit, rng = scene.shade.shape, unit_of(scene.shade), stream(look.key, "water")
    flow, cross = (fbm(height, width, rng, 46 * unit, 3) - 0.5 for _ in range(2))
    held = smoothstep(distance(np.less(scene.lines, 0.25)), 2, 14 * unit)  # lines hold the paint around them
    reach = (6 if scene.pictured else 16) * unit * held
    down, across = np.indices((height, width), dtype=np.float32)
    lit, reflect = _lit(scene, look, 0.75), cv2.BORDER_REFLECT
    base = plane(cv2.remap(lit, across + flow * reach, down + cross * reach, cv2.INTER_LINEAR, borderMode=reflect))
    slope = plane(np.hypot(*gradients(luminance(blurred(base, 1.2 * unit)))))
    rim = np.clip(blurred(slope, 1.5 * unit) * 9 * unit, 0, 0.35)
    pools, grain = fbm(height, width, rng, 120 * unit), paper(height, width, rng)
    density = np.clip((0.62 + 0.75 * (pools - 0.35) + rim) * (1 + 0.13 * grain), 0.18, 1.25)
    density *= 0.04 + 0.96 * _deckle(height, width, look, 0.06)
    # Pigment takes light away by Beer's law, so a thick wash turns deep and not grey.
    clear = np.clip(vivid(base, 1.25), 0.02, 1) ** density[..., None]
    surface = plane(np.clip(clear * _PAPER + 0.014 * grain[..., None], 0, 1))
    return surface, _ink_over(surface, look, 0.35, 0.5)


def ink(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Black washes and hatching on rice paper with a breath of colour."""
    (height, width), unit, rng = scene.shade.shape, unit_of(scene.shade), stream(look.key, "ink")
    base, grain = _lit(scene, look, 1.2), paper(height, width, rng)
    tone = blurred(luminance(base), 1.5 * unit)
    wash = (0.82 - tone) * 0.95 + (fbm(height, width, rng, 70 * unit) - 0.5) * 0.22
    wash = np.clip(wash, 0, 0.72) * (1 - 0.75 * scene.sky) * _deckle(height, width, look, 0.05)
    wobble = blurred(rng.standard_normal((height, width), dtype=np.float32), 9 * unit) * 40 * unit
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    dark, pitch = plane((0.62 - tone) * 1.6 if scene.pictured else -scene.shade), 1.4 * np.pi / max(6.5 * unit, 4.0)
    strokes = [smoothstep(plane(np.sin((across + wobble) * pitch)), 0.35, 0.95) for across in (x + y, x - y)]
    hatch = np.maximum(strokes[0] * smoothstep(dark, 0.12, 0.5), strokes[1] * smoothstep(dark, 0.45, 0.8))
    colour = blend(_RICE, vivid(base, 1.5), 0.3 if look.named else 0.16)
    cover = plane(np.clip(wash * (0.75 + 0.1 * grain) + hatch * 0.5, 0, 0.85))
    surface = plane(np.clip(blend(colour, _BLACK, cover) + 0.015 * grain[..., None], 0, 1))
    light = np.greater(luminance(blurred(surface, 4 * unit))[..., None], 0.3)  # in the dark lines are left open
    return surface, plane(np.where(light, _BLACK, _RICE))


def neon(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Tubes of light in a dark room, of two or three gas colours that drift over the picture."""
    (height, width), unit, first = scene.shade.shape, unit_of(scene.shade), look.accents[0]
    gases = look.named[:3] if look.named[1:] else (first, shifted(first, 0.0, 1.0, 110), look.accents[1])
    drift = fbm(height, width, stream(look.key, "gas"), 260 * unit, 2) * 1.3 + grid(height, width)[0] * 0.5 - 0.35
    hues = along(plane(drift), [shifted(colour, 0.05, 3.0) for colour in gases])
    hues = blend(hues, vivid(blurred(scene.colour, 5 * unit), 2.4), 0.75 if scene.pictured else 0.2)
    hues = plane(np.clip(hues / np.maximum(hues.max(axis=2, keepdims=True), 0.35), 0, 1))
    room = plane(mix((0.02, 0.015, 0.06), look.theme.shade, 0.22)) + hues * 0.06
    dark = room + _lit(scene, look) * (0.3 if scene.pictured else 0.13)
    tubes = plane(hues * np.maximum(scene.lines, scene.glow)[..., None])
    halo = blurred(tubes, 2.2 * unit) * 0.95 + blurred(tubes, 8 * unit) * 1.1 + blurred(tubes, 30 * unit) * 1.1
    # Dense drawings would flood the room with light: the halo is measured against how much line there is.
    load = 1.5 / (1 + 7 * float(scene.lines.mean()))
    surface = plane(np.clip(1 - (1 - np.clip(dark, 0, 1)) * np.exp(-halo * load), 0, 1))
    return surface, plane(np.clip(hues * 0.62 + 0.42, 0, 1))


PAINTERS: dict[str, tuple[Callable[[Scene, Look], tuple[Field, Field]], float]] = {
    "illustration": (illustration, 0.85),
    "watercolour": (watercolour, 0.72),
    "ink": (ink, 0.95),
    "neon": (neon, 0.95),
}
"""Name of `MEDIA` to what paints it, and how strongly lines cover in it at conditioning scale 1."""
