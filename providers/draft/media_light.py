"""Media of print and screen: neon, poster, anime, cinema."""

from dataclasses import replace

import numpy as np

from controlnet_mcp.providers.draft import texture
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    along,
    blend,
    blurred,
    gradients,
    grid,
    luminance,
    plane,
    smoothstep,
    stream,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.light import bloomed, lit
from controlnet_mcp.providers.draft.palette import Colour, mix, shifted
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.surface import away, ink_over, unit_of, vivid


def neon(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Tubes of light in a dark room."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    base = lit(scene, look, 1.0)
    hues = _neon_hues(scene, look)
    haze = texture.fbm(height, width, stream(look.key, "smoke"), 140 * unit, 4)
    night = np.asarray(mix((0.02, 0.015, 0.06), look.theme.shade, 0.22), dtype=np.float32)
    dark = plane(
        night
        + base * 0.13 * (0.6 + 0.8 * haze)[..., None]
        + hues * (0.05 + 0.1 * np.clip(scene.shade, 0, 1))[..., None]
    )
    contours = _contours(scene.far) if scene.measured else plane(scene.far * 0)
    tubes = plane(hues * np.maximum(np.maximum(scene.lines, scene.glow), 0.6 * contours)[..., None])
    # Dense drawings would flood the room with light: the halo is measured against how much line there is.
    load = 1 / (1 + 7 * float(scene.lines.mean()))
    halo = blurred(tubes, 2.2 * unit) * 0.95 + blurred(tubes, 8 * unit) * 1.1 + blurred(tubes, 30 * unit) * 1.1
    surface = plane(1 - (1 - np.clip(dark, 0, 1)) * np.exp(-halo * load * 1.5))
    surface = blend(surface, plane(hues * 0.8), plane(contours * 0.55 * (1 - scene.sky)))
    return plane(np.clip(surface, 0, 1)), plane(np.clip(hues * 0.62 + 0.42, 0, 1))


def _contours(far: Plane) -> Plane:
    """Thin lines of equal distance, as maps of heights have."""
    steps = 11.0
    x, y = gradients(far)
    slope = np.hypot(x, y) * steps
    off = np.abs(far * steps % 1 - 0.5)
    return plane(np.clip(1.1 - off / (slope + 1e-6) * 0.9, 0, 1) * np.clip(slope * 60, 0, 1) * np.less(slope, 0.25))


def _neon_hues(scene: Scene, look: Look) -> Field:
    """The hue that a tube has at each place: two or three gas colours that drift over the picture."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    first = look.accents[0]
    palette = [shifted(c, 0.1, 1.5) for c in look.named or (first, shifted(first, 0.0, 1.0, 165), look.accents[1])]
    gases: list[Colour] = [mix(c, (1.0, 1.0, 1.0), 0.08) for c in palette[:3]]
    if len(gases) == 1:
        gases.append(shifted(gases[0], 0.05, 1.0, 50))
    drift = texture.fbm(height, width, stream(look.key, "gas"), 260 * unit, 2)
    y, _ = grid(height, width)
    at = np.clip(drift * 1.3 + (y - 0.5) * 0.5 - 0.1, 0, 1)
    hues = along(plane(at), gases)
    own = vivid(blurred(scene.colour, 5 * unit), 2.4)
    own = plane(own / np.maximum(own.max(axis=2, keepdims=True), 0.3))
    mixed = blend(hues, own, 0.35)
    return plane(np.clip(mixed / np.maximum(mixed.max(axis=2, keepdims=True), 0.35), 0, 1))


def poster(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Screen print: few flat tones, dots in the shadows."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    base = blurred(vivid(lit(scene, look, 1.15), 1.25), 1.6 * unit)
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
    return surface, ink_over(surface, look, 0.1, 0.15)


def anime(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Two-tone shading with crisp borders, bright colour, a glowing sky."""
    unit = unit_of(scene.shade)
    flat = replace(scene, shade=plane(scene.shade * 0))
    base = vivid(lit(flat, look), 1.25)
    shadow = smoothstep(plane(-scene.shade), 0.2, 0.27) * 0.85
    cool = plane(base * (0.5 + 0.5 * np.asarray(shifted(look.theme.shade, 0.15), dtype=np.float32)) * 0.86)
    base = blend(base, cool, shadow)
    base = blend(base, (1.0, 1.0, 0.97), plane(smoothstep(scene.shade, 0.62, 0.7) * 0.28))
    bright = plane(base * smoothstep(luminance(base), 0.72, 1.0)[..., None])
    base = plane(1 - (1 - base) * (1 - 0.35 * blurred(bright, 12 * unit)))
    y, x = grid(scene.shade.shape[0], scene.shade.shape[1])
    ray = np.clip(1 - np.hypot((x - 0.5 - 0.5 * look.light[0]) * 0.9, (y - 0.05)), 0, 1) ** 2
    base = plane(1 - (1 - base) * (1 - (0.2 * ray)[..., None] * np.asarray(look.theme.light, dtype=np.float32)))
    surface = plane(np.clip(bloomed(base, scene, look, 0.7), 0, 1))
    return surface, ink_over(surface, look, 0.25, 0.5)


def cinematic(scene: Scene, look: Look) -> tuple[Field, Field]:
    """Strong light, film contrast, warm lights over cool shadows, bloom and vignette."""
    height, width = scene.shade.shape
    unit = unit_of(scene.shade)
    base = lit(scene, look, 1.45)
    fine = texture.fbm(height, width, stream(look.key, "matter"), 9 * unit, 3) - 0.5
    base = plane(base * (1 + 0.1 * fine * (1 - scene.sky))[..., None])
    # Fine detail melts into the distance as it does behind a real lens.
    base = blend(base, blurred(base, 3.5 * unit), plane(np.clip(scene.far, 0, 1) * away(scene, 2, 6 * unit)))
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
    return surface, ink_over(surface, look, 0.5, 0.55)
