"""The array types of pictures and maps, conversions between them, and work on a picture in strips of rows."""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""A picture: shape (height, width, 3), 8 bits a channel, red first."""

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""What a picture file holds: a picture as `Rgb`, or with alpha as a fourth channel (the colours not multiplied by it),
or deep grey values of shape (height, width) as they are in the file, NaN where there are none."""

Plane: TypeAlias = npt.NDArray[np.uint8]
"""One channel: shape (height, width), 8 bits; in a line map 0 is empty and 255 is a line."""

Levels: TypeAlias = npt.NDArray[np.float32]
"""One channel of measured values: shape (height, width); 0 to 255 is the range of a picture's brightness."""

Scalar = TypeVar("Scalar", np.uint8, np.float32)

HALF = 127
"""The brightest level of the darker half."""


def luminance(rgb: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Brightness of each pixel after Rec. 601 (0.299 red, 0.587 green, 0.114 blue), rounded if they are integers."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=rgb.dtype)


def strongest_channel(rgb: Rgb) -> Plane:
    """The largest of red, green and blue at each pixel."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)


def weakest_channel(rgb: Rgb) -> Plane:
    """The smallest of red, green and blue at each pixel."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.uint8)


def channel_spread(rgb: Rgb) -> Plane:
    """The strongest channel less the weakest at each pixel; 0 where it is grey."""
    return np.asarray(cv2.subtract(strongest_channel(rgb), weakest_channel(rgb)), dtype=np.uint8)


def three_channels(plane: Plane) -> Rgb:
    """The plane as a picture of three equal channels."""
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def resized(values: npt.NDArray[Scalar], size: tuple[int, ...]) -> npt.NDArray[Scalar]:
    """Scale a picture or plane to a width and height: averaging when smaller, cubic when larger, itself when equal."""
    height, width = values.shape[:2]
    if (width, height) == size:
        return values
    method = cv2.INTER_AREA if size[0] * size[1] < width * height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(values, size, interpolation=method), dtype=values.dtype)


def blurred(levels: Levels, sigma_pixels: float) -> Levels:
    """The levels under a Gaussian."""
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma_pixels), dtype=np.float32)


def disc(radius: int) -> Plane:
    """A round structuring element."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


STRIP_ROWS = 64
STRIP_MARGINS = 16
"""A strip has at least as many rows as this many of its margins, which are worked through twice."""

SourceT = TypeVar("SourceT", bound=np.generic)
ResultT = TypeVar("ResultT", bound=np.generic)


def strip_by_strip(
    source: npt.NDArray[SourceT],
    result: npt.NDArray[ResultT],
    work: Callable[[npt.NDArray[SourceT]], npt.NDArray[ResultT]],
    margin_rows: int,
) -> npt.NDArray[ResultT]:
    """Fill the result, which has as many rows as the source, with what `work` makes of the source, and hand it back.

    The numbers are the same as in one piece: a row depends on `margin_rows` rows of the source above and below it.
    Strips fit the cache, and a large picture takes little memory.
    """
    rows = max(STRIP_ROWS, STRIP_MARGINS * margin_rows)
    for top in range(0, len(source), rows):
        above = min(top, margin_rows)
        made = work(source[top - above : top + rows + margin_rows])
        result[top : top + rows] = made[above : above + rows]
    return result
