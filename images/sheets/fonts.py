"""Fonts for text in any script: the one that Pillow brings, then those that this machine has.

Imported lazily: it brings Pillow. Pillow's own font has plain Latin letters only, and a font of all scripts is larger
than this program; but a machine on which somebody writes Chinese has a font for it. Pillow looks for the names below
where each system keeps its fonts. What none of them draws is told in words (`controlnet_mcp.images.sheets.scripts`).
"""

from dataclasses import dataclass
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont, features
from PIL.ImageFont import FreeTypeFont

from controlnet_mcp.images.sheets.scripts import needs_shaping

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
_ANY_SIZE = 20
_NOWHERE = "\U0010ffff"
"""No font draws this, so what is drawn instead shows how a font says that it has no glyph."""


@dataclass(frozen=True, slots=True)
class Run:
    """Characters that one font draws."""

    text: str
    font: FreeTypeFont

    def direction(self, *, leftwards: bool) -> str | None:
        """How to set it in a text of that direction; `None` where letters are only set one after the other."""
        if self.font.layout_engine != ImageFont.Layout.RAQM:
            return None
        return "rtl" if leftwards else "ltr"


def drawable(character: str) -> bool:
    """Whether some font here draws a character so that it can be read."""
    return bool(_face_of(character)) or _default_draws(character)


def runs_of(text: str, size: int) -> list[Run]:
    """A line in fonts: one for all of it where there is one, because only then directions are set right.

    Args:
        text: Every character of it `drawable`, or a space.
        size: Of the letters in pixels.
    """
    if all(_default_draws(char) for char in text):
        return [Run(text, _font(None, size))] if text else []
    whole = next((face for face in _faces() if all(_draws(face, char) for char in text)), None)
    faces = [whole or _face_of(char) for char in text]
    runs: list[tuple[str, str | None]] = []
    for char, face in zip(text, faces, strict=True):
        if runs and (runs[-1][1] == face or char.isspace()):
            runs[-1] = (runs[-1][0] + char, runs[-1][1])
        else:
            runs.append((char, face))
    return [Run(part, _font(face, size)) for part, face in runs]


@cache
def _faces() -> tuple[str, ...]:
    return tuple(name for name in FALLBACKS if _opens(name))


def _opens(name: str) -> bool:
    try:
        ImageFont.truetype(name, _ANY_SIZE)
    except OSError:
        return False
    return True


@lru_cache(maxsize=64)
def _font(face: str | None, size: int) -> FreeTypeFont:
    """A font in a size; the one that Pillow brings has no name."""
    if face is not None:
        return ImageFont.truetype(face, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, FreeTypeFont):  # a Pillow without FreeType; its wheels all have it
        raise TypeError("Pillow was built without FreeType")
    return font


@lru_cache(maxsize=4096)
def _face_of(character: str) -> str | None:
    """The first font of this machine that draws a character that Pillow's own does not."""
    if _default_draws(character):
        return None
    return next((face for face in _faces() if _draws(face, character)), None)


def _default_draws(character: str) -> bool:
    return _draws(None, character)


@lru_cache(maxsize=8192)
def _draws(face: str | None, character: str) -> bool:
    if character.isspace():
        return True
    if needs_shaping(character) and not features.check_feature("raqm"):
        return False
    font = _font(face, _ANY_SIZE)
    shape = _shape(font, character)
    return bool(shape) and shape != _shape(font, _NOWHERE)


def _shape(font: FreeTypeFont, character: str) -> bytes:
    """The pixels of a character; nothing for one that leaves no mark."""
    place = Image.new("L", (3 * _ANY_SIZE, 3 * _ANY_SIZE))
    ImageDraw.Draw(place).text((_ANY_SIZE, _ANY_SIZE), character, font=font, fill=255)
    return place.tobytes() if place.getbbox() else b""
