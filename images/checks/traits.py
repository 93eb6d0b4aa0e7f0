"""Measured traits of a picture by which maps are told from pictures; fractions are 0 to 1."""

from dataclasses import dataclass

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance

LOOKED_AT_PIXELS = 384
"""Pictures are looked at with no longer side than this; lines may fade in it, but keep their share of the light."""
STROKE = 0.015
"""What a disc with a radius of this fraction of the longer side does not fit into is thin."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a picture is like.

    Attributes:
        colour: Levels between the strongest and the weakest channel that 99 % of the pixels stay within.
        black: Fraction of pixels below 24 levels in all channels.
        thin: Fraction of the light that is in thin things.
        contrast: Levels between the darkest and the brightest hundredth.
        ground: Twentieth percentile of brightness and median, as fractions of the brightest hundredth.
        ridged: Skewness of the fine detail: above 0 where bright ridges stand on darker ground, about 0 in photos.
        grain: Median of the second differences along both axes, in levels: 0 in what was computed, 2 and more in
            what a camera saw.
        vivid: Fraction of the lit pixels that have a strong colour.
        hues: How many twelfths of the colour circle hold 2 % of these each.
    """

    colour: float
    black: float
    thin: float
    contrast: float
    ground: tuple[float, float]
    ridged: float
    grain: float
    vivid: float
    hues: int


def looked_at(rgb: Rgb) -> Rgb:
    """The picture at no more than 384 px, by area averaging."""
    scale = min(1.0, LOOKED_AT_PIXELS / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _thin(strongest: Plane) -> float:
    radius = max(2, round(max(strongest.shape) * STROKE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wide = cv2.morphologyEx(strongest, cv2.MORPH_OPEN, disc)
    return float(cv2.sumElems(cv2.subtract(strongest, wide))[0]) / max(1.0, float(cv2.sumElems(strongest)[0]))


def _ridged(grey: Plane) -> float:
    levels = grey.astype(np.float32)
    detail = cv2.subtract(levels, cv2.GaussianBlur(levels, (0, 0), max(1.0, max(grey.shape) * 0.01)))
    squared = cv2.multiply(detail, detail)
    spread = cv2.mean(squared)[0]
    return cv2.mean(cv2.multiply(squared, detail))[0] / spread**1.5 if spread else 0.0


def _grain(grey: Plane) -> float:
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    return float(np.median(np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))))


def _colours(small: Rgb, strongest: Plane, range_of_channels: Plane) -> tuple[float, int]:
    """The fraction of vivid pixels among the lit ones, and the number of their hues."""
    lit = strongest > 48  # noqa: PLR2004  # levels: above the ringing of JPEG
    vivid = lit & (range_of_channels > 0.6 * strongest)
    if not vivid.any():
        return 0.0, 0
    hue = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 0][vivid]
    counts = np.bincount(hue.astype(np.int64) // 15, minlength=12)
    return float(vivid.sum() / lit.sum()), int((counts > 0.02 * hue.size).sum())


def traits_of(small: Rgb) -> Traits:
    """Measure a picture that was made small by `looked_at`."""
    red, green, blue = cv2.split(small)
    strongest = np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)
    weakest = cv2.min(cv2.min(red, green), blue)
    range_of_channels = np.asarray(cv2.subtract(strongest, weakest), dtype=np.uint8)
    grey = luminance(small)
    darkest, twentieth, middle, brightest = (float(level) for level in np.percentile(grey, (1, 5, 50, 99)))
    vivid, hues = _colours(small, strongest, range_of_channels)
    return Traits(
        colour=float(np.percentile(range_of_channels, 99)),
        black=float(np.mean(strongest < 24)),  # noqa: PLR2004  # levels: above the ringing of JPEG
        thin=_thin(strongest),
        contrast=brightest - darkest,
        ground=(twentieth / max(1.0, brightest), middle / max(1.0, brightest)),
        ridged=_ridged(grey),
        grain=_grain(grey),
        vivid=vivid,
        hues=hues,
    )


def stroke_survival(rgb: Rgb) -> float:
    """The fraction of bright pixels left when lines lose a pixel on either side: next to none of edges one pixel wide.

    Looks at the picture in its own size.
    """
    bright = np.asarray(cv2.threshold(luminance(rgb), HALF, 1, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    left = cv2.erode(bright, np.ones((3, 3), dtype=np.uint8))
    return cv2.countNonZero(left) / max(1, cv2.countNonZero(bright))
