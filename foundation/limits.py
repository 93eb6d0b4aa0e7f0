"""Limits on pictures that hold before anything of them is decoded or allocated, on links, and on what is remembered."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias, TypeVar

AddressRange: TypeAlias = IPv4Network | IPv6Network
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


STAND_IN_SPACE: tuple[AddressRange, ...] = (
    IPv4Network("198.18.0.0/15"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("fc00::/18"),
    IPv6Network("fdfe:dcba:9876::/48"),
    IPv6Network("2001:2::/48"),
)
"""Addresses of nobody, which local proxies give to public names: those of benchmarks (RFC 2544, RFC 5180), reserved
ones, and what sing-box, Xray and mihomo take for IPv6 by default."""


@dataclass(frozen=True, slots=True)
class Network:
    """The way from this machine to links that nobody vouches for, as the operator tells it.

    Attributes:
        stand_ins: Where a local proxy lets public names resolve to; within `STAND_IN_SPACE`.
        proxy: URL of the proxy through which such links are fetched.
        unused_proxy: The variable that names a proxy through which they are not fetched.
    """

    stand_ins: tuple[AddressRange, ...] = ()
    proxy: str | None = None
    unused_proxy: str | None = None


DIRECT = Network()
"""Links are dialled from here, and names resolve to what they are."""


def remember(kept: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Keep a value in a table that must not grow without end: it is emptied where it holds `most` values."""
    if len(kept) >= most:
        kept.clear()
    kept[key] = value
