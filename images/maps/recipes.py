"""How each modality's map is made of a picture: the one table from names to detectors."""

from collections.abc import Callable

import cv2
import numpy as np

from controlnet_mcp.images.maps import contours, drawing, learned, lines, shuffle, tones
from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance, three_channels
from controlnet_mcp.images.maps.made import Made, Notes
from controlnet_mcp.images.maps.models import MapModels
from controlnet_mcp.images.maps.parameters import MapParameters
from controlnet_mcp.images.maps.thresholds import automatic_thresholds
from controlnet_mcp.images.modalities import Modality, Structure

INVERTED = "The picture is dark lines on a light ground: its own lines were taken and inverted to white on black."
KEPT = "The picture is light lines on a dark ground: its own lines were taken as they are."
TRACED = "The picture does not look like a drawing: pencil lines were traced in it. If it is one, set invert to yes."
EXCHANGED = "low_threshold is above high_threshold: the two were exchanged."
CHOSEN = "low_threshold and high_threshold were chosen from the picture's own gradients."
FAINT = "The standard thresholds find next to nothing in so faint a picture: lower ones were chosen from it."
LIKE_HED = "It approximates the learned HED annotator."
LIKE_MLSD = "It approximates the learned M-LSD annotator."
BLANK = "The map is blank: nothing was found in the picture."
DRAWN: dict[drawing.Ground, Notes] = {"light": (INVERTED,), "dark": (KEPT,)}
NEXT_TO_NOTHING = 0.0005
"""Fraction of the pixels: with fewer edges a Canny map keeps no structure."""
SAMPLED_PIXELS = 1 << 18
"""The coverage of a photo-like map, a rough figure, is read off whole rows with about this many of its pixels."""


def _own_lines(rgb: Rgb, invert: str) -> tuple[Plane, Notes] | None:
    """The strokes of a picture that is a drawing (or is said to be one), None for any other."""
    ground: drawing.Ground | None = "light" if invert == "yes" else None
    if invert == "auto":
        ground = drawing.find_ground(rgb)
    return (drawing.strokes(rgb, ground), DRAWN[ground]) if ground else None


def _canny(rgb: Rgb, knobs: MapParameters) -> Made:
    if knobs.thresholds == "auto":
        return _automatic_canny(rgb, CHOSEN)
    made = lines.canny(rgb, knobs.low_threshold, knobs.high_threshold)
    given = knobs.model_fields_set & {"thresholds", "low_threshold", "high_threshold"}
    if not given and cv2.countNonZero(made) < NEXT_TO_NOTHING * made.size:
        faint = _automatic_canny(rgb, FAINT)
        return faint if cv2.countNonZero(faint.map) else Made(made)
    return Made(made, (EXCHANGED,) if knobs.low_threshold > knobs.high_threshold else ())


def _automatic_canny(rgb: Rgb, note: str) -> Made:
    low, high = automatic_thresholds(rgb)
    return Made(lines.canny(rgb, low, high), (note,), {"low_threshold": low, "high_threshold": high})


def _scribble(rgb: Rgb, knobs: MapParameters) -> Made:
    """XDoG, or a drawing's own lines where they are darker than the ground by half the threshold (XDoG's measure)."""
    own = _own_lines(rgb, knobs.invert)
    if own is None:
        return Made(lines.scribble(rgb, knobs.threshold))
    own_lines, notes = own
    hard = cv2.threshold(own_lines, knobs.threshold // 2, 255, cv2.THRESH_BINARY)[1]
    return Made(np.asarray(hard, dtype=np.uint8), notes)


def _sketch(rgb: Rgb, knobs: MapParameters) -> Made:
    """The strokes of a drawing made clean; pencil lines when it turns out to be a photo."""
    ground: drawing.Ground | None = "light" if knobs.invert == "yes" else "dark"
    if knobs.invert == "auto":
        ground = drawing.find_ground(rgb, tolerant=True)
    if ground is None:
        return Made(lines.pencil(rgb), (TRACED,))
    return Made(drawing.strokes(rgb, ground), DRAWN[ground])


def _lineart(rgb: Rgb, knobs: MapParameters) -> Made:
    own = _own_lines(rgb, knobs.invert)
    return Made(*own) if own else Made(lines.lineart(rgb, knobs.gaussian_sigma_pixels, knobs.intensity_threshold))


def _softedge(rgb: Rgb, knobs: MapParameters) -> Made:
    own = _own_lines(rgb, knobs.invert)
    if own is None:
        return Made(contours.softedge(rgb), (LIKE_HED,))
    return Made(contours.softened(own[0]), (*own[1], LIKE_HED))


WEIGHTLESS: dict[str, Callable[[Rgb, MapParameters], Made]] = {
    "canny": _canny,
    "scribble": _scribble,
    "sketch": _sketch,
    "lineart": _lineart,
    "softedge": _softedge,
    "mlsd": lambda rgb, knobs: Made(contours.straight_lines(rgb, knobs.minimum_length), (LIKE_MLSD,)),
    "tile": lambda rgb, knobs: Made(tones.tile(rgb, knobs.factor)),
    "blur": lambda rgb, knobs: Made(tones.blur(rgb, knobs.sigma_pixels)),
    "gray": lambda rgb, knobs: Made(tones.gray(rgb, knobs.gamma)),
    "low-quality": lambda rgb, knobs: Made(tones.low_quality(rgb, knobs.factor, knobs.quality)),
    "shuffle": lambda rgb, knobs: Made(shuffle.shuffle(rgb, knobs.seed)),
    "color-grid": lambda rgb, knobs: Made(tones.color_grid(rgb, knobs.cell_pixels)),
}
"""Canonical modality to its map maker, for those that need no trained weights."""

LEARNED: dict[str, Callable[[Rgb, MapParameters, MapModels], Made]] = {
    "depth": learned.depth_map,
    "normal": learned.normal_map,
    "pose": learned.pose_map,
}
"""Likewise, for those that are made with a model file of the user's, or (normal) of a given depth map."""


def _coverage(made: Plane | Rgb, structure: Structure) -> float:
    """Fraction of the pixels that are lit, see `ControlMap`."""
    if structure == "lines":
        counted = cv2.threshold(made, HALF, 255, cv2.THRESH_BINARY)[1]
        return cv2.countNonZero(counted) / float(counted.size)
    step = max(1, made.shape[0] * made.shape[1] // SAMPLED_PIXELS) if structure == "photo" else 1
    sample = made[::step]
    seen = sample if sample.ndim < 3 else luminance(sample)  # noqa: PLR2004  # rows, columns, channels
    return cv2.countNonZero(seen) / float(seen.size)


def make(rgb: Rgb, modality: Modality, knobs: MapParameters, models: MapModels) -> tuple[Made, float]:
    """The map in three channels, and its coverage (see `ControlMap`)."""
    weightless = WEIGHTLESS.get(modality.name)
    made = weightless(rgb, knobs) if weightless else LEARNED[modality.name](rgb, knobs, models)
    coverage = _coverage(made.map, modality.structure)
    notes = made.notes if coverage or made.map.any() else (*made.notes, BLANK)
    full = three_channels(made.map) if made.map.ndim < rgb.ndim else made.map
    return Made(full, notes, made.chosen), coverage
