"""Filters of pictures: smoothing that keeps edges, sharpening, filling of holes."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import (
    Field,
    Mask,
    Plane,
    blend,
    blurred,
    luminance,
    plane,
    resized,
    smoothstep,
    stream,
)
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.texture import fbm

_NOTHING = 1e-3
"""Weight below which a place counts as unknown."""


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


def filled(field: Field, hole: Mask, look: Look) -> Field:
    """Fill a hole with what surrounds it, spread inwards, and a first idea of something new in the mood's colours."""
    known = plane(~hole)
    level, weight = plane(field * known[..., None]), known
    levels: list[tuple[Field, Plane]] = [(level, weight)]
    while min(weight.shape) > 1 and float(weight.min()) <= 0:
        height, width = (weight.shape[0] + 1) // 2, (weight.shape[1] + 1) // 2
        level, weight = resized(level, width, height), resized(weight, width, height)
        levels.append((level, weight))
    spread = plane(level / np.maximum(weight, 1e-4)[..., None])
    for level, weight in reversed(levels[:-1]):
        height, width = weight.shape
        spread = resized(spread, width, height)
        spread = plane(np.where(weight[..., None] > _NOTHING, level / np.maximum(weight, _NOTHING)[..., None], spread))
    height, width = hole.shape
    idea = fbm(height, width, stream(look.key, "idea"), max(min(height, width) / 5, 8), 4)
    accent = blend(look.accents[0], look.accents[1], smoothstep(idea, 0.35, 0.65))
    fresh = blend(spread, accent, plane(smoothstep(idea, 0.3, 0.7) * 0.5 + 0.15))
    return plane(np.where(hole[..., None], fresh, field))
