"""Soft contours and straight lines without weights: stand-ins for the learned HED and M-LSD annotators."""

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb, luminance
from controlnet_mcp.images.maps.strips import strip_by_strip

STRONG_PERCENTILE = 99.0
"""The contour strength that becomes white."""
LEAST_STRONG = 3 * 16 * 4.0
"""Summed Scharr responses (16 per level and pixel, at three scales) below which white is never set."""
SAMPLE_SIDE = 256
"""Strengths are looked at on a grid of about this many rows and columns."""
SEGMENT_SCALE = 0.55
"""The picture is scaled by this before lines are looked for (at OpenCV's own 0.8: more short lines, more memory)."""
SEGMENT_PIXELS = 576
"""And so that its longer side has no more than this."""


def _steepness_of(channel: cv2.typing.MatLike) -> Levels:
    across = cv2.Scharr(channel, cv2.CV_32F, 1, 0)
    return np.asarray(cv2.magnitude(across, cv2.Scharr(channel, cv2.CV_32F, 0, 1), magnitude=across), dtype=np.float32)


def _strip_steepness(rgb: Rgb) -> Levels:
    longest = _steepness_of(cv2.extractChannel(rgb, 0))
    for index in (1, 2):
        cv2.max(longest, _steepness_of(cv2.extractChannel(rgb, index)), dst=longest)
    return longest


def _steepness(rgb: Rgb) -> Levels:
    """Length of the Scharr gradient (16 times levels per pixel) in the channel where it is longest."""
    longest: Levels = np.empty(rgb.shape[:2], dtype=np.float32)
    return strip_by_strip(rgb, longest, _strip_steepness, margin_rows=1)


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
    strong = max(float(np.percentile(sample, STRONG_PERCENTILE)), LEAST_STRONG)
    return np.asarray(cv2.convertScaleAbs(total, alpha=255.0 / strong), dtype=np.uint8)


def softened(strokes: Plane) -> Plane:
    """The strokes of a drawing with soft flanks, as softedge would show each: one contour, not its two sides."""
    smooth = cv2.GaussianBlur(strokes, (0, 0), 1.5)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=2.0), dtype=np.uint8)


def _segments(plane: Plane) -> Levels:
    """Straight lines as pairs of ends in pixels, shape (lines, 2, 2), column before row."""
    scale = min(SEGMENT_SCALE, SEGMENT_PIXELS / max(plane.shape))
    found = cv2.createLineSegmentDetector(scale=scale).detect(plane)[0]
    if not np.ndim(found):  # None where there is no line, whatever the type stub says
        return np.empty((0, 2, 2), dtype=np.float32)
    return np.asarray(found, dtype=np.float32).reshape(-1, 2, 2)


def straight_lines(rgb: Rgb, minimum_length: float) -> Plane:
    """Straight lines, one pixel wide, found by OpenCV's line segment detector in the luminance.

    It approximates M-LSD, which prefers the long lines of rooms and buildings and draws them as thin. A thick stroke of
    a drawing gives two lines, one for each side. A large picture is looked at from further away: at its full size a
    long line breaks into many short ones, and M-LSD looks at 512 pixels, too.

    Args:
        rgb: The picture.
        minimum_length: Shortest line kept, as a fraction of the shorter side, 0 to 1.
    """
    plane: Plane = np.zeros(rgb.shape[:2], dtype=np.uint8)
    ends = _segments(luminance(rgb))
    along = ends[:, 1] - ends[:, 0]
    kept = ends[np.hypot(along[:, 0], along[:, 1]) >= minimum_length * min(plane.shape)]
    cv2.polylines(plane, list(np.rint(kept).astype(np.int32)), isClosed=False, color=255, thickness=1)
    return plane
