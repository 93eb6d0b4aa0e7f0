"""The layout of a sheet, and the page drawn.

Imported lazily: it brings NumPy, OpenCV and Pillow.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw

from controlnet_mcp.images.contact_sheet import NARROWEST, WIDEST, WIDTH, Panel, Sheet
from controlnet_mcp.images.contact_sheet.text import Style, draw_lines, lines_of

_PAGE, _TEXT, _QUIET, _EDGE, _GONE = (244, 242, 237), (34, 32, 40), (84, 80, 90), (196, 192, 184), (224, 220, 212)
_MARGIN, _GAP, _SPACE = 24, 16, 6
_JPEG_QUALITY = 88
_NO_PICTURE = "no longer in the data folder"
_GOOD_SHAPE = 0.75
"""Height of the best page by its width."""
_EMPTY_PLACE = 0.45
"""Penalty of an empty place at the end, on the scale of the logarithm of a page's shape."""
_TALLEST = 0.8
"""Most height of a picture, by the width of the page: so that each can be seen at one glance."""
_WIDTH_OF_WORDS = 185
"""Narrowest place in which captions can be read, in pixels of a page that is `WIDTH` wide."""
_SMALLEST_SIDE = 64
"""Shorter side in pixels below which a picture is hard to see."""
_SIZE_OF_WORDS = 90
"""About the height that heading and captions take of a row, in the same pixels."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The measures of a page of a certain width in pixels: all grow with it, letters never under what can be read."""

    width: int

    def __call__(self, pixels: float, least: int = 1) -> int:
        """Scale a length on a page that is `WIDTH` wide."""
        return max(least, round(pixels * self.width / WIDTH))

    @property
    def heading(self) -> Style:
        """The heading of the page."""
        return Style(self(24, 15), _TEXT, 4)

    @property
    def caption(self) -> Style:
        """Captions of pictures."""
        return Style(self(18, 13), _TEXT, 2)

    @property
    def quiet(self) -> Style:
        """Details and notes."""
        return Style(self(16, 12), _QUIET, 3)


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal columns.

    Attributes:
        columns: How many.
        width: Of one column in pixels.
        tallest: Most height of a picture in pixels.
    """

    columns: int
    width: int
    tallest: int

    def fitted(self, size: Size) -> Size:
        """The size of a picture in its place, whole and in its own shape; a smaller one is enlarged."""
        scale = min(self.width / size[0], self.tallest / size[1])
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grid_for(sizes: Sequence[Size], *, width: int, gap: int) -> Grid:
    """Choose the columns that make the page neither too wide nor too tall and leave few places empty.

    There is at least one size; the width in pixels is that of all columns with the gaps between them.
    """
    scale = width / WIDTH
    most = max(1, min(len(sizes), int((width + gap) // (max(_WIDTH_OF_WORDS * scale, 170) + gap))))
    grids = [Grid(count, (width - gap * (count - 1)) // count, round(width * _TALLEST)) for count in range(1, most + 1)]

    def badness(grid: Grid) -> float:
        rows = [sizes[start : start + grid.columns] for start in range(0, len(sizes), grid.columns)]
        heights = [max(grid.fitted(size)[1] for size in row) + _SIZE_OF_WORDS * scale for row in rows]
        empty = grid.columns * len(rows) - len(sizes)
        smallest = min(min(grid.fitted(size)) for size in sizes)
        shape = abs(math.log((sum(heights) + _SIZE_OF_WORDS * scale) / width / _GOOD_SHAPE))
        return shape + _EMPTY_PLACE * empty + max(0.0, math.log(_SMALLEST_SIDE / smallest))

    return min(grids, key=badness)


def compose(sheet: Sheet, width: int = WIDTH) -> Image.Image:
    """Draw a sheet with at least one panel; its width is clamped to `NARROWEST` and `WIDEST`, the height follows."""
    scale = Scale(min(max(width, NARROWEST), WIDEST))
    margin, inner = scale(_MARGIN), scale.width - 2 * scale(_MARGIN)
    grid = grid_for([(panel.width, panel.height) for panel in sheet.panels], width=inner, gap=scale(_GAP))
    starts = range(0, len(sheet.panels), grid.columns)
    rows = [sheet.panels[start : start + grid.columns] for start in starts]
    words = [(sheet.heading, scale.heading), *((line, scale.quiet) for line in sheet.lines)]
    parts = [
        _block([row for row in words if row[0]], inner, centred=False),
        *(_row(row, grid, scale) for row in rows),
        _block([(sheet.footer, scale.quiet)], inner, centred=True),
    ]
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


def _block(
    texts: Sequence[tuple[str, Style]], width: int, *, centred: bool, ground: tuple[int, int, int] = _PAGE
) -> Image.Image:
    """Texts below each other on a piece of the page."""
    broken = [(lines_of(text, style, width), style) for text, style in texts]
    height = sum(len(lines) * style.line_height for lines, style in broken)
    block = Image.new("RGB", (width, max(1, height)), ground)
    draw, top = ImageDraw.Draw(block), 0
    for lines, style in broken:
        top = draw_lines(draw, lines, style, (width // 2 if centred else 0, top), centred=centred)
    return block


def _row(panels: Sequence[Panel], grid: Grid, scale: Scale) -> Image.Image:
    """Pictures beside each other, their lower ends on one line, each over its caption."""
    pictures: list[Image.Image] = []
    for panel in panels:
        size, pixels = grid.fitted((panel.width, panel.height)), panel.pixels()
        if pixels is None:
            picture = Image.new("RGB", size, _GONE)
            said = _block([(_NO_PICTURE, scale.quiet)], size[0], centred=True, ground=_GONE)
            picture.paste(said, (0, max(0, (size[1] - said.height) // 2)))
        else:
            # averaged down, so that thin lines stay; up by cubic curves
            method = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_CUBIC
            picture = Image.fromarray(np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8))
        # a thin edge, so that the end of a white picture is seen
        ImageDraw.Draw(picture).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=_EDGE)
        pictures.append(picture)
    words = [
        _block([(panel.caption, scale.caption), (panel.detail, scale.quiet)], grid.width, centred=True)
        for panel in panels
    ]
    base = max(picture.height for picture in pictures)
    height = base + scale(_SPACE) + max(block.height for block in words)
    row = Image.new("RGB", (grid.columns * grid.width + (grid.columns - 1) * scale(_GAP), height), _PAGE)
    for index, (picture, block) in enumerate(zip(pictures, words, strict=True)):
        left = index * (grid.width + scale(_GAP))
        row.paste(picture, (left + (grid.width - picture.width) // 2, base - picture.height))
        row.paste(block, (left, base + scale(_SPACE)))
    return row
