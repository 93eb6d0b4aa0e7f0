"""Skies, grounds and backdrops that fill the places behind things."""

import numpy as np

from controlnet_mcp.providers.draft.canvas import Field, Plane, along, blend, grid, plane, smoothstep, stream
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import WHITE, Colour, luminance, mix, shifted
from controlnet_mcp.providers.draft.texture import fbm


def sky(look: Look, height: int, width: int, horizon: float = 0.6) -> tuple[Field, Plane]:
    """A sky down to `horizon` (share of the height), and how much of it shines by itself."""
    theme = look.theme
    y, x = grid(height, width)
    rng = stream(look.key, "sky")
    drift = fbm(height, width, rng, max(height / 4, 8), 4, stretch=2.2)
    down = plane(np.clip(y / max(horizon, 0.2) + (drift - 0.5) * 0.22, 0, 1))
    field = along(down, (theme.sky[0], mix(theme.sky[0], theme.sky[1], 0.55), theme.sky[1]))
    glow = np.zeros((height, width), dtype=np.float32)
    if theme.weather in {"clouds", "glow", "haze"}:
        field = blend(field, _cloud_colour(look), _clouds(look, height, width, y))
    if theme.weather == "stars":
        glow = _stars(look, height, width) * plane(np.clip(1.3 - down, 0, 1))
        field = blend(field, (1.0, 0.98, 0.9), glow)
    if theme.weather == "glow":
        sun_x = 0.5 + 0.28 * float(np.sign(look.light[0]))
        near = plane(np.exp(-(((x - sun_x) * width / height) ** 2 + (y - horizon) ** 2) * 7))
        field = blend(field, theme.light, plane(near * 0.65))
    return field, glow


def _cloud_colour(look: Look) -> Colour:
    light = 0.75 if luminance(look.theme.sky[0]) > 0.35 else 0.3  # noqa: PLR2004  # pale clouds only by day
    return mix(look.theme.sky[1], mix(WHITE, look.theme.light, 0.6), light)


def _clouds(look: Look, height: int, width: int, y: Plane) -> Plane:
    noise = fbm(height, width, stream(look.key, "clouds"), max(height / 4.5, 8), 5, stretch=2.4)
    strength = {"clouds": 0.85, "glow": 0.55}.get(look.theme.weather, 0.4)
    return plane(smoothstep(noise, 0.52, 0.78) * strength * np.clip(1.35 - y * 1.2, 0, 1))


def _stars(look: Look, height: int, width: int) -> Plane:
    rng = stream(look.key, "stars")
    found = np.zeros((height, width), dtype=np.float32)
    count = max(int(height * width / 2600), 12)
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    sizes = rng.random(count, dtype=np.float32) ** 3
    for dy, dx, gain in ((0, 0, 1.0), (0, 1, 0.55), (1, 0, 0.55), (0, -1, 0.4), (-1, 0, 0.4)):
        spot = (np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1))
        np.maximum.at(found, spot, np.clip((0.25 + sizes) * gain, 0, 1))
    return found


def ground(look: Look, height: int, width: int, horizon: float = 0.6) -> Field:
    """Ground from `horizon` down to the viewer, with the material that the words name."""
    far, near = look.theme.ground
    material = next((m for m in look.materials if m.place == "ground"), None)
    if material is not None:
        far, near = mix(material.colours[-1], far, 0.25), mix(material.colours[0], near, 0.15)
    y, _ = grid(height, width)
    rng = stream(look.key, "ground")
    patches = fbm(height, width, rng, max(height / 5, 8), 4, stretch=3.0)
    down = plane(np.clip((y - horizon) / max(1 - horizon, 0.2) + (patches - 0.5) * 0.5, 0, 1))
    field = along(down, (far, mix(far, near, 0.6), near))
    tufts = fbm(height, width, rng, max(height / 26, 4), 3, stretch=1.8)
    return blend(field, shifted(near, -0.08), plane(smoothstep(tufts, 0.6, 0.9) * 0.4 * np.clip(y * 1.4 - 0.2, 0, 1)))


def backdrop(look: Look, height: int, width: int) -> Field:
    """A studio wall in the mood's colours with a pool of light behind the subject and, at the foot, a table edge."""
    theme = look.theme
    base = mix(theme.sky[1], look.accents[2 % len(look.accents)], 0.22)
    edge = shifted(mix(theme.sky[0], theme.shade, 0.25), 0.02, 0.85)
    y, x = grid(height, width)
    rng = stream(look.key, "backdrop")
    mottle = fbm(height, width, rng, max(min(height, width) / 3, 8), 4)
    aside = 0.5 + 0.16 * look.light[0]
    away = plane(np.sqrt(((x - aside) * 1.25) ** 2 + ((y - 0.4) * 1.1) ** 2))
    share = plane(np.clip(away * 1.25 - 0.1 + (mottle - 0.5) * 0.4, 0, 1))
    return along(share, (mix(base, theme.light, 0.45), base, edge))


def wide(look: Look, height: int, width: int) -> Field:
    """For a space that reaches from top to bottom: the backdrop indoors, else a sky that becomes ground."""
    if look.setting == "indoor":
        material = next((m for m in look.materials if m.place == "ground"), None)
        wall = backdrop(look, height, width)
        if material is None:
            return wall
        y, _ = grid(height, width)
        drift = fbm(height, width, stream(look.key, "foot"), max(height / 3, 8), 3) - 0.5
        return blend(wall, ground(look, height, width, 0.5), plane(smoothstep(plane(y + drift * 0.3), 0.5, 1.0) * 0.8))
    above, _ = sky(look, height, width, 0.66)
    below = ground(look, height, width, 0.66)
    y, _ = grid(height, width)
    edge = (fbm(height, width, stream(look.key, "horizon"), max(width / 3, 8), 3) - 0.5) * 0.2
    return blend(above, below, smoothstep(plane(y + edge), 0.52, 0.8))


def vista(look: Look, height: int, width: int, horizon: float = 0.92) -> Field:
    """Ridges one behind the other under the sky, paler the farther, the nearest at `horizon` (share of the height)."""
    field, _ = sky(look, height, width, 0.6)
    below = ground(look, height, width, 0.55)
    rng = stream(look.key, "ridges")
    y, _ = grid(height, width)
    rough = fbm(height, width, rng, max(height / 30, 4), 4)
    for level, base in enumerate((0.54, 0.66, 0.79, 0.94)):
        line = fbm(1, width, rng, max(width / (2.2 + level), 8), 6 - level)
        top = plane(horizon * base - (line - 0.5) * (0.34 - 0.05 * level))
        near = level / 3
        hue = mix(mix(look.theme.foliage, look.theme.ground[1], 0.4), look.theme.sky[1], 0.68 * (1 - near))
        paint = blend(plane(below * 0.35 + plane(hue) * 0.65), look.theme.shade, plane((rough - 0.4) * 0.3 * near))
        field = blend(field, paint, smoothstep(plane(y - top), -0.004, 0.004))
    return field
