"""Lines of a photo without weights: Canny, XDoG scribbles, lineart_standard and pencil lines.

The rules are those of the reference annotators (ControlNet 1.1, sd-webui-controlnet, controlnet_aux): on the same
array the first three give the same bytes. White on black, at the resolution of the picture.
"""

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb, luminance
from controlnet_mcp.images.maps.strips import strip_by_strip

PENCIL_FAINT = 8
"""Levels of relative darkness that a pencil line must exceed."""
PENCIL_GAIN = 5.0
"""Brightness of a pencil line for each such level more."""
PENCIL_SIGMA_PIXELS = 3.0
"""Width of the Gaussian that stands for the surroundings; OpenCV cuts it off at four times that."""
PENCIL_SHADE = 32
"""Levels added to the surroundings, so that noise in deep shade is not amplified."""
LINEART_LEAST = 16
"""Levels: lines are never amplified more than if they had this median strength."""


def canny(rgb: Rgb, low_threshold: int, high_threshold: int) -> Plane:
    """Edges, exactly as `cv2.Canny` finds them in all three channels (the strongest gradient counts)."""
    return np.asarray(cv2.Canny(rgb, low_threshold, high_threshold), dtype=np.uint8)


def _blurred(levels: Levels, sigma_pixels: float) -> Levels:
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma_pixels), dtype=np.float32)


def _darker_in_channel(rgb: Rgb, index: int, around_sigma_pixels: float, fine_sigma_pixels: float) -> Levels:
    fine: Levels = np.asarray(cv2.extractChannel(rgb, index), dtype=np.float32)
    around = _blurred(fine, around_sigma_pixels)
    if fine_sigma_pixels:
        fine = _blurred(fine, fine_sigma_pixels)
    return np.asarray(cv2.subtract(around, fine, dst=around), dtype=np.float32)


def darker_than_around(rgb: Rgb, around_sigma_pixels: float, fine_sigma_pixels: float = 0.0) -> Levels:
    """By how many levels each pixel is darker than its surroundings in all three channels (negative: brighter).

    The least of the three differences counts. One channel at a time is faster than all at once, and takes less memory.

    Args:
        rgb: The picture.
        around_sigma_pixels: Width of the Gaussian that stands for the surroundings.
        fine_sigma_pixels: Width of the Gaussian that stands for the pixel; 0 takes the pixel itself.
    """
    least = _darker_in_channel(rgb, 0, around_sigma_pixels, fine_sigma_pixels)
    for index in (1, 2):
        cv2.min(least, _darker_in_channel(rgb, index, around_sigma_pixels, fine_sigma_pixels), dst=least)
    return least


def scribble(rgb: Rgb, threshold: int) -> Plane:
    """XDoG lines: white where the doubled difference of Gaussians (sigma 0.5 and 5) is above the threshold.

    The reference keeps 255 minus the difference as a truncated byte before it doubles and compares; that comes to a
    difference above `threshold // 2`. Its doubling wraps round at 256, which hollows out the blackest strokes; that
    is not copied.

    Args:
        rgb: The picture.
        threshold: Twice the least difference, 1 to 255 levels; 32 is the reference's.
    """
    difference = darker_than_around(rgb, around_sigma_pixels=5.0, fine_sigma_pixels=0.5)
    np.subtract(255.0, difference, out=difference)
    return np.multiply(difference < 255 - threshold // 2, np.uint8(255), dtype=np.uint8)


def _line_strength(strength: Levels, faint: float) -> float:
    """Median of the strengths above faint, at least 16; the median is only worked out where it can matter."""
    counted = strength[strength > faint]
    if np.count_nonzero(counted <= LINEART_LEAST) * 2 > counted.size or not counted.size:
        return float(LINEART_LEAST)
    return max(float(LINEART_LEAST), float(np.median(counted)))


def lineart(rgb: Rgb, gaussian_sigma_pixels: float, intensity_threshold: int) -> Plane:
    """Lines as lineart_standard draws them: as strong as the pixel is darker than a Gaussian around it.

    Args:
        rgb: The picture.
        gaussian_sigma_pixels: Of that Gaussian; 6 is the reference's.
        intensity_threshold: Weaker lines do not count for the median that sets the brightness; 8 is the reference's.
    """
    strength = darker_than_around(rgb, around_sigma_pixels=gaussian_sigma_pixels)
    np.clip(strength, 0.0, 255.0, out=strength)
    strength /= np.float32(_line_strength(strength, intensity_threshold))
    strength *= np.float32(127.0)
    return np.minimum(strength, 255.0, out=strength).astype(np.uint8)


def _strip_pencil(rgb: Rgb) -> Plane:
    brightness = luminance(rgb).astype(np.float32)
    around = _blurred(brightness, PENCIL_SIGMA_PIXELS)
    darker = np.asarray(cv2.subtract(around, _blurred(brightness, 1.0)), dtype=np.float32)
    around += PENCIL_SHADE
    cv2.divide(darker, around, dst=darker, scale=255.0 * PENCIL_GAIN)
    darker -= PENCIL_FAINT * PENCIL_GAIN
    return np.asarray(cv2.convertScaleAbs(np.maximum(darker, 0.0, out=darker)), dtype=np.uint8)


def pencil(rgb: Rgb) -> Plane:
    """Fine pencil-like lines of a photo: thinner than a scribble, and relative to the brightness around them.

    The luminance under a Gaussian of sigma 1 against one of sigma 3, divided by the latter (as the colour dodge of a
    pencil filter does), so contours in shade show as well as in light and fine texture does not. The definition is
    ours.
    """
    plane: Plane = np.empty(rgb.shape[:2], dtype=np.uint8)
    return strip_by_strip(rgb, plane, _strip_pencil, margin_rows=round(4 * PENCIL_SIGMA_PIXELS))
