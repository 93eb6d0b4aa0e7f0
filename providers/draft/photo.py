"""Pictures as controls: restyled, cleaned, hand-tinted, filled in, or hidden in light and shadow."""

import numpy as np

from controlnet_mcp.providers.draft import scenery
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Plane,
    along,
    blend,
    blurred,
    distance,
    gradients,
    grid,
    luminance,
    plane,
    stream,
    warped,
)
from controlnet_mcp.providers.draft.filters import crisp, guided
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import BLACK, Colour, mix, shifted
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.structure import contour_lines
from controlnet_mcp.providers.draft.texture import fbm
from controlnet_mcp.providers.draft.themes import DEFAULTS

_DEFAULT_NAMES = frozenset(theme.name for theme in DEFAULTS)


def graded(field: Field, look: Look) -> Field:
    """Shift a picture's colours towards the mood: shadows to its shade, lights to its light, middles to its accents."""
    strength = 0.14 if look.theme.name in _DEFAULT_NAMES and not look.named else 0.42
    tone = luminance(field)
    middle = look.named[0] if look.named else mix(look.accents[0], look.accents[1], 0.35)
    stops: list[Colour] = [
        mix(look.theme.shade, BLACK, 0.45),
        shifted(mix(middle, look.theme.shade, 0.35), -0.05),
        mix(middle, look.theme.sky[1], 0.45),
        look.theme.light,
    ]
    ramp = along(tone, stops, [0.0, 0.35, 0.7, 1.0])
    toned = plane(ramp * (tone / np.maximum(luminance(ramp), 0.02))[..., None])
    if look.theme.name == "monochrome":
        return plane(np.repeat(tone[..., None], 3, axis=2))
    shifted_field = blend(field, np.clip(toned, 0, 1), strength)
    return plane(np.clip(shifted_field, 0, 1))


def restyled(field: Field, look: Look, kind: str) -> Scene:
    """A picture ready for a medium: simplified, regraded, with its own contours as lines.

    Args:
        field: The picture at the size of the plan.
        look: The brief.
        kind: Modality; `blur`, `tile` and `low-quality` are cleaned and sharpened first.
    """
    unit = min(field.shape[:2]) / 512
    clean = _cleaned(field, kind, unit)
    tone = luminance(clean)
    smooth = guided(clean, tone, max(round(4 * unit), 2), 0.006)
    smooth = blend(smooth, clean, 0.3)
    colour = graded(plane(np.clip(smooth, 0, 1)), look)
    lines = contour_lines(tone, max(1.3 * unit, 0.7))
    empty = np.zeros(tone.shape, dtype=np.float32)
    x, y = gradients(blurred(tone, 5 * unit))
    shade = plane(np.tanh(-(x * look.light[0] + y * look.light[1]) * 18) * 0.12)
    return Scene(colour, shade, empty, empty.copy(), empty.copy(), lines, pictured=True)


def _cleaned(field: Field, kind: str, unit: float) -> Field:
    if kind == "low-quality":
        field = guided(field, luminance(field), max(round(3 * unit), 2), 0.0025)
    if kind in {"blur", "low-quality", "tile"}:
        rounds = 7 if kind == "blur" else 3
        field = crisp(field, max(round(rounds * max(unit, 0.5)), 2), max(1.6 * unit, 0.8))
        field = plane(np.clip(field + 0.5 * (field - blurred(field, 2.5 * unit)), 0, 1))
    return field


def hidden(field: Field, look: Look) -> Scene:
    """A land of the mood whose light and dark follow a pattern."""
    height, width = field.shape[:2]
    pattern = blurred(luminance(field), max(min(height, width) / 170, 1.0))
    low, high = float(pattern.min()), float(pattern.max())
    pattern = plane((pattern - low) / max(high - low, 0.05))
    rng = stream(look.key, "land")
    side = min(height, width)
    flow = (fbm(height, width, rng, side / 9, 4) - 0.5, fbm(height, width, rng, side / 9, 4) - 0.5)
    pattern = warped(pattern, plane(flow[0] * side * 0.09), plane(flow[1] * side * 0.09))
    land, crowns = fbm(height, width, rng, side / 4, 5, stretch=1.5), _crowns(height, width, rng, side / 24)
    value = plane(np.clip(0.1 + 0.68 * pattern + 0.34 * (land - 0.5) + (crowns - 0.45) * (0.42 - 0.2 * pattern), 0, 1))
    theme = look.theme
    stops = [
        mix(theme.shade, BLACK, 0.3),
        shifted(theme.foliage, -0.12),
        look.accents[0],
        mix(look.accents[1], theme.sky[1], 0.4),
        mix(theme.sky[1], theme.light, 0.5),
    ]
    ramp = along(value, stops)
    lightness = luminance(ramp)
    colour = plane(np.clip(ramp * ((0.25 + 0.75 * value) / np.maximum(lightness, 0.05))[..., None] ** 0.6, 0, 1))
    y, _ = grid(height, width)
    colour = blend(colour, scenery.sky(look, height, width, 0.9)[0], plane(np.clip(0.4 - y, 0, 1) * 0.5))
    x_slope, y_slope = gradients(blurred(crowns, max(side / 400, 0.8)))
    lean = -(x_slope * look.light[0] + y_slope * look.light[1]) * side / 24
    shade = plane(np.tanh(lean * 1.6) * (0.75 - 0.45 * pattern))
    empty = np.zeros((height, width), dtype=np.float32)
    return Scene(colour, shade, empty, empty.copy(), empty.copy(), contour_lines(value, 2.0) * 0.5, pictured=True)


def _crowns(height: int, width: int, rng: np.random.Generator, size: float) -> Plane:
    """Round clumps of many sizes, 0 between them to 1 on top: trees from above, bushes, pebbles."""
    top = np.zeros((height, width), dtype=np.float32)
    for share in (1.0, 0.62, 0.4):
        reach = max(size * share, 2.0)
        count = max(int(height * width / reach**2 * 0.55), 1)
        free = np.ones((height, width), dtype=np.bool_)
        free[rng.integers(0, height, count), rng.integers(0, width, count)] = False
        dome = np.sqrt(np.clip(1 - (distance(free) / reach) ** 2, 0, 1)) * (0.45 + 0.55 * share)
        top = plane(np.maximum(top, dome))
    return plane(top * 0.8 + 0.2 * fbm(height, width, rng, size / 2, 3))
