"""The last steps at full size: lines, grain, eight bits; done in bands so that a large picture needs little memory."""

import numpy as np

from controlnet_mcp.providers.draft import texture
from controlnet_mcp.providers.draft.canvas import Field, Plane, Rgb, plane, resized, resized_rgb

_BAND = 256


def finished(surface: Field, line_colour: Field, lines: Plane, grain: float, key: bytes) -> Rgb:
    """Bring a painted surface to the size of its lines and draw them on it.

    Args:
        surface: Painted surface of any size.
        line_colour: Colour of the lines at each place, of the surface's size.
        lines: Opacity of the lines, 0 to 1, of the final size.
        grain: Strength of the grain.
        key: Decides the grain.
    """
    height, width = lines.shape
    below = resized_rgb(_bytes(surface), width, height)
    above = resized_rgb(_bytes(line_colour), width, height)
    noise = texture.tile(key, "grain")
    side = int(noise.shape[0])
    across = np.arange(width, dtype=np.int64) % side
    result = np.empty((height, width, 3), dtype=np.uint8)
    for start in range(0, height, _BAND):
        rows = np.arange(start, min(start + _BAND, height))
        band = below[rows].astype(np.float32)
        band += (above[rows] - band) * lines[rows, :, None]
        band += noise[np.ix_(rows % side, across)][..., None] * np.float32(grain * 255)
        result[rows] = np.clip(band + 0.5, 0, 255)
    return result


def opacity(lines: Plane, weight: float, strength: float) -> Plane:
    """Conditioning scale and medium to opacity: scale 0 leaves a trace, 1 is normal, 2 full and bolder."""
    share = strength * (0.12 + 0.88 * weight) if weight <= 1 else min(strength + 0.3 * (weight - 1), 1.0)
    full = np.clip(lines * (1 + 0.8 * max(weight - 1, 0)), 0, 1)
    return plane(full * share)


def _bytes(field: Field) -> Rgb:
    return np.asarray(np.clip(field * 255 + 0.5, 0, 255), dtype=np.uint8)


def larger(lines: Plane, width: int, height: int) -> Plane:
    """Scale lines up and make them crisp again."""
    if lines.shape == (height, width):
        return lines
    scaled = resized(lines, width, height, smooth=True)
    return plane(np.clip((scaled - 0.5) * 1.6 + 0.5, 0, 1))
