"""Where the pictures of this process are decoded: in it, or, when it serves others, in workers that may die of one.

Decoding is the only step that runs large native code on bytes of strangers, so it goes through this one door: a picture
that a caller passed, a result, its preview, its copy for a message and its control map. Cheap to import.

From untrusted bytes to pixels, and to the clean copy that is stored and sent to third parties.

Imported lazily: it brings NumPy and OpenCV, and Pillow where this process decodes by itself.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import Limits, StoredPicture, StoredType, recognise
from controlnet_mcp.images.png import encode_png, is_bare

Decoder: TypeAlias = Callable[[bytes, Limits], Rgb]
"""As `controlnet_mcp.images.pillow_decoder.pixels_of`; it blocks, and is called in worker threads."""


def _here(content: bytes, limits: Limits) -> Rgb:
    from controlnet_mcp.images.pillow_decoder import pixels_of

    return pixels_of(content, limits)


_chosen: list[Decoder] = [_here]


def the_decoder() -> Decoder:
    """The decoder in force: a property of the process, as its memory is, and so no argument of thirty functions."""
    return _chosen[-1]


@contextmanager
def decoding_by(decoder: Decoder) -> Generator[None]:
    """Have every picture decoded by `decoder` while the block lasts; blocks may be nested, not interleaved."""
    _chosen.append(decoder)
    try:
        yield
    finally:
        _chosen.remove(decoder)


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
