"""Scaling a picture to the resolution at which its structure is looked for.

Fitting pixels to the frame of a generation, and storing pixels that were made here.

Imported lazily: it brings OpenCV.
"""

import hashlib

import cv2
import numpy as np

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.png import encode_png

MOST_PIXELS = 4096 * 4096
"""A scaled picture holds no more than this: a narrow strip must not grow into gigabytes."""


def fit_for_detection(rgb: Rgb, resolution: int) -> Rgb:
    """Scale the shorter side to `resolution` pixels and keep the aspect, as sd-webui does before it detects.

    Detectors have widths in pixels (Canny's 3, lineart's sigma of 6), so this decides more about a map than the
    thresholds do. Area averaging when it shrinks, bicubic when it grows; the same picture when it fits already.

    Args:
        rgb: The picture.
        resolution: Wanted length of the shorter side in pixels, from 1.

    Raises:
        RequestError: `invalid_request` when the resolution is below 1 or the result would exceed 4096 x 4096 pixels.
    """
    height, width = rgb.shape[:2]
    scale = resolution / min(height, width)
    size = (round(width * scale), round(height * scale))
    if resolution < 1 or size[0] * size[1] > MOST_PIXELS:
        raise RequestError(
            "invalid_request",
            f"A resolution of {resolution} px would make a picture of {size[0]} x {size[1]} px out of this one.",
            hint=f"Give a resolution from 1 px that keeps width times height below {MOST_PIXELS}, for instance 512.",
        )
    if size == (width, height):
        return rgb
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), dtype=np.uint8)


def to_frame(rgb: Rgb, width: int, height: int) -> Rgb:
    """Crop around the middle to the aspect of the frame, then scale to it.

    Args:
        rgb: Shape (rows, columns, 3).
        width: Frame width in pixels.
        height: Frame height in pixels.

    Returns:
        Shape (height, width, 3); area averaging down, cubic up.
    """
    rows, columns = rgb.shape[:2]
    keep_columns = min(columns, max(1, round(rows * width / height)))
    keep_rows = min(rows, max(1, round(columns * height / width)))
    left, top = (columns - keep_columns) // 2, (rows - keep_rows) // 2
    cropped = rgb[top : top + keep_rows, left : left + keep_columns]
    if cropped.shape[:2] == (height, width):
        return np.ascontiguousarray(cropped)
    shrinks = width * height < keep_columns * keep_rows
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cropped, (width, height), interpolation=method), dtype=np.uint8)


def store_pixels(rgb: Rgb, blobs: BlobStore) -> StoredPicture:
    """Write pixels as PNG into the blob store."""
    content = encode_png(rgb)
    blobs.put(content, "image/png")
    height, width = rgb.shape[:2]
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredPicture(sha256=sha256, mime_type="image/png", width=width, height=height, size_bytes=len(content))
