"""Making the control map of a picture: the one table from modalities to detectors, and the photo-like maps.

A photo-like map is the picture with less detail, sharpness, colour, quality or layout than the one to be drawn.
Imported lazily: it brings NumPy and OpenCV.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps import NO_MODELS, MapModels, MapParameters, knobs_of
from controlnet_mcp.images.maps.arrays import HALF, Levels, Plane, Rgb, luminance, resized, three_channels
from controlnet_mcp.images.maps.depth import depth_levels, is_grey, normals
from controlnet_mcp.images.maps.drawing import Ground, find_ground, strokes
from controlnet_mcp.images.maps.lines import (
    automatic_thresholds,
    canny,
    lineart,
    pencil,
    scribble,
    softedge,
    softened,
    straight_lines,
)
from controlnet_mcp.images.maps.pose import draw_people, find_people, openpose_joints
from controlnet_mcp.images.modalities import resolve

Notes: TypeAlias = tuple[str, ...]
"""Sentences for the user about what was done beyond the knobs."""

TRACED = "The picture does not look like a drawing: pencil lines were traced in it. If it is one, set invert to yes."
EXCHANGED = "low_threshold is above high_threshold: the two were exchanged."
CHOSEN = "low_threshold and high_threshold were chosen from the picture's own gradients."
FAINT = "The standard thresholds find next to nothing in so faint a picture: lower ones were chosen from it."
LIKE_HED = "It approximates the learned HED annotator."
LIKE_MLSD = "It approximates the learned M-LSD annotator."
BY_MODEL = "It was made by the depth model that is set here; how good it is depends on that."
FROM_DEPTH = "The picture has no colour, so it was taken as a depth map (near is bright); these are its normals."
NOBODY = "The pose model found nobody in the picture."
BLANK = "The map is blank: nothing was found in the picture."
DRAWN: dict[Ground, Notes] = {
    "light": ("The picture is dark lines on a light ground: its own lines were taken and inverted to white on black.",),
    "dark": ("The picture is light lines on a dark ground: its own lines were taken as they are.",),
}
NEXT_TO_NOTHING = 0.0005
"""Fraction of the pixels: with fewer edges a Canny map keeps no structure."""
SAMPLED_PIXELS = 1 << 18
"""The coverage of a photo-like map, a rough figure, is read off whole rows with about this many of its pixels."""

LEAST_FACTOR = 1.1
"""Below it the reference leaves the picture as it is."""
GRID_PIXELS = 256
"""Distance of the random grid points, and the margin that is cut off around the picture."""
STRIP_COLUMNS = 128
"""Columns of the noise that are resized at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A map of one channel (which stands for three equal ones) or three, as its maker returns it.

    With what has to be said about it, and the knobs whose values were chosen from the picture.
    """

    map: Plane | Rgb
    notes: Notes = ()
    chosen: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, eq=False)
class ControlMap:
    """A control map with its coverage, parameters and notes.

    Attributes:
        rgb: The map: shape (height, width, 3) of the picture, 8 bits; line maps are white on black in equal channels.
        coverage: 0 to 1: of a line map the fraction of pixels above half brightness, of a photo-like map the fraction
            of pixels whose luminance is not 0.
        parameters: The knobs that were used, defaults included; where one was chosen from the picture, what was chosen.
        notes: Sentences for the user: what was assumed of the picture, what the map only approximates.
    """

    rgb: Rgb
    coverage: float
    parameters: dict[str, float | int | str]
    notes: tuple[str, ...]


def make_map(
    rgb: Rgb, modality: str, parameters: MapParameters | None = None, models: MapModels = NO_MODELS
) -> ControlMap:
    """Make the control map of a picture at its own resolution (see `controlnet_mcp.images.resize.fit_for_detection`).

    CPU-bound, from a few to some hundred milliseconds (seconds with a model): call it in a thread.

    The modality is a name or an alias; knobs that are not set have their defaults. The user's own model files are for
    depth and pose and for the normals of a photo.

    Raises:
        RequestError: `invalid_request` for an unknown modality or a knob that it does not have; `unsupported` for a
            map that needs trained weights which are not there; `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` for a model file that cannot be used.
    """
    found, knobs = resolve(modality), parameters or MapParameters()
    used = knobs_of(found, knobs)
    weightless = WEIGHTLESS.get(found.name)
    drawn = weightless(rgb, knobs) if weightless else LEARNED[found.name](rgb, knobs, models)
    if found.structure == "lines":
        lit = cv2.threshold(drawn.map, HALF, 255, cv2.THRESH_BINARY)[1]
    else:
        step = max(1, drawn.map.shape[0] * drawn.map.shape[1] // SAMPLED_PIXELS) if found.structure == "photo" else 1
        sample = drawn.map[::step]
        lit = sample if sample.ndim < rgb.ndim else luminance(sample)
    coverage = cv2.countNonZero(lit) / float(lit.size)
    notes = drawn.notes if coverage or drawn.map.any() else (*drawn.notes, BLANK)
    full = three_channels(drawn.map) if drawn.map.ndim < rgb.ndim else drawn.map
    return ControlMap(full, coverage, {**used, **drawn.chosen}, notes)


def _own_lines(rgb: Rgb, invert: str) -> tuple[Plane, Notes] | None:
    """The strokes of a picture that is a drawing (or is said to be one), None for any other."""
    ground: Ground | None = "light" if invert == "yes" else None
    if invert == "auto":
        ground = find_ground(rgb)
    return (strokes(rgb, ground), DRAWN[ground]) if ground else None


def canny_map(rgb: Rgb, knobs: MapParameters) -> Drawn:
    """Edges by the given thresholds, or by chosen ones: on request, and for a picture in which the usual find nothing.

    A faint picture keeps its blank map where lower thresholds find nothing either.
    """
    if knobs.thresholds == "auto":
        return _automatic_canny(rgb, CHOSEN)
    plane = canny(rgb, knobs.low_threshold, knobs.high_threshold)
    given = knobs.model_fields_set & {"thresholds", "low_threshold", "high_threshold"}
    if not given and cv2.countNonZero(plane) < NEXT_TO_NOTHING * plane.size:
        faint = _automatic_canny(rgb, FAINT)
        return faint if cv2.countNonZero(faint.map) else Drawn(plane)
    return Drawn(plane, (EXCHANGED,) if knobs.low_threshold > knobs.high_threshold else ())


def _automatic_canny(rgb: Rgb, note: str) -> Drawn:
    low, high = automatic_thresholds(rgb)
    return Drawn(canny(rgb, low, high), (note,), {"low_threshold": low, "high_threshold": high})


def scribble_map(rgb: Rgb, knobs: MapParameters) -> Drawn:
    """XDoG, or a drawing's own lines where they are darker than the ground by half the threshold (XDoG's measure)."""
    own = _own_lines(rgb, knobs.invert)
    if own is None:
        return Drawn(scribble(rgb, knobs.threshold))
    lines, notes = own
    hard = cv2.threshold(lines, knobs.threshold // 2, 255, cv2.THRESH_BINARY)[1]
    return Drawn(np.asarray(hard, dtype=np.uint8), notes)


def sketch_map(rgb: Rgb, knobs: MapParameters) -> Drawn:
    """The strokes of a drawing made clean; pencil lines when it turns out to be a photo."""
    ground: Ground | None = "light" if knobs.invert == "yes" else "dark"
    if knobs.invert == "auto":
        ground = find_ground(rgb, tolerant=True)
    return Drawn(strokes(rgb, ground), DRAWN[ground]) if ground else Drawn(pencil(rgb), (TRACED,))


def lineart_map(rgb: Rgb, knobs: MapParameters) -> Drawn:
    """lineart_standard, or a drawing's own lines."""
    own = _own_lines(rgb, knobs.invert)
    return Drawn(*own) if own else Drawn(lineart(rgb, knobs.gaussian_sigma_pixels, knobs.intensity_threshold))


def softedge_map(rgb: Rgb, knobs: MapParameters) -> Drawn:
    """Soft contours, or a drawing's own lines with soft flanks."""
    own = _own_lines(rgb, knobs.invert)
    return Drawn(softened(own[0]), (*own[1], LIKE_HED)) if own else Drawn(softedge(rgb), (LIKE_HED,))


def depth_map(rgb: Rgb, _knobs: MapParameters, models: MapModels) -> Drawn:
    """Near is white; raises as `MapModels.path_for`."""
    plane = cv2.convertScaleAbs(depth_levels(rgb, models.path_for("depth")))
    return Drawn(np.asarray(plane, dtype=np.uint8), (BY_MODEL,))


def normal_map(rgb: Rgb, knobs: MapParameters, models: MapModels) -> Drawn:
    """Normals of a depth map that was handed in, or of a photo; raises as `MapModels.path_for`."""
    if is_grey(rgb):
        levels, note = luminance(rgb).astype(np.float32), FROM_DEPTH
    else:
        levels, note = depth_levels(rgb, models.path_for("normal")), BY_MODEL
    return Drawn(normals(levels, knobs.background_threshold, knobs.flatness, knobs.red), (note,))


def pose_map(rgb: Rgb, knobs: MapParameters, models: MapModels) -> Drawn:
    """OpenPose skeletons of everybody; raises as `MapModels.path_for`."""
    people = find_people(rgb, models.path_for("pose"), knobs.minimum_confidence)
    joints = [openpose_joints(person, knobs.minimum_confidence) for person in people]
    return Drawn(draw_people((rgb.shape[0], rgb.shape[1]), joints, knobs.stick_pixels), () if joints else (NOBODY,))


def _small(rgb: Rgb, factor: float) -> Rgb:
    """The picture with both sides divided by the factor (rounded down, at least one pixel), by area averaging."""
    height, width = rgb.shape[:2]
    return resized(rgb, (max(1, int(width / factor)), max(1, int(height / factor))))


def tile(rgb: Rgb, factor: float) -> Rgb:
    """Colours and layout without detail: shrunk by `factor` (area averaging) and grown back (bicubic).

    The small picture is sd-webui's tile_resample, byte for byte; there its user enlarges it.
    """
    return resized(_small(rgb, factor), rgb.shape[1::-1]) if factor >= LEAST_FACTOR else rgb.copy()


def blur(rgb: Rgb, sigma_pixels: float) -> Rgb:
    """The picture under a Gaussian of `sigma_pixels`; 9 is sd-webui's blur_gaussian."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_pixels), dtype=np.uint8)


def gray(rgb: Rgb, gamma: float) -> Plane:
    """The picture without colour: its Rec. 601 luminance to the power of gamma, so at 1 a grey picture stays as it is.

    sd-webui's recolor_luminance has the same gamma, but it hands an RGB array to a BGR conversion, which swaps red and
    blue (a red coat comes out as dark as a blue one should). That is not copied.
    """
    plane = luminance(rgb)
    if gamma == 1:
        return plane
    levels = (np.arange(256, dtype=np.float32) / 255) ** gamma * 255
    return np.asarray(cv2.LUT(plane, levels.astype(np.uint8)), dtype=np.uint8)


def color_grid(rgb: Rgb, cell_pixels: int) -> Rgb:
    """Squares of colour: one bicubic sample for each cell, grown without smoothing.

    It is the colour grid of T2I-Adapter (t2ia_color_grid), whose cells are of 64 pixels.
    """
    height, width = rgb.shape[:2]
    size = (max(1, width // cell_pixels), max(1, height // cell_pixels))
    cells = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def low_quality(rgb: Rgb, factor: float, quality: int) -> Rgb:
    """A poor copy: shrunk by `factor`, through JPEG at `quality` (1 to 95) in memory, grown back (bicubic).

    There is no reference annotator; the definition is ours.
    """
    bgr = cv2.cvtColor(_small(rgb, factor), cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    small = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    return resized(small, rgb.shape[1::-1])


def _smooth_noise(random: np.random.RandomState, shape: tuple[int, ...], extent: int) -> Levels:
    """Smooth noise from 0 to `extent` - 1: a coarse random grid, resized bicubically, without its margin.

    OpenCV resizes rows first and columns then. So does this, but strip by strip and only where the picture will be:
    the numbers are the same, and the margin, larger than a small picture, takes no memory.
    """
    height, width = shape
    right = GRID_PIXELS + width
    grid = random.uniform(size=(height // GRID_PIXELS + 2, width // GRID_PIXELS + 2))
    wide = cv2.resize(grid, (width + 2 * GRID_PIXELS, len(grid)), interpolation=cv2.INTER_CUBIC)
    strips: list[npt.NDArray[np.float64]] = []
    for left in range(GRID_PIXELS, right, STRIP_COLUMNS):
        strip = wide[:, left : min(left + STRIP_COLUMNS, right)]
        tall = cv2.resize(strip, (strip.shape[1], height + 2 * GRID_PIXELS), interpolation=cv2.INTER_CUBIC)
        strips.append(np.array(tall[GRID_PIXELS : GRID_PIXELS + height], dtype=np.float64))
        del tall  # else two of them are in memory at once
    least = min(float(strip.min()) for strip in strips)
    most = max(float(strip.max()) for strip in strips) - least
    levels: Levels = np.empty(shape, dtype=np.float32)
    while strips:
        strip = strips.pop()
        strip -= least
        strip /= most or 1.0
        left = len(strips) * STRIP_COLUMNS
        np.multiply(strip, extent - 1, out=levels[:, left : left + STRIP_COLUMNS], casting="same_kind")
    return levels


def shuffle(rgb: Rgb, seed: int) -> Rgb:
    """Warp the picture by a smooth random flow; the same seed gives the same bytes.

    The steps and their order are ContentShuffle's of controlnet_aux (double precision included), so the map equals the
    reference's after `numpy.random.seed(seed)` (0 to 2**32 - 1). NumPy guarantees that this legacy generator never
    changes its stream.
    """
    height, width = rgb.shape[:2]
    random = np.random.RandomState(seed)
    across = _smooth_noise(random, rgb.shape[:2], width)
    down = _smooth_noise(random, rgb.shape[:2], height)
    return np.asarray(cv2.remap(rgb, across, down, cv2.INTER_LINEAR), dtype=np.uint8)


WEIGHTLESS: dict[str, Callable[[Rgb, MapParameters], Drawn]] = {
    "canny": canny_map,
    "scribble": scribble_map,
    "sketch": sketch_map,
    "lineart": lineart_map,
    "softedge": softedge_map,
    "mlsd": lambda rgb, knobs: Drawn(straight_lines(rgb, knobs.minimum_length), (LIKE_MLSD,)),
    "tile": lambda rgb, knobs: Drawn(tile(rgb, knobs.factor)),
    "blur": lambda rgb, knobs: Drawn(blur(rgb, knobs.sigma_pixels)),
    "gray": lambda rgb, knobs: Drawn(gray(rgb, knobs.gamma)),
    "low-quality": lambda rgb, knobs: Drawn(low_quality(rgb, knobs.factor, knobs.quality)),
    "shuffle": lambda rgb, knobs: Drawn(shuffle(rgb, knobs.seed)),
    "color-grid": lambda rgb, knobs: Drawn(color_grid(rgb, knobs.cell_pixels)),
}
"""Canonical modality to its map maker, for those that need no trained weights."""

LEARNED: dict[str, Callable[[Rgb, MapParameters, MapModels], Drawn]] = {
    "depth": depth_map,
    "normal": normal_map,
    "pose": pose_map,
}
"""The same for those that are made with a model file of the user's, or (normal) of a given depth map."""
