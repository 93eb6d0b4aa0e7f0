"""Text on a sheet, in any script: replaced where it cannot be drawn, broken into lines, and drawn.

Imported lazily: it brings Pillow. Pillow's own font has plain Latin letters only, and a font of all scripts is larger
than this program; but a machine on which Chinese is written has a font for it. Pillow looks for `FALLBACKS` where each
system keeps its fonts. A character that none of them draws is replaced by words.
"""

import itertools
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont, features
from PIL.ImageFont import FreeTypeFont

from controlnet_mcp.foundation.text import one_line

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
    if face != _OWN:
        return ImageFont.truetype(face, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, FreeTypeFont):  # a Pillow without FreeType; its wheels all have it
        raise TypeError("Pillow was built without FreeType")
    return font


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
