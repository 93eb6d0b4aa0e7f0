"""Untrusted text for display: bounded, in one line, without control sequences or overrides of direction."""

import re
import unicodedata
from contextlib import suppress
from urllib.parse import urlsplit

MAX_QUOTE_CHARACTERS = 300
_TERMINAL = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
"""Control sequences of terminals (ECMA-48): colours, cursor, titles and links, with their parameters."""


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of a text, with an ellipsis where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def quote(text: str, limit: int = MAX_QUOTE_CHARACTERS) -> str:
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
