"""Scaling a picture to the resolution at which its structure is looked for."""

import cv2
import numpy as np

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.images.maps.arrays import Rgb

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
