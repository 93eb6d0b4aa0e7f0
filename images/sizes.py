"""Fitting the size of a picture to what a provider accepts."""

import math
from itertools import product


def fit_size(
    width: int, height: int, *, minimum: int, maximum: int, multiple: int, target_pixels: int | None = None
) -> tuple[int, int]:
    """The legal size that keeps the aspect of a picture best and then its area.

    Args:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        minimum: Least pixels on either side that the provider accepts.
        maximum: Most pixels on either side that the provider accepts.
        multiple: Both sides must be multiples of this.
        target_pixels: Area to aim at (a model trained at 1024x1024 wants 1,048,576); none keeps the picture's own.

    Returns:
        Width and height. A size that is legal already stays as it is, unless there is a target.

    Raises:
        ValueError: A size is not positive, or no multiple lies between minimum and maximum.
    """
    smallest, largest = math.ceil(minimum / multiple) * multiple, maximum // multiple * multiple
    if min(width, height) < 1 or not 0 < smallest <= largest:
        raise ValueError(f"no size fits {width}x{height} to {minimum}..{maximum} in multiples of {multiple}")
    long, short = max(width, height), min(width, height)
    scale = math.sqrt(target_pixels / (long * short)) if target_pixels else 1.0
    scale = min(max(scale, smallest / short), largest / long)
    choices = product(
        _around(long * scale, smallest, largest, multiple), _around(short * scale, smallest, largest, multiple)
    )
    fitted = min(choices, key=lambda size: _distance(size, long * scale, short * scale))
    return fitted if width >= height else (fitted[1], fitted[0])


def _around(side: float, smallest: int, largest: int, multiple: int) -> list[int]:
    """The legal multiples just below and just above a wished side."""
    steps = round(side / multiple, 6)
    return [min(max(step * multiple, smallest), largest) for step in (math.floor(steps), math.ceil(steps))]


def _distance(size: tuple[int, int], long: float, short: float) -> tuple[float, float]:
    """How far a size is from the wish: in aspect first, then in area (both as logarithms of ratios)."""
    aspect = math.log(size[0] / size[1]) - math.log(long / short)
    area = math.log(size[0] * size[1]) - math.log(long * short)
    return round(abs(aspect), 9), round(abs(area), 9)
