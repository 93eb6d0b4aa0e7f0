"""The rules that tell control maps from pictures. Limits lie between what was measured on either side.

In brackets: the nearest plain picture and the nearest map of the labelled set.
"""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.checks import Appearance
from controlnet_mcp.images.checks.palettes import palettes
from controlnet_mcp.images.checks.traits import Traits, looked_at, stroke_survival, traits_of
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.drawing import find_ground

BLANK_LEVELS = 12
"""What differs from the commonest level by no more than this in every channel may be grain."""
BLANK_SHARE = 0.0005
"""With fewer pixels than this beside the ground, there is nothing to keep."""
COLOURLESS_LEVELS = 12
"""What JPEG leaves of colour in a grey picture."""
ONE_PIXEL_WIDE = 0.04
"""Most of a thin edge map that is left when its lines lose a pixel on either side [edges 0.00; sketches 0.06]."""
PAINTED_SHARE = 0.85
"""Least fraction of a segmentation map that is in the colours of one palette (black counts as no class)."""
PAINTED_LEVELS = 8
"""Levels in any channel by which JPEG shifts flat colours."""
FLAT_SHARE = 0.7
"""Least fraction of neighbours on the grid that have the same colour."""
SAMPLED_PIXELS = 128
"""Colours are counted on a grid of about this many rows and columns, without blending."""
VIVID_LEVELS = 100
"""Least levels between the channels of a vivid colour."""
VIVID_SHARE = 0.05
"""Least fraction of a segmentation map in vivid colours: greys are in the palettes too, and prove nothing."""


def kind_of(rgb: Rgb) -> Appearance:
    """See `controlnet_mcp.images.checks.look`."""
    if _is_blank(rgb):
        return "blank"
    traits = traits_of(looked_at(rgb))
    if _is_skeleton(traits):
        return "skeleton"
    if traits.colour > COLOURLESS_LEVELS:
        return "segmentation" if _is_painted(rgb) else _picture(rgb)
    if _is_lines(traits):
        return "edge" if stroke_survival(rgb) < ONE_PIXEL_WIDE else "sketch"
    plain = _picture(rgb)
    return "depth" if plain == "picture" and _is_depth(traits) else plain


def _picture(rgb: Rgb) -> Appearance:
    return "drawing" if find_ground(rgb) == "light" else "picture"


def _is_blank(rgb: Rgb) -> bool:
    channels = range(3)
    middle = np.array([cv2.calcHist([rgb], [channel], None, [256], [0, 256]).argmax() for channel in channels])
    low, high = np.clip(middle - BLANK_LEVELS, 0, 255), np.clip(middle + BLANK_LEVELS, 0, 255)
    ground = cv2.countNonZero(cv2.inRange(rgb, low.astype(np.float64), high.astype(np.float64)))
    return bool(rgb.shape[0] * rgb.shape[1] - ground < BLANK_SHARE * rgb.shape[0] * rgb.shape[1])


def _is_skeleton(traits: Traits) -> bool:
    """Thin limbs of many vivid colours on black."""
    return traits.black > 0.75 and traits.thin > 0.8 and traits.vivid > 0.6 and traits.hues >= 4  # noqa: PLR2004  # [stars on black are thin to 0.62 and pale; skeletons 0.92]


def _is_lines(traits: Traits) -> bool:
    """Thin light lines on black; or, of soft contours, ridges whose ground is black at least in a twentieth."""
    darkest, middle = traits.ground
    crisp = (traits.thin > 0.68 and middle < 0.3) or (traits.thin > 0.45 and middle < 0.02)  # noqa: PLR2004  # [stars on black: thin 0.64, ground 0.08; drawings 0.71, or 0.55 on 0.00]
    soft = traits.thin > 0.2 and 0.9 < traits.ridged < 4.0 and darkest < 0.035 and middle < 0.2  # noqa: PLR2004  # [stars: ground 0.046, ridged 4.8; contours 0.028, 2.7]
    return crisp or soft


def _is_depth(traits: Traits) -> bool:
    """Grey, smooth, without thin things, stretched over most of the range."""
    return traits.thin < 0.02 and traits.grain <= 1 and traits.contrast > 120  # noqa: PLR2004  # [blurred photos: contrast 112; depth: thin 0.006, grain 0, contrast 136]


def _is_painted(rgb: Rgb) -> bool:
    """Nearly all in the flat colours of a known palette, some of them vivid."""
    step = max(1, max(rgb.shape[:2]) // SAMPLED_PIXELS)
    grid = np.asarray(rgb[::step, ::step], dtype=np.int16)
    change: npt.NDArray[np.int16] = np.abs(grid[:, 1:] - grid[:, :-1]).max(axis=2)
    if not change.size or float(np.mean(change <= PAINTED_LEVELS)) < FLAT_SHARE:
        return False
    pixels: npt.NDArray[np.int16] = grid[grid.max(axis=2) > PAINTED_LEVELS]
    colourful: npt.NDArray[np.int16] = pixels.max(axis=1) - pixels.min(axis=1)
    if not colourful.size or float(np.mean(colourful > VIVID_LEVELS)) < VIVID_SHARE:
        return False
    return any(_share_in(pixels, colours) > PAINTED_SHARE for colours in palettes())


def _share_in(pixels: npt.NDArray[np.int16], colours: Rgb) -> float:
    """The fraction of pixels, shape (pixels, 3), that have one of the colours, shape (colours, 3)."""
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    away = np.abs(values[:, None, :] - colours[None].astype(np.int16)).max(axis=2).min(axis=1)
    return float(counts[away <= PAINTED_LEVELS].sum() / counts.sum())
