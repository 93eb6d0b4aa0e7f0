"""Draws a picture that keeps the structure of a control map: the embedded engine's whole craft, without any weights.

It is not AI generation: words choose medium, mood, colours, materials and light; nouns do not create content.
"""

from collections.abc import Callable

import numpy as np

from controlnet_mcp.providers.draft import compose, inkwork, mark
from controlnet_mcp.providers.draft.brief import Brief, Layer
from controlnet_mcp.providers.draft.canvas import Plane, Rgb, blend, blurred, distance, plane, resized_rgb
from controlnet_mcp.providers.draft.lexicon import read
from controlnet_mcp.providers.draft.media import PAINTERS
from controlnet_mcp.providers.draft.scene import Scene

__all__ = ["Brief", "Layer", "render"]

_PAINTED_PIXELS = 1536 * 1536
"""Above this the surface is painted smaller and enlarged; lines and grain stay at full size."""
_PLANNED_PIXELS = 640 * 640
"""The same for finding regions, colours and light."""


def render(brief: Brief, report: Callable[[float], None] | None = None) -> Rgb:
    """Draw a brief: the same brief gives the same bytes.

    Args:
        brief: What to draw.
        report: Told the share done, rising to 1.

    Returns:
        Picture of shape (height, width, 3).
    """
    tell = report or _silent
    look = read(brief.prompt, brief.negative_prompt, brief.seed)
    medium = PAINTERS[look.medium]
    width, height = _fitted(brief, _PAINTED_PIXELS)
    scene = compose.compose(brief, look, _fitted(brief, _PLANNED_PIXELS), (width, height))
    tell(0.4)
    scene = _led_by_init(scene, brief)
    surface, line_colour = medium.paint(scene, look)
    tell(0.75)
    strength = medium.photo_lines if scene.pictured else medium.opacity
    lines = compose.final_lines(brief, scene, strength)
    result = inkwork.finished(surface, line_colour, lines, medium.grain, look.key)
    result = _composited(result, brief)
    tell(1.0)
    return result


def _silent(_share: float) -> None:
    """Report to nobody."""


def _fitted(brief: Brief, pixels: int) -> tuple[int, int]:
    scale = min(1.0, (pixels / (brief.width * brief.height)) ** 0.5)
    return max(round(brief.width * scale), 8), max(round(brief.height * scale), 8)


def _led_by_init(scene: Scene, brief: Brief) -> Scene:
    """Let the start picture's colours lead, the more the lower the strength."""
    if brief.init is None or brief.strength >= 1:
        return scene
    height, width = scene.shade.shape
    start = resized_rgb(brief.init, width, height).astype(np.float32) / 255
    share = 1 - max(brief.strength, 0.0) ** 1.5
    scene.colour = blend(scene.colour, blurred(plane(start), max(min(height, width) / 256, 0.8)), share)
    return scene


def _composited(result: Rgb, brief: Brief) -> Rgb:
    """Blend with the start picture, confine to the mask, set the mark."""
    if brief.init is None:
        return mark.marked(result) if brief.mark else result
    start = resized_rgb(brief.init, brief.width, brief.height)
    keep = (1 - min(max(brief.strength, 0.0), 1.0)) ** 2.5
    if keep > 0:
        result = np.asarray(result + (start.astype(np.float32) - result) * np.float32(keep) + 0.5, dtype=np.uint8)
    if brief.mask is None:
        return mark.marked(result) if brief.mark else result
    share = _feathered(brief.mask, brief.width, brief.height)
    result = np.asarray(start + (result.astype(np.float32) - start) * share[..., None] + 0.5, dtype=np.uint8)
    return mark.marked(result, share > 0) if brief.mark else result


def _feathered(mask: Rgb, width: int, height: int) -> Plane:
    """1 well inside the mask, falling to 0 at its border and staying 0 outside."""
    inside = resized_rgb(mask, width, height).max(axis=2) > 127  # noqa: PLR2004  # half way
    seam = max(min(width, height) / 40, 2.0)
    reach = distance(np.asarray(inside, dtype=np.bool_))
    return plane(np.clip(reach / seam, 0, 1) * inside)
