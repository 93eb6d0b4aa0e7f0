"""Lines of a photo without weights: Canny, XDoG scribbles, lineart_standard, pencil, soft contours and straight lines.

White on black, at the resolution of the picture. The rules of Canny, scribble and lineart are those of the reference
annotators (ControlNet 1.1, sd-webui-controlnet, controlnet_aux): on the same array they give the same bytes. Soft
contours and straight lines stand in for the learned HED and M-LSD annotators.
"""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import STRIP_ROWS, Levels, Plane, Rgb, blurred, luminance, strip_by_strip

STRONGEST = 4 * 255 * 2
"""Largest length of a Sobel gradient, as the sum of its two parts."""
LINEART_LEAST = 16
"""Levels: lines are never amplified more than if they had this median strength."""
PENCIL_GAIN = 5.0
"""Brightness of a pencil line for each such level more."""
PENCIL_SIGMA_PIXELS = 3.0
"""Width of the Gaussian that stands for the surroundings; OpenCV cuts it off at four times that."""
SAMPLE_SIDE = 256
"""Strengths are looked at on a grid of about this many rows and columns."""


def canny(rgb: Rgb, low_threshold: int, high_threshold: int) -> Plane:
    """Edges, exactly as `cv2.Canny` finds them in all three channels (the strongest gradient counts)."""
    return np.asarray(cv2.Canny(rgb, low_threshold, high_threshold), dtype=np.uint8)


def automatic_thresholds(rgb: Rgb) -> tuple[int, int]:
    """Canny's low and high threshold for a picture, in levels.

    Dim, hazy and noisy pictures give about the edges of the clear one: an edge begins where the strongest tenth of the
    gradients does (the rule of MATLAB's `edge`, with a tenth), unless that is within the noise; it goes on at half of
    that, the ratio of the standard 100 and 200. The gradient is Canny's own: the sum of the two Sobel parts, in the
    channel where it is largest.
    """
    counts: npt.NDArray[np.int64] = np.zeros(STRONGEST + 1, dtype=np.int64)
    for top in range(0, rgb.shape[0], STRIP_ROWS):
        strip = rgb[top : top + STRIP_ROWS]
        across, down = np.abs(cv2.Sobel(strip, cv2.CV_16S, 1, 0)), np.abs(cv2.Sobel(strip, cv2.CV_16S, 0, 1))
        red, green, blue = cv2.split(cv2.add(across, down))
        strongest = np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.int16)
        counts += np.bincount(strongest.ravel(), minlength=STRONGEST + 1)
    below = np.cumsum(counts)
    strong, median = np.searchsorted(below, [0.9 * below[-1], 0.5 * below[-1]])
    # above the noise (of which the median speaks) and the grain of a good camera, within the range of the knob
    high = round(min(max(float(strong), 2.5 * float(median), 24), 255))
    return high // 2, high


def _darker_in_channel(rgb: Rgb, index: int, around_sigma_pixels: float, fine_sigma_pixels: float) -> Levels:
    """The difference in one channel; in a function of its own, so that nothing of one stays for the next."""
    fine: Levels = np.asarray(cv2.extractChannel(rgb, index), dtype=np.float32)
    around = blurred(fine, around_sigma_pixels)
    if fine_sigma_pixels:
        fine = blurred(fine, fine_sigma_pixels)
    return np.asarray(cv2.subtract(around, fine, dst=around), dtype=np.float32)


def darker_than_around(rgb: Rgb, around_sigma_pixels: float, fine_sigma_pixels: float = 0.0) -> Levels:
    """Levels by which each pixel is darker than its surroundings in all three channels (negative: brighter).

    The least of the three differences counts. The sigmas are those of the Gaussians that stand for the surroundings and
    for the pixel (0: the pixel itself). One channel at a time is faster than all at once, and takes less memory.
    """
    least = _darker_in_channel(rgb, 0, around_sigma_pixels, fine_sigma_pixels)
    for index in (1, 2):
        cv2.min(least, _darker_in_channel(rgb, index, around_sigma_pixels, fine_sigma_pixels), dst=least)
    return least


def scribble(rgb: Rgb, threshold: int) -> Plane:
    """XDoG lines: white where the doubled difference of Gaussians (sigma 0.5 and 5) is above the threshold.

    The reference, with a threshold of 32 of 255 levels, keeps 255 minus the difference as a truncated byte before it
    doubles and compares; that comes to a difference above `threshold // 2`. Its doubling wraps round at 256, which
    hollows out the blackest strokes; that is not copied.
    """
    difference = darker_than_around(rgb, around_sigma_pixels=5.0, fine_sigma_pixels=0.5)
    np.subtract(255.0, difference, out=difference)
    return np.multiply(difference < 255 - threshold // 2, np.uint8(255), dtype=np.uint8)


def lineart(rgb: Rgb, gaussian_sigma_pixels: float, intensity_threshold: int) -> Plane:
    """Lines as lineart_standard draws them: as strong as the pixel is darker than a Gaussian around it.

    Lines below the threshold do not count for the median that sets the brightness. The reference has a sigma of 6
    pixels and a threshold of 8 levels.
    """
    strength = darker_than_around(rgb, around_sigma_pixels=gaussian_sigma_pixels)
    np.clip(strength, 0.0, 255.0, out=strength)
    counted = strength[strength > intensity_threshold]
    middle = float(LINEART_LEAST)
    if counted.size and np.count_nonzero(counted <= LINEART_LEAST) * 2 <= counted.size:  # else it cannot be above
        middle = max(middle, float(np.median(counted)))
    strength /= np.float32(middle)
    strength *= np.float32(127.0)
    return np.minimum(strength, 255.0, out=strength).astype(np.uint8)


def pencil(rgb: Rgb) -> Plane:
    """Fine pencil-like lines of a photo: thinner than a scribble, and relative to the brightness around them.

    The luminance under a Gaussian of sigma 1 against one of sigma 3, divided by the latter (as the colour dodge of a
    pencil filter does), so contours in shade show as well as in light and fine texture does not. The definition is
    ours.
    """

    def lines_in(strip: Rgb) -> Plane:
        brightness = luminance(strip).astype(np.float32)
        around = blurred(brightness, PENCIL_SIGMA_PIXELS)
        darker = np.asarray(cv2.subtract(around, blurred(brightness, 1.0)), dtype=np.float32)
        around += 32  # levels, so that noise in deep shade is not amplified
        cv2.divide(darker, around, dst=darker, scale=255.0 * PENCIL_GAIN)
        darker -= 8 * PENCIL_GAIN  # fainter lines are none
        return np.asarray(cv2.convertScaleAbs(np.maximum(darker, 0.0, out=darker)), dtype=np.uint8)

    plane: Plane = np.empty(rgb.shape[:2], dtype=np.uint8)
    return strip_by_strip(rgb, plane, lines_in, margin_rows=round(4 * PENCIL_SIGMA_PIXELS))


def _steepness(rgb: Rgb) -> Levels:
    """Length of the Scharr gradient (16 times levels per pixel) in the channel where it is longest."""

    def steepness_in(strip: Rgb) -> Levels:
        longest: Levels = np.zeros(strip.shape[:2], dtype=np.float32)
        for index in range(3):
            channel = cv2.extractChannel(strip, index)
            across, down = cv2.Scharr(channel, cv2.CV_32F, 1, 0), cv2.Scharr(channel, cv2.CV_32F, 0, 1)
            cv2.max(longest, cv2.magnitude(across, down, magnitude=across), dst=longest)
        return longest

    return strip_by_strip(rgb, np.empty(rgb.shape[:2], dtype=np.float32), steepness_in, margin_rows=1)


def softedge(rgb: Rgb) -> Plane:
    """Soft contours: Scharr gradients at full, half and quarter size added up, the strongest hundredth white.

    What shows at all scales adds up; texture, which shows at one, stays faint. It approximates HED: the learned
    annotator also knows objects.
    """
    full = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.0), dtype=np.uint8)
    half = np.asarray(cv2.pyrDown(full), dtype=np.uint8)
    quarter = np.asarray(cv2.pyrDown(half), dtype=np.uint8)
    total = _steepness(quarter)
    for picture in (half, full):
        finer = _steepness(picture)
        coarser = cv2.resize(total, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
        total = np.asarray(cv2.add(finer, coarser, dst=finer), dtype=np.float32)
    sample = total[:: max(1, total.shape[0] // SAMPLE_SIDE), :: max(1, total.shape[1] // SAMPLE_SIDE)]
    strong = max(float(np.percentile(sample, 99)), 3 * 16 * 4.0)  # never less than 4 levels a pixel at three scales
    return np.asarray(cv2.convertScaleAbs(total, alpha=255.0 / strong), dtype=np.uint8)


def softened(strokes: Plane) -> Plane:
    """The strokes of a drawing with soft flanks, as softedge would show each: one contour, not its two sides."""
    smooth = cv2.GaussianBlur(strokes, (0, 0), 1.5)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=2.0), dtype=np.uint8)


def straight_lines(rgb: Rgb, minimum_length: float) -> Plane:
    """Straight lines, one pixel wide, found by OpenCV's line segment detector in the luminance.

    It approximates M-LSD, which prefers the long lines of rooms and buildings and draws them as thin. A thick stroke of
    a drawing gives two lines, one for each side. A large picture is looked at from further away: at its full size a
    long line breaks into many short ones, and M-LSD looks at 512 pixels, too. The minimum length is a fraction of the
    shorter side, 0 to 1.
    """
    plane: Plane = np.zeros(rgb.shape[:2], dtype=np.uint8)
    scale = min(0.55, 576 / max(plane.shape))  # at OpenCV's own 0.8: more short lines, more memory
    found = cv2.createLineSegmentDetector(scale=scale).detect(luminance(rgb))[0]
    if not np.ndim(found):  # None where there is no line, whatever the type stub says
        return plane
    ends = np.asarray(found, dtype=np.float32).reshape(-1, 2, 2)  # column before row
    along = ends[:, 1] - ends[:, 0]
    kept = ends[np.hypot(along[:, 0], along[:, 1]) >= minimum_length * min(plane.shape)]
    cv2.polylines(plane, list(np.rint(kept).astype(np.int32)), isClosed=False, color=255, thickness=1)
    return plane
