"""From untrusted bytes to pixels, and to the clean copy that is stored and sent to third parties.

Imported lazily: it brings NumPy and OpenCV, and Pillow where this process decodes by itself.
"""

import hashlib

from controlnet_mcp.images.decoders import the_decoder
from controlnet_mcp.images.formats import recognise
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.pictures import Limits, StoredPicture, StoredType
from controlnet_mcp.images.png import encode_png, is_bare


def decode(content: bytes, limits: Limits) -> Rgb:
    """The pixels of a picture: upright, first frame, alpha flattened on white, 8 bits per channel.

    Args:
        content: A PNG, JPEG, WebP, GIF or BMP file.
        limits: Bytes and pixels that are accepted; both are checked before any pixel is allocated.

    Returns:
        Shape (height, width, 3), RGB, 0 to 255, read-only. Grey pictures have three equal channels.

    Raises:
        ImageError: `image_unreadable`: not of an accepted format, too large, truncated or broken.
    """
    return the_decoder()(content, limits)


def clean(content: bytes, limits: Limits) -> tuple[bytes, StoredPicture]:
    """The picture as PNG with nothing but its pixels: no EXIF, position, profile, text, thumbnail or trailing bytes.

    A PNG that is 8-bit RGB and holds nothing else already keeps its bytes, so cleaning twice changes nothing.

    Raises:
        ImageError: As `decode`.
    """
    rgb = decode(content, limits)
    kept = content if is_bare(content) else encode_png(rgb)
    return kept, _stored(kept, "image/png", rgb)


def original(content: bytes, limits: Limits) -> tuple[bytes, StoredPicture]:
    """A picture as its maker delivered it, once all of it was decoded; GIF and BMP become PNG.

    Raises:
        ImageError: As `decode`.
    """
    match recognise(content):
        case "image/gif" | "image/bmp":
            return clean(content, limits)
        case stored_type:
            return content, _stored(content, stored_type, decode(content, limits))


def _stored(content: bytes, mime_type: StoredType, rgb: Rgb) -> StoredPicture:
    height, width = rgb.shape[:2]
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredPicture(sha256=sha256, mime_type=mime_type, width=width, height=height, size_bytes=len(content))
