"""The record of a stored picture, and the format of a picture by its first bytes, whatever is claimed.

`ImageError` codes: `image_blocked` is about where a picture is (it may not be read from there), `image_unreadable` is
about what it is (missing, too large, broken, not a picture).

Signatures and sizes: PNG specification 5.2; JPEG (ITU T.81) B.1.1.3; WebP (RFC 9649); GIF89a 17; BMP
`BITMAPFILEHEADER`; ISO base media file format (`ftyp`) for HEIC, AVIF and video.
"""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from controlnet_mcp.foundation.errors import ImageError

StoredType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp"]
"""The MIME types that the blob store holds."""

EXTENSIONS: dict[StoredType, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""File name extension of each stored type; never taken from a caller's text."""


class StoredPicture(BaseModel):
    """A picture in the blob store, as it is written into the job's record.

    The SHA-256 of the stored bytes is the key in the blob store; width and height are in pixels, after the orientation
    of the camera was applied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    mime_type: StoredType
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    size_bytes: int = Field(ge=1)


def too_large(max_bytes: int) -> ImageError:
    """The refusal of a picture that is longer than `max_bytes`."""
    return ImageError(
        "image_unreadable",
        f"The picture is larger than the limit of {max_bytes:,} bytes.",
        hint="Save it smaller, for example as JPEG or with fewer pixels, and pass that.",
    )


SourceType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"]
"""The MIME types that are decoded; every other format is refused."""

SIGNATURE_BYTES = 64
"""Leading bytes that are enough to tell the format."""

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
    start = content[:SIGNATURE_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    likeness = next((name for signature, name in _REFUSED if start.startswith(signature)), "something else")
    if content[4:8] == b"ftyp":
        likeness = "an AVIF picture" if content[8:12] == b"avif" else "a HEIC picture or a video"
    raise ImageError(
        "image_unreadable",
        f"This is not a picture that can be read: it looks like {likeness}.",
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
