"""Contact sheets: input pictures, control maps and results side by side on one page for people.

Importing this package is cheap; `controlnet_mcp.images.contact_sheet.page` draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

WIDTH = 1280
"""Default width of a sheet in pixels: a common screen."""
NARROWEST, WIDEST = 640, 4096
"""Smallest and largest width of a sheet in pixels."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a sheet.

    Attributes:
        width: Of the picture, in pixels.
        height: Likewise.
        pixels: Reads the picture when it is drawn, so that only one is in memory at its full size; `None` when it is
            gone, which the sheet says in its place.
        caption: What it is.
        detail: How it came about, or how good it is.
    """

    width: int
    height: int
    pixels: "Callable[[], Rgb | None]"
    caption: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page: a heading, quieter lines below it, panels in reading order, and a last line."""

    heading: str
    lines: tuple[str, ...]
    panels: tuple[Panel, ...]
    footer: str
