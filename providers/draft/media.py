"""The table of media: how each paints and how strong its lines and grain are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlnet_mcp.providers.draft.canvas import Field
from controlnet_mcp.providers.draft.lexicon import Look
from controlnet_mcp.providers.draft.media_light import anime, cinematic, neon, poster
from controlnet_mcp.providers.draft.media_wet import illustration, ink, oil, pencil, watercolour
from controlnet_mcp.providers.draft.scene import Scene

Painter: TypeAlias = Callable[[Scene, Look], tuple[Field, Field]]
"""Scene and look to painted surface and line colour, both colour fields."""


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
