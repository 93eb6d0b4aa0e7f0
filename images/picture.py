"""The record of a stored picture, and the format of a picture by its first bytes, whatever is claimed.

`ImageError` codes: `image_blocked` is about where a picture is (it may not be read from there), `image_unreadable` is
about what it is (missing, too large, broken, not a picture).

Signatures and sizes: PNG specification 5.2; JPEG (ITU T.81) B.1.1.3; WebP (RFC 9649); GIF89a 17; BMP
`BITMAPFILEHEADER`; TIFF 6.0, section 2; ISO base media file format (`ftyp`) for HEIC, AVIF and video.
"""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from controlnet_mcp.foundation.errors import ImageError

StoredType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp"]
"""The MIME types that the blob store holds."""

EXTENSIONS: dict[StoredType, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""File name extension of each stored type; never taken from a caller's text."""


Use: TypeAlias = Literal["picture", "depth", "mask"]
"""What a picture is read as: a plain picture (most maps are read as such), a depth map, or the mask of another one."""


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


SourceType: TypeAlias = Literal[
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/avif",
    "image/heic",
]
"""The MIME types that are decoded (HEIC with the extra `controlnet-mcp[heic]`); every other format is refused."""

SIGNATURE_BYTES = 64
"""Leading bytes that are enough to tell the format."""

_ACCEPTED = "PNG, JPEG, WebP, AVIF, TIFF, BMP and GIF (its first frame that shows something) are accepted"
_SIGNATURES: tuple[tuple[bytes, SourceType], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_CONVERT = "convert it, or pass a link to the picture itself rather than to the page around it"
_LFS = "a pointer of Git LFS and not the file itself"
_HINTS: dict[str, str] = {
    _LFS: "Run `git lfs pull` where the file is (a link has to lead to the file in LFS), then pass it again.",
    "a Windows icon": "Save its largest picture as PNG and pass that.",
    "a raw photo of a camera": "Develop it: save it as JPEG or PNG with a photo program, and pass that.",
}
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", _LFS),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document (perhaps SVG)"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"ii+\0", "a BigTIFF picture"),
    (b"mm\0+", "a BigTIFF picture"),
    (b"\0\0\1\0", "a Windows icon"),
    (b"\0\0\2\0", "a Windows cursor"),
    (b"icns", "an Apple icon"),
    (b"\0\0\0\x0cjp  \r\n\x87\n", "a JPEG 2000 picture"),
    (b"\xffo\xffq", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cjxl \r\n\x87\n", "a JPEG XL picture"),
    (b"\xff\n", "a JPEG XL picture"),
    (b"v/1\1", "an OpenEXR picture"),
    (b"#?radiance", "a Radiance HDR picture"),
    (b"dds ", "a DDS texture"),
    (b"qoif", "a QOI picture"),
    *((f"p{digit}\n".encode(), "a PNM picture") for digit in range(1, 8)),
    (b"%pdf", "a PDF document"),
    (b"%!ps", "a PostScript document"),
    (b"8bps", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"pk\3\4", "a ZIP archive (perhaps a Krita, Procreate or office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"fujifilmccd", "a raw photo of a camera"),
    (b"iiu\0", "a raw photo of a camera"),
    (b"iiro", "a raw photo of a camera"),
    (b"\x1ae\xdf\xa3", "a video"),
    (b"{", "JSON text"),
)
"""First bytes in lower case, and what they are the beginning of."""


def recognise(content: bytes) -> SourceType:
    """The format of a picture by its signature; the first `SIGNATURE_BYTES` bytes suffice.

    Raises:
        ImageError: `image_unreadable`: it is empty, or not of an accepted format; the message says what it looks like.
    """
    if not content:
        raise ImageError("image_unreadable", "The picture is empty (0 bytes).", hint=f"{_ACCEPTED}.")
    likeness = "something else"
    start = content[:SIGNATURE_BYTES]
    if start.startswith((b"II*\0", b"MM\0*")) and start[8:10] == b"CR":
        raise not_read("a raw photo of a camera")
    for signature, source_type in _SIGNATURES:
        if start.startswith(signature):
            return source_type
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start[4:8] == b"ftyp":  # the brands: the major one, its version, the compatible ones
        box = start[: min(int.from_bytes(start[:4], "big"), SIGNATURE_BYTES)]
        brands = {box[place : place + 4] for place in (8, *range(16, len(box) - 3, 4))}
        if brands & _AVIF_BRANDS:
            return "image/avif"
        if brands & _HEIC_BRANDS:
            return "image/heic"
        likeness = "a raw photo of a camera" if start[8:12] == b"crx " else "a video"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    raise not_read(next((name for signature, name in _REFUSED if text.startswith(signature)), likeness))


def not_read(likeness: str) -> ImageError:
    """The refusal of a file that is something else than a picture of an accepted format."""
    return ImageError(
        "image_unreadable",
        f"This is not a picture that can be read: it looks like {likeness}.",
        hint=_HINTS.get(likeness, f"{_ACCEPTED}; {_CONVERT}."),
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
