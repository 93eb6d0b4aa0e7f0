"""A sheet as a picture.

Imported lazily: it brings NumPy, OpenCV and Pillow.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.sheets.layout import NARROWEST, WIDEST, WIDTH, Grid, Size, grid_for
from controlnet_mcp.images.sheets.sheet import Panel, Sheet
from controlnet_mcp.images.sheets.typesetting import Style, draw_lines, lines_of

_PAGE, _TEXT, _QUIET, _EDGE, _GONE = (244, 242, 237), (34, 32, 40), (84, 80, 90), (196, 192, 184), (224, 220, 212)
_MARGIN, _GAP, _SPACE = 24, 16, 6
_JPEG_QUALITY = 88
_NO_PICTURE = "no longer in the data folder"


@dataclass(frozen=True, slots=True)
class Scale:
    """The measures of a page of a certain width in pixels: all grow with it, letters never under what can be read."""

    width: int

    def __call__(self, pixels: float, least: int = 1) -> int:
        """What stands for so many pixels of a page that is `WIDTH` wide."""
        return max(least, round(pixels * self.width / WIDTH))

    @property
    def heading(self) -> Style:
        """The largest letters."""
        return Style(self(24, 15), _TEXT, 4)

    @property
    def caption(self) -> Style:
        """What a picture is."""
        return Style(self(18, 13), _TEXT, 2)

    @property
    def quiet(self) -> Style:
        """All the rest."""
        return Style(self(16, 12), _QUIET, 3)


def compose(sheet: Sheet, width: int = WIDTH) -> Image.Image:
    """Draw a sheet.

    Args:
        sheet: What is on it, with at least one panel.
        width: In pixels; brought between `NARROWEST` and `WIDEST`. The height follows.
    """
    scale = Scale(min(max(width, NARROWEST), WIDEST))
    margin, inner = scale(_MARGIN), scale.width - 2 * scale(_MARGIN)
    grid = grid_for([(panel.width, panel.height) for panel in sheet.panels], width=inner, gap=scale(_GAP))
    starts = range(0, len(sheet.panels), grid.columns)
    rows = [sheet.panels[start : start + grid.columns] for start in starts]
    parts = [_words(sheet, inner, scale), *(_row(row, grid, scale) for row in rows), _footer(sheet, inner, scale)]
    gap = scale(_GAP)
    height = 2 * margin + sum(part.height for part in parts) + gap * (len(parts) - 1)
    page = Image.new("RGB", (scale.width, height), _PAGE)
    top = margin
    for part in parts:
        page.paste(part, (margin, top))
        top += part.height + gap
    return page


def encode(page: Image.Image, *, as_jpeg: bool) -> bytes:
    """The page as a file: PNG, or JPEG where a small one is wanted."""
    file = io.BytesIO()
    if as_jpeg:
        page.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    else:
        page.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _words(sheet: Sheet, width: int, scale: Scale) -> Image.Image:
    texts = [(sheet.heading, scale.heading), *((line, scale.quiet) for line in sheet.lines)]
    return _block([(lines_of(text, style, width), style) for text, style in texts if text], width, centred=False)


def _footer(sheet: Sheet, width: int, scale: Scale) -> Image.Image:
    return _block([(lines_of(sheet.footer, scale.quiet, width), scale.quiet)], width, centred=True)


def _block(texts: list[tuple[list[str], Style]], width: int, *, centred: bool) -> Image.Image:
    """Texts below each other on a piece of the page."""
    height = sum(len(lines) * style.line_height for lines, style in texts)
    block = Image.new("RGB", (width, max(1, height)), _PAGE)
    draw, top = ImageDraw.Draw(block), 0
    for lines, style in texts:
        top = draw_lines(draw, lines, style, (width // 2 if centred else 0, top), centred=centred)
    return block


def _row(panels: Sequence[Panel], grid: Grid, scale: Scale) -> Image.Image:
    """Pictures beside each other, their lower ends on one line, each over its caption."""
    pictures = [_framed(panel, grid.fitted((panel.width, panel.height)), scale) for panel in panels]
    words = [_caption(panel, grid.width, scale) for panel in panels]
    base = max(picture.height for picture in pictures)
    height = base + scale(_SPACE) + max(block.height for block in words)
    row = Image.new("RGB", (grid.columns * grid.width + (grid.columns - 1) * scale(_GAP), height), _PAGE)
    for index, (picture, block) in enumerate(zip(pictures, words, strict=True)):
        left = index * (grid.width + scale(_GAP))
        row.paste(picture, (left + (grid.width - picture.width) // 2, base - picture.height))
        row.paste(block, (left, base + scale(_SPACE)))
    return row


def _caption(panel: Panel, width: int, scale: Scale) -> Image.Image:
    texts = ((panel.caption, scale.caption), (panel.detail, scale.quiet))
    return _block([(lines_of(text, style, width), style) for text, style in texts], width, centred=True)


def _framed(panel: Panel, size: Size, scale: Scale) -> Image.Image:
    """The picture in its size with a thin edge, so that a white one ends somewhere."""
    pixels = panel.pixels()
    if pixels is None:
        picture = Image.new("RGB", size, _GONE)
        lines = lines_of(_NO_PICTURE, scale.quiet, size[0])
        top = max(0, (size[1] - len(lines) * scale.quiet.line_height) // 2)
        draw_lines(ImageDraw.Draw(picture), lines, scale.quiet, (size[0] // 2, top), centred=True)
    else:
        picture = Image.fromarray(_scaled(pixels, size))
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=_EDGE)
    return picture


def _scaled(pixels: Rgb, size: Size) -> Rgb:
    """Averaged down, so that thin lines stay; up by cubic curves."""
    method = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8)
