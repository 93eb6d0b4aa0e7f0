"""Fitting pixels to the frame of a generation, and storing pixels that were made here.

Imported lazily: it brings OpenCV.
"""

import hashlib

import cv2
import numpy as np

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.images.png import encode_png


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
