"""How much of a picture is accepted before anything of it is decoded or allocated."""

from dataclasses import dataclass


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
"""Wider than for what callers hand in: a result was paid for. What the store holds keeps within them."""
