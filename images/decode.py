"""Decoding untrusted bytes to pixels, and the clean copy that is stored and sent to third parties.

Decoding is the only step that runs large native code on such bytes. A `Decoder` works in this process, or, where HTTP
is served, in workers that a picture may crash (`controlnet_mcp.images.sandbox`).
Importing this module is cheap: Pillow, NumPy and OpenCV come with the first picture.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.picture import StoredPicture, StoredType, Use, recognise

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Pixels, Rgb

_FOREIGN = frozenset({"image/gif", "image/tiff", "image/avif", "image/heic"})
"""Formats that providers may not read, or not the frame that was read here."""

Decoder: TypeAlias = Callable[[bytes, Limits], "Pixels"]
"""A function like `decode_channels`; it blocks, and is called in worker threads."""


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """A picture that was read and stored.

    Attributes:
        notes: Sentences for the user about how it was taken.
        changed: Whether it shows something else than its file does elsewhere: a link to the file is no substitute.
    """

    picture: StoredPicture
    notes: tuple[str, ...] = ()
    changed: bool = False


def decode_channels(content: bytes, limits: Limits) -> "Pixels":
    """The pixels of a picture file with its alpha and deep values, decoded in this process; raises as `decode`."""
    from controlnet_mcp.images.pillow_decoder import pixels_of

    return pixels_of(content, limits)


def decode(content: bytes, limits: Limits, decoder: Decoder = decode_channels) -> "Rgb":
    """The pixels of a picture file as a plain picture; read-only where a worker decoded them.

    They are upright, in sRGB, of the first frame that shows something, without alpha; grey pictures have three equal
    channels. A JPEG beyond the most pixels is decoded smaller. The limits are checked before any pixel is allocated.

    Raises:
        ImageError: `image_unreadable`: not of an accepted format, too large, truncated or broken.
    """
    from controlnet_mcp.images.channels import take

    return take(decoder(content, limits)).rgb


def clean(
    content: bytes,
    limits: Limits,
    decoder: Decoder = decode_channels,
    use: Use = "picture",
    frame: tuple[int, int] | None = None,
) -> tuple[bytes, ReadPicture]:
    """The picture as PNG with nothing but its pixels: no EXIF, position, profile, text, thumbnail or trailing bytes.

    A PNG that is 8-bit RGB and holds nothing else already keeps its bytes, so cleaning twice changes nothing. A depth
    map and a mask are taken as `controlnet_mcp.images.channels.take` does.

    Raises:
        ImageError: As `decode`, and for a blank mask.
    """
    from controlnet_mcp.images.channels import take
    from controlnet_mcp.images.encode import encode_png, is_bare

    taken = take(decoder(content, limits), use, frame)
    kept = content if is_bare(content) and not taken.changed else encode_png(taken.rgb)
    foreign = recognise(content) in _FOREIGN
    return kept, ReadPicture(describe(kept, "image/png", taken.rgb), taken.notes, taken.changed or foreign)


def original(content: bytes, limits: Limits, decoder: Decoder = decode_channels) -> tuple[bytes, StoredPicture]:
    """A picture as its maker delivered it, once all of it was decoded; what is not stored becomes PNG.

    Raises as `decode`.
    """
    match recognise(content):
        case "image/png" | "image/jpeg" | "image/webp" as stored_type:
            return content, describe(content, stored_type, decode(content, limits, decoder))
        case _:
            kept, read = clean(content, limits, decoder)
            return kept, read.picture


def describe(content: bytes, mime_type: StoredType, rgb: "Rgb") -> StoredPicture:
    """The record of a picture file with these pixels."""
    height, width = rgb.shape[:2]
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredPicture(sha256=sha256, mime_type=mime_type, width=width, height=height, size_bytes=len(content))
