"""Encoding: PNG for the store, small JPEG copies that keep inside a byte budget.

PNG is 8-bit RGB without metadata, fast to make and the same bytes every time. Copies are JPEG because every host shows
it; WebP was measured at about two thirds of the bytes for ten times the time. Imported lazily: it brings Pillow, NumPy
and OpenCV, which here only ever sees pixels that were decoded already.
"""

import io
import math
import struct
from collections.abc import Mapping

import cv2
import numpy as np
from PIL.PngImagePlugin import PngInfo, putchunk

from controlnet_mcp.images.maps.arrays import Rgb, resized

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = len(_SIGNATURE) + 12 + 13
_EIGHT_BIT_RGB = b"\x08\x02"
_BARE_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND"})

# Measured on a 4096x4096 photograph: run lengths after the "up" filter take 0.4 s and 30.9 MiB; Pillow's fastest level
# takes 1.5 s and 32.3 MiB. Edge maps and flat drawings are no larger than at deflate's own level 1 either.
_FAST = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)
_SMALLEST_BUDGET_BYTES = 1024  # a JPEG of one pixel needs about 700
_QUALITIES = (90, 80, 70, 55, 40)


def encode_png(rgb: Rgb, text: Mapping[str, str] | None = None) -> bytes:
    """A picture as PNG: lossless, deterministic, without metadata but the given text.

    Text is keywords (1 to 79 Latin-1 characters) and their texts, written as `iTXt` chunks after the header, where
    readers that stop at the pixels find them.

    Raises:
        ValueError: The pixels are not of that shape and type.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:  # noqa: PLR2004  # height, width, three channels
        raise ValueError(f"expected 8-bit pixels of shape (height, width, 3), got {rgb.dtype} {rgb.shape}")
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _FAST)
    content = encoded.tobytes()
    info, chunks = PngInfo(), io.BytesIO()
    for keyword, value in (text or {}).items():
        info.add_itxt(keyword, value)
    for name, data, *_ in info.chunks:
        putchunk(chunks, name, data)
    return content[:_HEADER_BYTES] + chunks.getvalue() + content[_HEADER_BYTES:]


def is_bare(content: bytes) -> bool:
    """Tell whether a PNG is 8-bit RGB and holds only its pixels: no metadata, no profile, nothing after the end."""
    if not content.startswith(_SIGNATURE) or content[24:26] != _EIGHT_BIT_RGB:
        return False
    offset, name = len(_SIGNATURE), b""
    while name != b"IEND" and offset + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, offset)
        if name not in _BARE_CHUNKS:
            return False
        offset += 12 + length
    return name == b"IEND" and offset == len(content)


def preview(rgb: Rgb, *, longest_side: int = 768, max_bytes: int) -> bytes:
    """A JPEG copy of at most `longest_side` pixels, never enlarged, within a budget; raises as `jpeg_within`."""
    return jpeg_within(_scaled(rgb, min(longest_side / max(rgb.shape[:2]), 1.0)), max_bytes)


def jpeg_within(rgb: Rgb, max_bytes: int) -> bytes:
    """The best JPEG of at most `max_bytes` (at least 1024): lower quality by steps, then fewer pixels; deterministic.

    Raises:
        ValueError: The budget is too small for any picture.
    """
    if max_bytes < _SMALLEST_BUDGET_BYTES:
        raise ValueError(f"max_bytes must be at least {_SMALLEST_BUDGET_BYTES}, got {max_bytes}")
    while True:
        size_bytes = 0
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        for quality in _QUALITIES:
            parameters = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
            encoded = cv2.imencode(".jpg", bgr, parameters)[1].tobytes()
            size_bytes = len(encoded)
            if size_bytes <= max_bytes:
                return encoded
        rgb = _scaled(rgb, min(math.sqrt(max_bytes / size_bytes), 0.9))


def _scaled(rgb: Rgb, scale: float) -> Rgb:
    """The picture with both sides multiplied by `scale` (0 to 1), at least one pixel each."""
    height, width = rgb.shape[:2]
    return resized(rgb, (max(1, int(width * scale)), max(1, int(height * scale))))
