"""From control maps to planes a painter can use."""

import cv2
import numpy as np

from controlnet_mcp.providers.draft.canvas import Field, Plane, Rgb, blurred, plane, resized_rgb, smoothstep


def line_plane(rgb: Rgb, width: int, height: int) -> Plane:
    """Line coverage, 0 to 1, of a line map at a size: also for dark lines on light paper, and thin or faint lines.

    Args:
        rgb: White lines on black; a drawing on light paper is taken as its negative.
        width: Columns wanted.
        height: Rows wanted.
    """
    peak = np.asarray(rgb.max(axis=2), dtype=np.uint8)
    if int(np.median(peak)) > 127:  # noqa: PLR2004  # more light than dark: paper
        peak = np.asarray(255 - rgb.min(axis=2), dtype=np.uint8)
    shrink = max(rgb.shape[0] / height, rgb.shape[1] / width)
    if shrink > 1.5:  # noqa: PLR2004  # averaging would wash thin lines out: widen them first
        peak = np.asarray(cv2.dilate(peak, np.ones((round(shrink), round(shrink)), dtype=np.uint8)), dtype=np.uint8)
    scaled = resized_rgb(peak, width, height)
    seen = scaled[np.greater(scaled, 24)]
    strong = float(np.percentile(seen, 90)) if seen.size else 255.0
    lines = plane(scaled) / max(strong, 60.0)
    if shrink < 0.8:  # noqa: PLR2004  # enlarged lines are soft
        lines = smoothstep(plane(lines), 0.25, 0.75)
    return plane(np.clip(lines, 0, 1))


def photo_field(rgb: Rgb, width: int, height: int) -> Field:
    """A picture at a size as a colour field."""
    return plane(resized_rgb(rgb, width, height).astype(np.float32) / 255)


def contour_lines(tone: Plane, sigma: float, gain: float = 9.0) -> Plane:
    """Thin dark contours of a picture as line coverage (a difference of Gaussians)."""
    dip = blurred(tone, sigma * 1.6) - blurred(tone, sigma)
    return smoothstep(plane(dip * gain), 0.12, 0.5)
