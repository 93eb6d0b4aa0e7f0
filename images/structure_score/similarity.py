"""SSIM, as it is and weighted by where the asked structure is."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb
from controlnet_mcp.images.structure_score import Figures
from controlnet_mcp.images.structure_score.alignment import best_shift, shifted

LEVEL_RANGE = 255.0
"""The range L of Wang et al. 2004, whose constants are (0.01 L)² and (0.03 L)²."""
RANGE_DEVIATIONS = 4.0
"""For pictures of low contrast L is this many standard deviations of what was asked for."""
WINDOW_SIGMA_PIXELS = 3.0
"""Twice the usual window: strokes of a redrawn picture lie a little off."""
VIEWED_SIDE_PIXELS = 256
"""Wang's advice: shrink by whole steps until the shorter side is about this long, which is how SSIM meets the eye."""
FLAT_LEVELS = 1.0
"""Deviation in levels below which nothing was asked for."""
CURVE = 0.7
"""Exponent that brings half of the structure to about half of the scale; the order stays."""
POOR_CURVE = 0.55
"""The same for maps of poor quality, which have lost some of what they ask for."""


def viewed(plane: Plane | Rgb, side_pixels: int = VIEWED_SIDE_PIXELS) -> Levels:
    """The plane shrunk by a whole factor to a shorter side of about `side_pixels`."""
    factor = max(1, round(min(plane.shape[:2]) / side_pixels))
    size = (max(1, plane.shape[1] // factor), max(1, plane.shape[0] // factor))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def blurred(levels: Levels, sigma_pixels: float = WINDOW_SIGMA_PIXELS) -> Levels:
    """The levels under a Gaussian."""
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma_pixels), dtype=np.float32)


def _ssim(asked: Levels, found: Levels, level_range: float) -> tuple[Levels, Levels]:
    """SSIM at each pixel, and the spread of what was asked for in its window."""
    steady_mean, steady_spread = (0.01 * level_range) ** 2, (0.03 * level_range) ** 2
    mean_asked, mean_found = blurred(asked), blurred(found)
    var_asked = np.maximum(blurred(asked * asked) - mean_asked**2, 0)
    var_found = np.maximum(blurred(found * found) - mean_found**2, 0)
    shared = blurred(asked * found) - mean_asked * mean_found
    brightness = (2 * mean_asked * mean_found + steady_mean) / (mean_asked**2 + mean_found**2 + steady_mean)
    each = brightness * (2 * shared + steady_spread) / (var_asked + var_found + steady_spread)
    return each.astype(np.float32), np.sqrt(var_asked).astype(np.float32)


def _compare(asked: Levels, found: Levels, level_range: float = LEVEL_RANGE, curve: float = CURVE) -> Figures:
    """Mean SSIM; and SSIM where the asked structure is, on the curve."""
    each, weight = _ssim(asked, found, level_range)
    total = float(weight.sum())
    weighted = float((each * weight).sum()) / total if total else 0.0
    return Figures(float(each.mean()), min(1.0, max(0.0, weighted)) ** curve)


def _detail(levels: Levels) -> Levels:
    """Where something is drawn, however bright its ground is: what pictures are laid over each other by."""
    return np.asarray(np.abs(levels - blurred(levels)), dtype=np.float32)


def best_of_planes(asked: Levels, ways: Iterable[Levels]) -> Figures | None:
    """Compare planes of one shape, the asked one moved a little where that helps; the best of the ways to see a result.

    The empty ground of a line map agrees with anything; so the score weighs each place with the spread that the asked
    map has there (as information-weighted SSIM does), and what is empty counts for nothing.

    Returns:
        None when nothing was asked for: no place has any spread.
    """
    if float(asked.std()) < FLAT_LEVELS:
        return None
    detail = _detail(asked)
    compared = (
        _compare(shifted(asked, shift), found)
        for found in ways
        for shift in {(0, 0), best_shift(_detail(found), detail)}  # the peak may be a chance one
    )
    return max(compared, key=lambda row: row.score)


def best_of_channels(asked: Levels, ways: Sequence[Levels], curve: float = CURVE) -> Figures | None:
    """Compare pictures of shape (height, width, 3) as they lie, and take the best of the ways to see the result.

    Returns:
        None when nothing was asked for: the asked picture is flat.
    """
    if float(asked.std()) < FLAT_LEVELS:
        return None
    level_range = min(LEVEL_RANGE, RANGE_DEVIATIONS * float(asked.std()))
    means: list[Figures] = []
    for found in ways:
        each = [_compare(*pair, level_range, curve) for pair in _channels(asked, found)]
        means.append(Figures(*(sum(column) / len(each) for column in zip(*map(astuple, each), strict=True))))
    return max(means, key=lambda row: row.score)


def _channels(asked: Levels, found: Levels) -> Iterable[tuple[Levels, Levels]]:
    """Red with red, green with green, blue with blue."""
    for channel in range(asked.shape[2]):
        yield np.ascontiguousarray(asked[..., channel]), np.ascontiguousarray(found[..., channel])
