"""The comparison sheet of the demo: four pictures with captions, on one page.

Imported lazily: it brings NumPy and Pillow.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

WIDTH = 1280
"""Of the page, in pixels."""
PANEL = (610, 458)
"""Width and height of one picture on the page, in pixels."""
_MARGIN, _GAP = 24, 12
_CAPTION, _FOOTER = 46, 34
_CORNER = 12
_PAGE, _TEXT, _QUIET = (235, 232, 225), (44, 42, 52), (104, 100, 108)
_JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the page: its pixels, what it is, and how it came about."""

    picture: Image.Image
    caption: str
    detail: str


def compose(panels: Sequence[Panel], footer: str) -> Image.Image:
    """Lay panels out two in a row, in reading order, above a line of text."""
    across, down = PANEL[0] + _GAP, PANEL[1] + _CAPTION
    rows = (len(panels) + 1) // 2
    page = Image.new("RGB", (WIDTH, _MARGIN + rows * down + _FOOTER), _PAGE)
    for index, panel in enumerate(panels):
        _place(page, panel, (_MARGIN + index % 2 * across, _MARGIN + index // 2 * down), index + 1)
    place = (WIDTH // 2, page.height - _FOOTER + 8)
    ImageDraw.Draw(page).text(place, footer, font=ImageFont.load_default(15), fill=_QUIET, anchor="ma")
    return page


def _place(page: Image.Image, panel: Panel, corner: tuple[int, int], number: int) -> None:
    page.paste(ImageOps.fit(panel.picture, PANEL, Image.Resampling.LANCZOS), corner, _rounded())
    draw = ImageDraw.Draw(page)
    left, base = corner[0] + 4, corner[1] + PANEL[1] + 27
    bold, quiet = ImageFont.load_default(18), ImageFont.load_default(15)
    caption = f"{number}   {panel.caption}"
    draw.text((left, base), caption, font=bold, fill=_TEXT, anchor="ls")
    draw.text((corner[0] + PANEL[0] - 4, base), panel.detail, font=quiet, fill=_QUIET, anchor="rs")


def _rounded() -> Image.Image:
    """A mask with soft round corners, made from one four times as large."""
    large = Image.new("L", (PANEL[0] * 4, PANEL[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), _CORNER * 4, fill=255)
    return large.resize(PANEL, Image.Resampling.BOX)


def encode(page: Image.Image, *, as_jpeg: bool) -> bytes:
    """The page as a file: PNG, or JPEG where a small one is wanted."""
    file = io.BytesIO()
    if as_jpeg:
        page.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    else:
        page.save(file, "PNG", compress_level=6)
    return file.getvalue()
