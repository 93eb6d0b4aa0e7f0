"""Untrusted text for display: bounded, in one line, without control sequences or overrides of direction."""

import re
import unicodedata
from contextlib import suppress
from urllib.parse import urlsplit

MOST_REPEATED_CHARACTERS = 100
"""Most characters that a sentence repeats of what was handed in, or of what a provider said."""
MOST_MESSAGE_BYTES = 2700
"""Longest sentences on what happened: with a hint of at most `MOST_HINT_BYTES` an error has less than 4 kB."""
MOST_HINT_BYTES = 1200
_TERMINAL = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
"""Control sequences of terminals (ECMA-48): colours, cursor, titles and links, with their parameters."""
LONGEST_PATH = 300
"""Longest path or address of the operator's in a hint or in the log."""
_EXAMINED_CHARACTERS = 2000
"""Characters of a text's beginning and of its end that can be in a sentence: what lies between is repeated."""
_MARKS = "'\"`"
_QUOTED = re.compile(rf"(?<!\w)([{_MARKS}])((?:(?!\1(?!\w)).)+)\1(?!\w)", re.DOTALL)
"""What stands between quotation marks; an apostrophe inside a word is none."""
_UNBROKEN = re.compile(rf"[^\s{_MARKS}/\\]{{{MOST_REPEATED_CHARACTERS + 1},}}")
"""What no word and no part of a path is as long as."""
_PATH = re.compile(rf"[^\s{_MARKS}]{{{MOST_REPEATED_CHARACTERS + 1},}}")


def shortened(text: str, limit: int = MOST_REPEATED_CHARACTERS) -> str:
    """At most `limit` characters of a text, with an ellipsis where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def bounded(text: str, most_bytes: int = MOST_MESSAGE_BYTES, *, longest_path: int = MOST_REPEATED_CHARACTERS) -> str:
    """Sentences within a number of bytes, in which everything that is repeated is cut, whoever wrote them.

    What is cut loses its middle. Half characters, which no encoder takes, become question marks.
    """
    if len(text) > 2 * _EXAMINED_CHARACTERS:
        text = f"{text[:_EXAMINED_CHARACTERS]}…{text[-_EXAMINED_CHARACTERS:]}"
    if len(text) > MOST_REPEATED_CHARACTERS:
        text = _QUOTED.sub(lambda found: f"{found[1]}{_ends(found[2], MOST_REPEATED_CHARACTERS)}{found[1]}", text)
        text = _UNBROKEN.sub(lambda found: _ends(found[0], MOST_REPEATED_CHARACTERS), text)
        text = _PATH.sub(lambda found: _ends(found[0], longest_path), text)
    content = text.encode("utf-8", "replace")
    if len(content) > most_bytes:
        head = most_bytes * 2 // 3
        content = content[:head] + "…".encode() + content[head + 3 - most_bytes :]
    return content.decode("utf-8", "ignore")


def _ends(text: str, limit: int) -> str:
    """The beginning and the end of a text, at most `limit` characters together."""
    head = limit * 2 // 3
    return text if len(text) <= limit else f"{text[:head]}…{text[head + 1 - limit :]}"


def bounded_hint(text: str) -> str:
    """A hint, likewise: it may name folders and commands of the operator's, which are of use only as a whole."""
    return bounded(text, MOST_HINT_BYTES, longest_path=LONGEST_PATH)


def quote(text: str, limit: int = MOST_REPEATED_CHARACTERS) -> str:
    """Untrusted text within `limit` characters: it is data, not instructions.

    What is taken out leaves a space, so that no secret that was split by invisible characters is put together again.
    """
    return shortened(one_line(_TERMINAL.sub(" ", text[: limit * 4])), limit)


def one_line(text: str, *, instead: str = " ", kept: str = "") -> str:
    """The text in one line, without control characters, overrides of direction and unassigned characters.

    Args:
        text: Any text.
        instead: Stands for each such character that is no white space.
        kept: Such characters that stay.
    """
    shown = (
        char if char in kept or unicodedata.category(char)[0] != "C" else " " if char.isspace() else instead
        for char in text
    )
    return " ".join("".join(shown).split())


def checked_url(text: str) -> str:
    """The text, where it is a URL of a web server: http or https, with a host.

    Raises:
        ValueError: It is none.
    """
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not re.search(r"\s", text):
            return text
    raise ValueError("should be a URL, as https://host")
