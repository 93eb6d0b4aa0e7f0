"""Pictures on their way out: PNG for the store, small JPEG copies that keep inside a byte budget.

Imported lazily: it brings Pillow, NumPy and OpenCV. Copies are JPEG because every host shows it; WebP was measured
at about two thirds of the bytes for ten times the time.
"""

import math
from typing import Literal, TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import Limits
from controlnet_mcp.images.png import encode_png

__all__ = ["encode_png", "jpeg_within", "preview", "recompress"]

CopyType: TypeAlias = Literal["image/jpeg"]

_SMALLEST_BUDGET_BYTES = 1024  # a JPEG of one pixel needs about 700
_QUALITIES = (90, 80, 70, 55, 40)


def preview(
    content: bytes, *, longest_side: int = 768, max_bytes: int, limits: Limits | None = None
) -> tuple[bytes, CopyType]:
    """A small copy for a model or a person to look at.

    Args:
        content: A picture file.
        longest_side: Most pixels on the longer side; a smaller picture is not enlarged.
        max_bytes: Budget of the copy in bytes, at least 1024. Quality gives way first, then size.
        limits: Bytes and pixels accepted of `content`.

    Returns:
        The copy and its MIME type; the same for the same input.

    Raises:
        ImageError: `image_unreadable`: `content` cannot be decoded.
        ValueError: The budget is too small for any picture.
    """
    rgb = decode(content, limits or Limits())
    scale = longest_side / max(rgb.shape[:2])
    return jpeg_within(_scaled(rgb, min(scale, 1.0)), max_bytes), "image/jpeg"


def recompress(content: bytes, max_bytes: int, limits: Limits | None = None) -> tuple[bytes, CopyType]:
    """A copy of a large original in as many pixels as `max_bytes` (at least 1024) holds at fair quality.

    Raises:
        ImageError: `image_unreadable`: `content` cannot be decoded.
        ValueError: The budget is too small for any picture.
    """
    return jpeg_within(decode(content, limits or Limits()), max_bytes), "image/jpeg"


def jpeg_within(rgb: Rgb, max_bytes: int) -> bytes:
    """The best JPEG of at most `max_bytes`: lower quality by steps, then fewer pixels by the measured ratio."""
    if max_bytes < _SMALLEST_BUDGET_BYTES:
        raise ValueError(f"max_bytes must be at least {_SMALLEST_BUDGET_BYTES}, got {max_bytes}")
    while True:
        size_bytes = 0
        for quality in _QUALITIES:
            encoded = _jpeg(rgb, quality)
            size_bytes = len(encoded)
            if size_bytes <= max_bytes:
                return encoded
        rgb = _scaled(rgb, min(math.sqrt(max_bytes / size_bytes), 0.9))


def _scaled(rgb: Rgb, scale: float) -> Rgb:
    """The picture with both sides multiplied by `scale` (0 to 1), at least one pixel each."""
    if scale == 1.0:
        return rgb
    height, width = rgb.shape[:2]
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    result: Rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return result


def _jpeg(rgb: Rgb, quality: int) -> bytes:
    """A JPEG of the pixels; `quality` is 1 to 100."""
    parameters = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes()
