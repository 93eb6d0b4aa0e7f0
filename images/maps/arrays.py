"""The array types that pictures and maps travel in, and the two conversions that all map makers share."""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""A picture: shape (height, width, 3), 8 bits a channel, red first."""

Plane: TypeAlias = npt.NDArray[np.uint8]
"""One channel: shape (height, width), 8 bits; in a line map 0 is empty and 255 is a line."""

Levels: TypeAlias = npt.NDArray[np.float32]
"""One channel of measured values: shape (height, width); 0 to 255 is the range of a picture's brightness."""

HALF = 127
"""The brightest level of the darker half."""


def luminance(rgb: Rgb) -> Plane:
    """Brightness of each pixel after Rec. 601 (0.299 red, 0.587 green, 0.114 blue), rounded."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def three_channels(plane: Plane) -> Rgb:
    """The plane as a picture of three equal channels."""
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
