"""Sizes that a provider accepts, and scaling a picture to a frame or to the resolution at which maps are made.

Importing this module is cheap: NumPy and OpenCV come with the first picture.
"""

import math
from itertools import product
from typing import TYPE_CHECKING

from controlnet_mcp.foundation.errors import RequestError

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

MOST_PIXELS = 4096 * 4096
"""A scaled picture holds no more than this: a narrow strip must not grow into gigabytes."""


def fit_for_detection(rgb: "Rgb", resolution: int) -> "Rgb":
    """Scale the shorter side to `resolution` pixels and keep the aspect, as sd-webui does before it detects.

    Detectors have widths in pixels (Canny's 3, lineart's sigma of 6), so this decides more about a map than the
    thresholds do. Area averaging when it shrinks, bicubic when it grows; the same picture when it fits already.

    Raises:
        RequestError: `invalid_request` when the resolution is below 1 or the result would exceed 4096 x 4096 pixels.
    """
    from controlnet_mcp.images.maps.arrays import resized

    height, width = rgb.shape[:2]
    scale = resolution / min(height, width)
    size = (round(width * scale), round(height * scale))
    if resolution < 1 or size[0] * size[1] > MOST_PIXELS:
        raise RequestError(
            "invalid_request",
            f"A resolution of {resolution} px would make a picture of {size[0]} x {size[1]} px out of this one.",
            hint=f"Give a resolution from 1 px that keeps width times height below {MOST_PIXELS}, for instance 512.",
        )
    return resized(rgb, size)


def to_frame(rgb: "Rgb", width: int, height: int) -> "Rgb":
    """Crop around the middle to the aspect of a frame in pixels, then scale to it: area averaging down, cubic up."""
    import numpy as np

    from controlnet_mcp.images.maps.arrays import resized

    return np.ascontiguousarray(resized(crop(rgb, width, height), (width, height)))


def crop(rgb: "Rgb", width: int, height: int) -> "Rgb":
    """The largest part around the middle of a picture with the aspect of a frame; a view, not a copy."""
    rows, columns = rgb.shape[:2]
    keep_columns = min(columns, max(1, round(rows * width / height)))
    keep_rows = min(rows, max(1, round(columns * height / width)))
    left, top = (columns - keep_columns) // 2, (rows - keep_rows) // 2
    return rgb[top : top + keep_rows, left : left + keep_columns]


def fit_size(
    width: int, height: int, *, minimum: int, maximum: int, multiple: int, target_pixels: int | None = None
) -> tuple[int, int]:
    """The legal width and height that keep the aspect of a picture best and then its area, in pixels.

    Both sides are multiples of `multiple` from `minimum` to `maximum`. The area to aim at is the picture's own (so a
    size that is legal already stays), or `target_pixels`: a model trained at 1024x1024 wants 1,048,576.

    Raises:
        ValueError: A size is not positive, or no multiple lies between minimum and maximum.
    """
    smallest, largest = math.ceil(minimum / multiple) * multiple, maximum // multiple * multiple
    if min(width, height) < 1 or not 0 < smallest <= largest:
        raise ValueError(f"no size fits {width}x{height} to {minimum}..{maximum} in multiples of {multiple}")
    long, short = max(width, height), min(width, height)
    scale = math.sqrt(target_pixels / (long * short)) if target_pixels else 1.0
    scale = min(max(scale, smallest / short), largest / long)
    wanted = long * scale, short * scale
    nearest = (
        [min(max(step * multiple, smallest), largest) for step in (math.floor(steps), math.ceil(steps))]
        for steps in (round(side / multiple, 6) for side in wanted)
    )

    def distance(size: tuple[int, ...]) -> tuple[float, float]:
        """In aspect first, then in area (both as logarithms of ratios)."""
        aspect = math.log(size[0] / size[1]) - math.log(wanted[0] / wanted[1])
        area = math.log(size[0] * size[1]) - math.log(wanted[0] * wanted[1])
        return round(abs(aspect), 9), round(abs(area), 9)

    fitted = min(product(*nearest), key=distance)
    return (fitted[0], fitted[1]) if width >= height else (fitted[1], fitted[0])
