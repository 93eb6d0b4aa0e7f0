"""Pictures as controls: restyled, cleaned, hand-tinted, filled in, or hidden in light and shadow."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft import scenery
from controlnet_mcp.providers.draft.canvas import (
    Field,
    Mask,
    Plane,
    blend,
    blurred,
    gradients,
    grid,
    luminance,
    plane,
    resized,
    smoothstep,
    stream,
    warped,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.palette import BLACK, Colour, mix, shifted, to_oklch
from controlnet_mcp.providers.draft.scene import Scene
from controlnet_mcp.providers.draft.structure import contour_lines
from controlnet_mcp.providers.draft.texture import fbm
from controlnet_mcp.providers.draft.themes import DEFAULTS

_DEFAULT_NAMES = frozenset(theme.name for theme in DEFAULTS)


def guided(field: Field, guide: Plane, radius: int, evenness: float) -> Field:
    """Smooth a colour field but for the edges of a guide (guided filter, He et al. 2010)."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean = plane(cv2.blur(guide, size))
    variance = plane(cv2.blur(guide * guide, size)) - mean * mean
    middle = plane(cv2.blur(field, size))
    slope = (
        plane(cv2.blur(field * guide[..., None], size) - middle * mean[..., None]) / (variance + evenness)[..., None]
    )
    offset = middle - slope * mean[..., None]
    return plane(cv2.blur(plane(slope), size) * guide[..., None] + cv2.blur(plane(offset), size))


def crisp(field: Field, rounds: int, sigma: float) -> Field:
    """Make soft edges hard (shock filter): grow light on the light side of an edge, dark on the dark side."""
    result = field
    for _ in range(rounds):
        bend = cv2.Laplacian(blurred(luminance(result), sigma), cv2.CV_32F, ksize=3)
        lighter, darker = cv2.dilate(result, np.ones((3, 3), np.uint8)), cv2.erode(result, np.ones((3, 3), np.uint8))
        share = np.clip(np.abs(bend) * 60, 0, 0.7)[..., None]
        target = np.where(bend[..., None] < 0, lighter, darker)
        result = plane(result + (target - result) * share)
    return result


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
    ramp = np.stack([np.interp(tone, [0.0, 0.35, 0.7, 1.0], [s[c] for s in stops]) for c in range(3)], axis=-1)
    toned = plane(ramp * (tone / np.maximum(luminance(plane(ramp)), 0.02))[..., None])
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


def tinted(field: Field, look: Look) -> Scene:
    """Colour a grey picture by hand: a few scribbles of colour chosen by brightness and place, spread along its tones."""
    tone = luminance(field)
    height, width = tone.shape
    soft = guided(plane(tone[..., None].repeat(3, axis=2)), tone, max(min(height, width) // 24, 2), 0.02)[..., 0]
    chroma = _chroma(plane(soft), look)
    lab_tone = plane(cv2.cvtColor(plane(tone[..., None].repeat(3, axis=2)), cv2.COLOR_RGB2Lab))[..., 0]
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
        found.append(((lightness - 0.12, material.rise, 0.12), material.colours[0], 2.0 if rank == 0 else 1.2))
    if not look.materials:
        found.append(((0.6, 0.45, 0.1), mix(look.accents[1], theme.light, 0.3), 1.0))
    for rank, colour in enumerate(look.named[:3]):
        found.append(((to_oklch(colour)[0] - 0.1, 0.65 - 0.2 * rank, 0.25), colour, 1.8))
    return found


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
    land, clumps = fbm(height, width, rng, side / 4, 5, stretch=1.5), fbm(height, width, rng, side / 26, 5)
    value = plane(np.clip(0.06 + 0.6 * pattern + 0.3 * (land - 0.5) + 0.7 * (clumps - 0.5) + 0.12, 0, 1))
    theme = look.theme
    stops = [
        mix(theme.shade, BLACK, 0.3),
        shifted(theme.foliage, -0.12),
        look.accents[0],
        mix(look.accents[1], theme.sky[1], 0.4),
        mix(theme.sky[1], theme.light, 0.5),
    ]
    ramp = plane(
        np.stack([np.interp(value, [0, 0.25, 0.5, 0.75, 1], [s[c] for s in stops]) for c in range(3)], axis=-1)
    )
    lightness = luminance(ramp)
    colour = plane(np.clip(ramp * ((0.25 + 0.75 * value) / np.maximum(lightness, 0.05))[..., None] ** 0.6, 0, 1))
    y, _ = grid(height, width)
    colour = blend(colour, scenery.sky(look, height, width, 0.9)[0], plane(np.clip(0.4 - y, 0, 1) * 0.5))
    x_slope, y_slope = gradients(blurred(value, max(height / 300, 1.0)))
    shade = plane(np.tanh(-(x_slope * look.light[0] + y_slope * look.light[1]) * 14) * 0.8)
    empty = np.zeros((height, width), dtype=np.float32)
    return Scene(colour, shade, empty, empty.copy(), empty.copy(), contour_lines(value, 2.0) * 0.5, pictured=True)


def filled(field: Field, hole: Mask, look: Look) -> Field:
    """Fill a hole with what surrounds it, spread inwards, and a first idea of something new in the mood's colours."""
    known = plane(~hole)
    level, weight = plane(field * known[..., None]), known
    levels: list[tuple[Field, Plane]] = [(level, weight)]
    while min(weight.shape) > 2 and float(weight.min()) <= 0:  # noqa: PLR2004
        height, width = (weight.shape[0] + 1) // 2, (weight.shape[1] + 1) // 2
        level, weight = resized(level, width, height), resized(weight, width, height)
        levels.append((level, weight))
    spread = plane(level / np.maximum(weight, 1e-4)[..., None])
    for level, weight in reversed(levels[:-1]):
        height, width = weight.shape
        spread = resized(spread, width, height)
        spread = plane(np.where(weight[..., None] > 1e-3, level / np.maximum(weight, 1e-3)[..., None], spread))
    height, width = hole.shape
    idea = fbm(height, width, stream(look.key, "idea"), max(min(height, width) / 5, 8), 4)
    accent = blend(
        plane(np.broadcast_to(plane(look.accents[0]), field.shape)), look.accents[1], smoothstep(idea, 0.35, 0.65)
    )
    fresh = blend(spread, accent, plane(smoothstep(idea, 0.3, 0.7) * 0.5 + 0.15))
    return plane(np.where(hole[..., None], fresh, field))
