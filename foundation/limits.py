"""Limits on pictures that hold before anything of them is decoded or allocated, and on what is remembered."""

from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one picture.

    Attributes:
        max_bytes: Longest file, download or `data:` URI, in bytes as they arrive.
        max_pixels: Most pixels (width times height) of a picture that is decoded.
        fetch_timeout_seconds: Longest time for a download, redirects included.
        max_redirects: Most redirects that a download follows.
        stall_seconds: The window in which a download must keep to its lowest speed
            (`controlnet_mcp.images.download.read_body`).
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 40_000_000
    fetch_timeout_seconds: float = 20.0
    max_redirects: int = 3
    stall_seconds: float = 15.0


RESULT_LIMITS = Limits(max_bytes=256 * 1024 * 1024, max_pixels=150_000_000, fetch_timeout_seconds=300.0)
"""Limits on results, which were paid for, and so on all stored pictures."""


def remember(kept: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Keep a value in a table that must not grow without end: it is emptied where it holds `most` values."""
    if len(kept) >= most:
        kept.clear()
    kept[key] = value
