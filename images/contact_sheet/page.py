"""The page of a contact sheet: its layout, and its text in any script.

Imported lazily: it brings NumPy, OpenCV and Pillow. Pillow's own font has plain Latin letters only, and a font of all
scripts is larger than this program; but a machine on which Chinese is written has a font for it. Pillow looks for
`FALLBACKS` where each system keeps its fonts. A character that none of them draws is replaced by words.
"""

import io
import itertools
import math
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias, cast

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features
from PIL.ImageFont import FreeTypeFont

from controlnet_mcp.foundation.text import one_line
from controlnet_mcp.images.contact_sheet import NARROWEST, WIDEST, WIDTH, Panel, Sheet

FALLBACKS: tuple[str, ...] = (
    # Latin, Greek, Cyrillic, and Hebrew and Arabic in some
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "segoeui.ttf", "arial.ttf", "Arial.ttf", "Arial Unicode.ttf"),
    # Chinese, Japanese, Korean
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc"),
    *("DroidSansFallbackFull.ttf", "msyh.ttc", "YuGothM.ttc", "msgothic.ttc", "malgun.ttf", "simsun.ttc"),
    *("Hiragino Sans GB.ttc", "ヒラギノ角ゴシック W3.ttc", "AppleSDGothicNeo.ttc", "STHeiti Light.ttc"),
    # other scripts, one by one
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf"),
    *("NotoSansThai-Regular.ttf", "Nirmala.ttf", "Nirmala.ttc", "leelawui.ttf", "Kohinoor.ttc", "Thonburi.ttc"),
    *("NotoSansSymbols2-Regular.ttf", "seguisym.ttf", "Apple Symbols.ttf"),
)
"""File names of fonts on Linux, Windows and macOS, the first choice first."""
_MOST_CHARACTERS = 2000
"""Characters of a text that are looked at: more than any page shows of it."""
_LINE_HEIGHT, _BASE_LINE = 1.4, 1.08
"""By the size of the letters: from line to line, and from the top of a line to its base; accents on capitals fit."""
_ELLIPSIS = "…"
_ANY_SIZE = 20
_OWN = ""
"""Stands for the font that Pillow brings, which has no file name."""
_NOWHERE = "\U0010ffff"
"""No font draws this, so what is drawn instead shows how a font says that it has no glyph."""
_JOINERS = "\u200c\u200d"
"""Invisible, but they shape the letters around them."""
_WRITTEN = frozenset("LMN")
"""First letters of the Unicode categories of letters, their marks and numbers."""
_SHAPED_RANGES = ((0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x17FF))
"""Indic scripts, Tibetan and Burmese, Khmer: their letters change place and form."""
_WIDE = frozenset("WF")
_PLAINER = str.maketrans(
    {
        "\N{EM DASH}": "-",
        "\N{EN DASH}": "-",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{MIDDLE DOT}": "|",
        "\N{LATIN SMALL LETTER SHARP S}": "ss",
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
        "\N{LATIN SMALL LETTER AE}": "ae",
    }
)


@dataclass(frozen=True, slots=True)
class Style:
    """Style of a text: the size of its letters in pixels, its colour, and the most lines that it may take."""

    size: int
    colour: tuple[int, int, int]
    lines: int

    @property
    def line_height(self) -> int:
        """From one base line to the next in pixels."""
        return round(self.size * _LINE_HEIGHT)


def lines_of(text: str, style: Style, width: int) -> list[str]:
    """The text in at most `style.lines` lines that are no wider than `width` pixels."""
    rest = legible(one_line(text[:_MOST_CHARACTERS], instead="", kept=_JOINERS), drawable)
    lines: list[str] = []
    while rest and len(lines) < style.lines:
        # as many characters as fit, found by halving since a longer text is never narrower
        counts = range(1, min(len(rest), max(1, width // max(1, style.size // 5))) + 1)
        count = max(
            1, bisect_right(counts, float(width), key=lambda count: width_of(rest[:count].rstrip(), style.size))
        )
        if count < len(rest):  # back to where a line may break; a longer word is cut
            places = (at for at in range(count, 0, -1) if may_break(rest[at - 1], rest[at]) or rest[at].isspace())
            count = next(places, count)
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    if rest or len(text) > _MOST_CHARACTERS:
        last = lines[-1]
        while last and width_of(last + _ELLIPSIS, style.size) > width:
            last = last[:-1].rstrip()
        lines[-1] = last + _ELLIPSIS
    return lines


def draw_lines(
    draw: ImageDraw.ImageDraw, lines: list[str], style: Style, place: tuple[int, int], *, centred: bool
) -> int:
    """Draw lines of `lines_of` below each other; `place` is the upper left end, or the upper middle when centred.

    Returns:
        Where the next line would begin, in pixels from the top.
    """
    left, top = place
    direction = "rtl" if runs_leftwards(" ".join(lines)) else "ltr"
    for line in lines:
        start = left - width_of(line, style.size) / 2 if centred else float(left)
        for text, font in _runs_of(line, style.size):
            shaped = font.layout_engine == ImageFont.Layout.RAQM  # else letters are only set one after the other
            draw.text(
                (start, top + round(style.size * _BASE_LINE)),
                text,
                font=font,
                fill=style.colour,
                anchor="ls",
                direction=direction if shaped else None,
            )
            start += font.getlength(text)
        top += style.line_height
    return top


def width_of(text: str, size: int) -> float:
    """The width of a line in pixels."""
    return sum(font.getlength(run) for run, font in _runs_of(text, size))


def may_break(before: str, after: str) -> bool:
    """Tell whether a line may end between two characters: after spaces, and around ideographs and their like."""
    if before.isspace():
        return not after.isspace()
    return unicodedata.east_asian_width(after) in _WIDE and unicodedata.category(after) not in {"Pe", "Po", "Pf"}


def runs_leftwards(text: str) -> bool:
    """Tell whether a text is written from right to left, by its first letter with a direction (Unicode annex 9, P2)."""
    strong = (unicodedata.bidirectional(char) for char in text)
    return next((kind for kind in strong if kind in {"L", "R", "AL"}), "L") != "L"


def legible(text: str, drawable: Callable[[str], bool]) -> str:
    """The text as it can be drawn: `cafe` for `café`, else `[12 Hangul characters]` or `[cat face]` where it cannot."""

    def passes(char: str) -> bool:
        return char.isspace() or char in _JOINERS or drawable(char)

    def simpler(char: str) -> str:
        """The letter without its accents, or a sign that stands for it; the character itself where there is none."""
        letters = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
        written = letters.translate(_PLAINER)
        return written if written and all(map(drawable, written)) else char

    def named(char: str) -> tuple[bool, str]:
        """Tell whether a character belongs to a script, and name that script; name any other character itself."""
        if passes(char):
            return False, ""
        name = unicodedata.name(char, "unknown").lower()
        written = unicodedata.category(char)[0] in _WRITTEN
        return written, name.split(maxsplit=1)[0] if written else name

    parts: list[str] = []
    for (written, name), chars in itertools.groupby("".join(c if passes(c) else simpler(c) for c in text), named):
        group = "".join(chars)
        if written:
            script = name.upper() if name == "cjk" else name.capitalize()
            parts.append(f"[{len(group)} {script} character{'s' * (len(group) > 1)}]")
        else:
            parts.append(f"[{name}]" * len(group) if name else group)
    return "".join(parts)


def drawable(character: str) -> bool:
    """Tell whether a font of this machine draws a character so that it can be read."""
    return _face_of(character) is not None


def _runs_of(text: str, size: int) -> list[tuple[str, FreeTypeFont]]:
    """A line, all `drawable`, in fonts: one where it draws all of it, because only then directions are set right."""
    whole = next((face for face in _faces() if all(_draws(face, char) for char in text)), None)
    runs: list[tuple[str, str]] = []
    for char in text:
        face = (_face_of(char) or _OWN) if whole is None else whole
        if runs and (runs[-1][1] == face or char.isspace()):
            runs[-1] = (runs[-1][0] + char, runs[-1][1])
        else:
            runs.append((char, face))
    return [(part, _font(face, size)) for part, face in runs]


@cache
def _faces() -> tuple[str, ...]:
    """Pillow's own font, and those of the fallbacks that this machine has."""
    found = [_OWN]
    for name in FALLBACKS:
        with suppress(OSError):
            ImageFont.truetype(name, _ANY_SIZE)
            found.append(name)
    return tuple(found)


@lru_cache(maxsize=64)
def _font(face: str, size: int) -> FreeTypeFont:
    """A font in a size."""
    # with a size, Pillow's own font is a FreeType font, too
    return ImageFont.truetype(face, size) if face != _OWN else cast("FreeTypeFont", ImageFont.load_default(size))


@lru_cache(maxsize=4096)
def _face_of(character: str) -> str | None:
    """The first font of this machine that draws a character."""
    return next((face for face in _faces() if _draws(face, character)), None)


@lru_cache(maxsize=8192)
def _draws(face: str, character: str) -> bool:
    """Tell whether a font draws a character so that it can be read, its letters shaped where the script needs that."""
    if character.isspace():
        return True
    rightwards = unicodedata.bidirectional(character) in {"R", "AL", "AN"}
    shaped = rightwards or any(first <= ord(character) <= last for first, last in _SHAPED_RANGES)
    if shaped and not features.check_feature("raqm"):
        return False
    font = _font(face, _ANY_SIZE)
    shape = _shape(font, character)
    return bool(shape) and shape != _shape(font, _NOWHERE)


def _shape(font: FreeTypeFont, character: str) -> bytes:
    """The pixels of a character; nothing for one that leaves no mark."""
    place = Image.new("L", (3 * _ANY_SIZE, 3 * _ANY_SIZE))
    ImageDraw.Draw(place).text((_ANY_SIZE, _ANY_SIZE), character, font=font, fill=255)
    return place.tobytes() if place.getbbox() else b""


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
