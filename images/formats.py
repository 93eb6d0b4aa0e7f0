"""Telling the format of a picture from its first bytes, whatever its name or header claims.

Signatures and sizes: PNG specification 5.2; JPEG (ITU T.81) B.1.1.3; WebP (RFC 9649); GIF89a 17; BMP
`BITMAPFILEHEADER`; ISO base media file format (`ftyp`) for HEIC, AVIF and video.
"""

from typing import Literal, TypeAlias

from controlnet_mcp.images.errors import ImageError

SourceType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"]
"""The MIME types that are decoded; every other format is refused."""

SIGNATURE_BYTES = 64
"""How many leading bytes are enough to tell the format."""

_ACCEPTED = "PNG, JPEG, WebP, GIF (its first frame) and BMP are accepted"
_SIGNATURES: tuple[tuple[bytes, SourceType], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document (perhaps SVG)"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"ii*\0", "a TIFF picture"),
    (b"mm\0*", "a TIFF picture"),
    (b"%pdf", "a PDF document"),
    (b"8bps", "a Photoshop document"),
    (b"{", "JSON text"),
)


def recognise(content: bytes) -> SourceType:
    """The format of a picture by its signature; the first `SIGNATURE_BYTES` bytes suffice.

    Raises:
        ImageError: `image_unreadable`: it is empty, or not of an accepted format; the message says what it looks like.
    """
    if not content:
        raise ImageError("image_unreadable", "The picture is empty (0 bytes).", hint=f"{_ACCEPTED}.")
    for signature, source_type in _SIGNATURES:
        if content.startswith(signature):
            return source_type
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    raise ImageError(
        "image_unreadable",
        f"This is not a picture that can be read: it looks like {_likeness(content)}.",
        hint=f"{_ACCEPTED}; convert it, or pass a link to the picture itself rather than to the page around it.",
    )


def webp_canvas(content: bytes) -> tuple[int, int]:
    """Width and height in pixels that the first chunk of a WebP file promises (RFC 9649: 2.5, 2.6, 2.7 and 3.4).

    Raises:
        ValueError: The chunk is none that holds a size.
    """
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
        case b"VP8L":
            sides = int.from_bytes(content[21:25], "little")
            return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = (int.from_bytes(content[start : start + 2], "little") for start in (26, 28))
            return width & 0x3FFF, height & 0x3FFF
        case _:
            raise ValueError("a WebP file that does not begin with a picture")


def _likeness(content: bytes) -> str:
    """What refused bytes look like, in words."""
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        return "an AVIF picture" if brand == b"avif" else "a HEIC picture or a video"
    start = content[:SIGNATURE_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((name for signature, name in _REFUSED if start.startswith(signature)), "something else")
