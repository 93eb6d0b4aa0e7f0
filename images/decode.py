"""Decoding untrusted bytes to pixels, and the clean copy that is stored and sent to third parties.

Decoding is the only step that runs large native code on such bytes. A `Decoder` works in this process, or, where HTTP
is served, in workers that a picture may crash (`controlnet_mcp.images.sandbox`).
Importing this module is cheap: Pillow, NumPy and OpenCV come with the first picture.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.picture import StoredPicture, StoredType, recognise

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

Decoder: TypeAlias = Callable[[bytes, Limits], "Rgb"]
"""A function like `decode`; it blocks, and is called in worker threads."""


def decode(content: bytes, limits: Limits) -> "Rgb":
    """The pixels of a PNG, JPEG, WebP, GIF or BMP file, decoded in this process; read-only.

    They are upright, of the first frame, with alpha flattened on white; grey pictures have three equal channels. The
    limits are checked before any pixel is allocated.

    Raises:
        ImageError: `image_unreadable`: not of an accepted format, too large, truncated or broken.
    """
    from controlnet_mcp.images.pillow_decoder import pixels_of

    return pixels_of(content, limits)


def clean(content: bytes, limits: Limits, decoder: Decoder = decode) -> tuple[bytes, StoredPicture]:
    """The picture as PNG with nothing but its pixels: no EXIF, position, profile, text, thumbnail or trailing bytes.

    A PNG that is 8-bit RGB and holds nothing else already keeps its bytes, so cleaning twice changes nothing. Raises as
    `decode`.
    """
    from controlnet_mcp.images.encode import encode_png, is_bare

    rgb = decoder(content, limits)
    kept = content if is_bare(content) else encode_png(rgb)
    return kept, describe(kept, "image/png", rgb)


def original(content: bytes, limits: Limits, decoder: Decoder = decode) -> tuple[bytes, StoredPicture]:
    """A picture as its maker delivered it, once all of it was decoded; GIF and BMP become PNG. Raises as `decode`."""
    match recognise(content):
        case "image/gif" | "image/bmp":
            return clean(content, limits, decoder)
        case stored_type:
            return content, describe(content, stored_type, decoder(content, limits))


def describe(content: bytes, mime_type: StoredType, rgb: "Rgb") -> StoredPicture:
    """The record of a picture file with these pixels."""
    height, width = rgb.shape[:2]
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredPicture(sha256=sha256, mime_type=mime_type, width=width, height=height, size_bytes=len(content))
