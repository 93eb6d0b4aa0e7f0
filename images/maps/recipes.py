"""How each modality's map is made of a picture: the one table from names to detectors."""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from controlnet_mcp.images.maps import contours, drawing, lines, shuffle, tones
from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance, three_channels
from controlnet_mcp.images.maps.parameters import MapParameters
from controlnet_mcp.images.modalities import Modality

Notes: TypeAlias = tuple[str, ...]
"""Sentences for the user about what was done beyond the knobs."""

Made: TypeAlias = tuple[Plane | Rgb, Notes]
"""A map as one channel (which stands for three equal ones) or three, with its notes."""

INVERTED = "The picture is dark lines on a light ground: its own lines were taken and inverted to white on black."
KEPT = "The picture is light lines on a dark ground: its own lines were taken as they are."
TRACED = "The picture does not look like a drawing: pencil lines were traced in it. If it is one, set invert to yes."
EXCHANGED = "low_threshold is above high_threshold: the two were exchanged."
LIKE_HED = "It approximates the learned HED annotator."
LIKE_MLSD = "It approximates the learned M-LSD annotator."
BLANK = "The map is blank: nothing was found in the picture."
DRAWN: dict[drawing.Ground, Notes] = {"light": (INVERTED,), "dark": (KEPT,)}


def _own_lines(rgb: Rgb, invert: str) -> tuple[Plane, Notes] | None:
    """The strokes of a picture that is a drawing (or is said to be one), None for any other."""
    ground: drawing.Ground | None = "light" if invert == "yes" else None
    if invert == "auto":
        ground = drawing.find_ground(rgb)
    return (drawing.strokes(rgb, ground), DRAWN[ground]) if ground else None


def _canny(rgb: Rgb, knobs: MapParameters) -> Made:
    notes = (EXCHANGED,) if knobs.low_threshold > knobs.high_threshold else ()
    return lines.canny(rgb, knobs.low_threshold, knobs.high_threshold), notes


def _scribble(rgb: Rgb, knobs: MapParameters) -> Made:
    """XDoG, or a drawing's own lines where they are darker than the ground by half the threshold (XDoG's measure)."""
    own = _own_lines(rgb, knobs.invert)
    if own is None:
        return lines.scribble(rgb, knobs.threshold), ()
    own_lines, notes = own
    return np.asarray(cv2.threshold(own_lines, knobs.threshold // 2, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8), notes


def _sketch(rgb: Rgb, knobs: MapParameters) -> Made:
    """The strokes of a drawing made clean; pencil lines when it turns out to be a photo."""
    ground: drawing.Ground | None = "light" if knobs.invert == "yes" else "dark"
    if knobs.invert == "auto":
        ground = drawing.find_ground(rgb, tolerant=True)
    if ground is None:
        return lines.pencil(rgb), (TRACED,)
    return drawing.strokes(rgb, ground), DRAWN[ground]


def _lineart(rgb: Rgb, knobs: MapParameters) -> Made:
    return _own_lines(rgb, knobs.invert) or (lines.lineart(rgb), ())


def _softedge(rgb: Rgb, knobs: MapParameters) -> Made:
    own = _own_lines(rgb, knobs.invert)
    if own is None:
        return contours.softedge(rgb), (LIKE_HED,)
    return contours.softened(own[0]), (*own[1], LIKE_HED)


RECIPES: dict[str, Callable[[Rgb, MapParameters], Made]] = {
    "canny": _canny,
    "scribble": _scribble,
    "sketch": _sketch,
    "lineart": _lineart,
    "softedge": _softedge,
    "mlsd": lambda rgb, knobs: (contours.straight_lines(rgb, knobs.minimum_length), (LIKE_MLSD,)),
    "tile": lambda rgb, knobs: (tones.tile(rgb, knobs.factor), ()),
    "blur": lambda rgb, knobs: (tones.blur(rgb, knobs.sigma_pixels), ()),
    "gray": lambda rgb, _knobs: (tones.gray(rgb), ()),
    "low-quality": lambda rgb, knobs: (tones.low_quality(rgb, knobs.factor, knobs.quality), ()),
    "shuffle": lambda rgb, knobs: (shuffle.shuffle(rgb, knobs.seed), ()),
}
"""Canonical modality to its map maker."""


def make(rgb: Rgb, modality: Modality, knobs: MapParameters) -> tuple[Rgb, float, Notes]:
    """The map in three channels, its coverage (see `ControlMap`) and its notes."""
    made, notes = RECIPES[modality.name](rgb, knobs)
    plane = made if made.ndim < rgb.ndim else luminance(made)
    counted = cv2.threshold(plane, HALF, 255, cv2.THRESH_BINARY)[1] if modality.structure == "lines" else plane
    coverage = cv2.countNonZero(counted) / float(plane.size)
    if not coverage and not cv2.countNonZero(plane):
        notes = (*notes, BLANK)
    return (three_channels(plane) if plane is made else made), coverage, notes
