"""Canny's two thresholds, chosen from the picture: dim, hazy and noisy ones give about the edges of the clear one."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.strips import STRIP_ROWS

EDGE_SHARE = 0.1
"""Fraction of the pixels whose gradient is strong enough to begin an edge (before Canny thins them)."""
NOISE_FACTOR = 2.5
"""An edge begins at no less than this many times the median gradient: in a picture of grain that is no edge."""
LEAST, MOST = 24, 255
"""Levels: below is the grain of a good camera; above is outside the knob's range, and all else is an edge there."""
STRONGEST = 4 * 255 * 2
"""Largest length of a Sobel gradient, as the sum of its two parts."""


def _gradients(rgb: Rgb) -> npt.NDArray[np.int16]:
    """Canny's own measure: the sum of the two Sobel parts, in the channel where it is largest."""
    across = np.abs(cv2.Sobel(rgb, cv2.CV_16S, 1, 0))
    down = np.abs(cv2.Sobel(rgb, cv2.CV_16S, 0, 1))
    red, green, blue = cv2.split(cv2.add(across, down))
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.int16)


def automatic_thresholds(rgb: Rgb) -> tuple[int, int]:
    """The low and the high threshold for a picture, in levels.

    An edge begins where the strongest tenth of the gradients does (the rule of MATLAB's `edge`, with a tenth), unless
    that is within the noise; it goes on at half of that, the ratio of the standard 100 and 200. Gradients grow with the
    contrast, so the same scene gives the same edges in any light.
    """
    counts: npt.NDArray[np.int64] = np.zeros(STRONGEST + 1, dtype=np.int64)
    for top in range(0, rgb.shape[0], STRIP_ROWS):
        counts += np.bincount(_gradients(rgb[top : top + STRIP_ROWS]).ravel(), minlength=STRONGEST + 1)
    below = np.cumsum(counts)
    strong, median = np.searchsorted(below, [(1 - EDGE_SHARE) * below[-1], 0.5 * below[-1]])
    high = round(min(max(float(strong), NOISE_FACTOR * float(median), LEAST), MOST))
    return high // 2, high
