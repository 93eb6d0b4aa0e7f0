"""What is on a sheet; how it is laid out and drawn is the business of the modules beside."""

from collections.abc import Callable
from dataclasses import dataclass

from controlnet_mcp.images.maps.arrays import Rgb


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
    pixels: Callable[[], Rgb | None]
    caption: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page: a heading, quieter lines below it, panels in reading order, and a last line."""

    heading: str
    lines: tuple[str, ...]
    panels: tuple[Panel, ...]
    footer: str
