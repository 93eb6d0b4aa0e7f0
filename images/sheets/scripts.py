"""Text as it can be set: without what would disturb a page, and with words in the place of what no font here draws.

Pure: whether a character can be drawn is asked of a function.
"""

import itertools
import unicodedata
from collections.abc import Callable

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


def plain(text: str) -> str:
    """The text in one line: control characters, overrides of direction and unassigned characters are left out."""
    spaced = (" " if char.isspace() else char for char in text)
    kept = (char for char in spaced if char in _JOINERS or unicodedata.category(char)[0] != "C")
    return " ".join("".join(kept).split())


def needs_shaping(character: str) -> bool:
    """Whether a script is unreadable when its letters are set one after the other, from left to right."""
    code = ord(character)
    rightwards = unicodedata.bidirectional(character) in {"R", "AL", "AN"}
    return rightwards or any(first <= code <= last for first, last in _SHAPED_RANGES)


def runs_leftwards(text: str) -> bool:
    """Whether a text is written from right to left: its first letter with a direction says so (Unicode annex 9, P2)."""
    strong = (unicodedata.bidirectional(char) for char in text)
    return next((kind for kind in strong if kind in {"L", "R", "AL"}), "L") != "L"


def legible(text: str, drawable: Callable[[str], bool]) -> str:
    """The text as it can be drawn: `cafe` for `café`, else `[12 Hangul characters]` or `[cat face]` where it cannot."""
    simpler = "".join(char if _passes(char, drawable) else _simpler(char, drawable) for char in text)
    groups = itertools.groupby(simpler, lambda char: "" if _passes(char, drawable) else _told(char))
    return "".join(_spelled(name, "".join(group)) for name, group in groups)


def may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters: after spaces, and around ideographs and their like."""
    if before.isspace():
        return not after.isspace()
    return unicodedata.east_asian_width(after) in _WIDE and unicodedata.category(after) not in {"Pe", "Po", "Pf"}


def _passes(char: str, drawable: Callable[[str], bool]) -> bool:
    return char.isspace() or char in _JOINERS or drawable(char)


def _simpler(char: str, drawable: Callable[[str], bool]) -> str:
    """The letter without its accents, or a sign that stands for it; the character itself where there is none."""
    letters = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    written = letters.translate(_PLAINER)
    return written if written and all(map(drawable, written)) else char


def _told(char: str) -> str:
    """What a group of characters is called: a letter after its script, anything else by its own name."""
    name = unicodedata.name(char, "unknown").lower()
    return f"+{name.split(maxsplit=1)[0]}" if unicodedata.category(char)[0] in _WRITTEN else name


def _spelled(name: str, group: str) -> str:
    if not name:
        return group
    if not name.startswith("+"):
        return f"[{name}]" * len(group)
    script = name[1:].upper() if name == "+cjk" else name[1:].capitalize()
    return f"[{len(group)} {script} character{'s' * (len(group) > 1)}]"
