"""The measure of each modality: lines, contours, greys, colours, regions and depth of a pair of pictures.

Imported lazily: it brings NumPy and OpenCV.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.arrays import HALF, Levels, Plane, Rgb, luminance
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.images.resize import crop
from controlnet_mcp.images.structure_score import DepthOf, Figures, Metric, StructureScore
from controlnet_mcp.images.structure_score.alignment import WORKING_SIDE_PIXELS, Size, fitted, fitted_lines, size_below
from controlnet_mcp.images.structure_score.edges import (
    ONE_THRESHOLD,
    THRESHOLDS,
    Lines,
    borders,
    compare_edges,
    edges_at_thresholds,
    middles_of,
)
from controlnet_mcp.images.structure_score.similarity import (
    CURVE,
    POOR_CURVE,
    best_of_channels,
    best_of_planes,
    blurred,
    viewed,
)

DETECTED_SIDE_PIXELS = 2048
"""Lines are detected at the result's own size, as they were in the control picture, up to the area of this square."""
FAINTEST_LEVELS = 48.0
"""A result of less contrast than this is not stretched to the full range: its grain would be lines."""
COARSE_SIDE_PIXELS = 64
"""Colours and layout at low detail are compared at this."""
COARSE_SIGMAS_PIXELS = (0.7, 1.4, 2.8)
"""At that size; the map of a blurred picture at the default of 9 px is met at every usual resolution."""
LEAST_SIDE_PIXELS = 16
"""Nothing is measured in smaller pictures."""
FLAT = 0.01
"""Deviation, as a fraction of the range, below which a depth map has no structure."""
LEAST_SHARE = 0.002
"""A colour that covers less of the map than this is a blend at a border, not a class."""
MOST_LABELS = 64
READABLE = 0.9
"""Fraction of a picture that must have a class colour for its labels to be read."""
NEAR_LEVELS = 12
"""Levels in any channel within which a pixel has a colour; JPEG shifts flat colours by less."""
UNLABELLED = 255


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What was asked for and what came out; see `score_structure`."""

    asked: Rgb
    result: Rgb
    modality: str
    is_map: bool
    depth_of: DepthOf | None

    def scored(self, metric: Metric, figures: Figures | None) -> StructureScore | None:
        """The score of this modality, where there are figures."""
        if figures is None:
            return None
        score = min(1.0, max(0.0, figures.score))
        return StructureScore(modality=self.modality, metric=metric, score=score, raw=figures.raw)


def score_structure(
    asked: Rgb, result: Rgb, modality: str, *, is_map: bool, depth_of: DepthOf | None = None
) -> StructureScore | None:
    """Measure how much of the asked structure is in a result.

    CPU-bound, some ten milliseconds (seconds with a depth model): call it in a thread.

    Args:
        asked: The control picture or control map; any size, cropped to the aspect of the result as for a generation.
        result: The finished picture, at least 16 x 16 pixels.
        modality: Canonical name.
        is_map: Whether `asked` is a control map rather than the picture to take the structure of.
        depth_of: Needed to look for depth.

    Returns:
        None where there is no measure, no model for it, or no structure in what was asked for.
    """
    if modality not in MEASURES or min(result.shape[:2]) < LEAST_SIDE_PIXELS:
        return None
    return MEASURES[modality](Pair(asked, result, modality, is_map, depth_of))


def _asked_map(pair: Pair, size: Size) -> Rgb:
    """The asked line map, white on black."""
    asked = pair.asked if pair.is_map else make_map(fitted(pair.asked, size), pair.modality).rgb
    if cv2.mean(luminance(asked))[0] > HALF:  # dark lines on light paper, handed in as a map
        return np.asarray(cv2.bitwise_not(asked), dtype=np.uint8)
    return asked


def lines_score(pair: Pair) -> StructureScore | None:
    """F-measure of thin lines, found in the result as in the control picture, and by Canny."""
    detected, size = size_below(pair.result, DETECTED_SIDE_PIXELS), size_below(pair.result, WORKING_SIDE_PIXELS)
    asked = middles_of(fitted_lines(_asked_map(pair, detected), size))
    if asked.empty:
        return None

    def ways() -> Iterator[Lines]:
        yield middles_of(fitted_lines(make_map(fitted(pair.result, detected), pair.modality).rgb, size))
        small = fitted(pair.result, size)
        if pair.modality in {"scribble", "sketch"}:
            # the dark side of edges, where such maps have their lines, of a result of any contrast
            low, high = (float(level) for level in np.percentile(small, (1, 99)))
            stretch = 255.0 / max(high - low, FAINTEST_LEVELS)
            stretched = np.clip((small.astype(np.float32) - low) * stretch, 0, 255).astype(np.uint8)
            dark = make_map(stretched, "scribble", MapParameters(invert="no", threshold=24))
            yield middles_of(luminance(dark.rgb))
        yield from edges_at_thresholds(small, ONE_THRESHOLD if pair.modality == "mlsd" else THRESHOLDS)

    return pair.scored("edge_f1", compare_edges(asked, ways()))


def contours_score(pair: Pair) -> StructureScore | None:
    """SSIM of soft contours with what was drawn for a line.

    That is a line of this modality; a stroke, dark or light; or the border of an area.
    """
    detected, size = size_below(pair.result, DETECTED_SIDE_PIXELS), size_below(pair.result, WORKING_SIDE_PIXELS)
    asked = viewed(fitted_lines(_asked_map(pair, detected), size))

    def ways() -> Iterator[Levels]:
        yield viewed(fitted_lines(make_map(fitted(pair.result, detected), pair.modality).rgb, size))
        small, as_photo = fitted(pair.result, size), MapParameters(invert="no")
        negative = np.asarray(cv2.bitwise_not(small), dtype=np.uint8)
        for picture, modality in ((small, "lineart"), (negative, "lineart"), (small, "softedge")):
            yield viewed(luminance(make_map(picture, modality, as_photo).rgb))

    return pair.scored("ssim", best_of_planes(asked, ways()))


def greys_score(pair: Pair) -> StructureScore | None:
    """SSIM of brightness."""
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    asked, found = (viewed(luminance(fitted(rgb, size))) for rgb in (pair.asked, pair.result))
    return pair.scored("ssim", best_of_planes(asked, [found]))


def layout_score(pair: Pair, curve: float = CURVE) -> StructureScore | None:
    """SSIM of colours at low detail; as the map says less than the result, the result may be blurred to match."""
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    asked, found = (viewed(fitted(rgb, size), COARSE_SIDE_PIXELS) for rgb in (pair.asked, pair.result))
    ways = [found, *(blurred(found, sigma) for sigma in COARSE_SIGMAS_PIXELS)]
    return pair.scored("ssim", best_of_channels(asked, ways, curve))


def regions_score(pair: Pair) -> StructureScore | None:
    """MIoU where both have labels, else how well the borders between the asked classes are drawn."""
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    segmentation = _at_size(pair.asked, size)
    colours = main_colours(segmentation)
    asked, read = (read_labels(rgb, colours) for rgb in (segmentation, _at_size(pair.result, size)))
    if asked is None:
        return None
    if read is not None:
        return pair.scored("miou", compare_labels(asked, read))
    wanted = middles_of(borders(asked))
    if wanted.empty:
        return None
    return pair.scored("boundary_f1", compare_edges(wanted, edges_at_thresholds(fitted(pair.result, size))))


def depth_score(pair: Pair) -> StructureScore | None:
    """RMSE between depth maps, where there is a model that finds the depth of the result."""
    if pair.depth_of is None:
        return None
    found = pair.depth_of(pair.result)
    picture = fitted(pair.asked, (found.shape[1], found.shape[0]))
    asked = luminance(picture) if pair.is_map else pair.depth_of(picture)
    return pair.scored("depth_rmse", compare_depth(asked, found))


MEASURES: dict[str, Callable[[Pair], StructureScore | None]] = {
    **dict.fromkeys(("canny", "scribble", "sketch", "mlsd"), lines_score),
    **dict.fromkeys(("lineart", "softedge"), contours_score),
    "gray": greys_score,
    **dict.fromkeys(("tile", "blur"), layout_score),
    "low-quality": partial(layout_score, curve=POOR_CURVE),
    "seg": regions_score,
    "depth": depth_score,
}
"""Canonical modality to its measure; the keys are `MEASURED`."""


def compare_depth(asked: Levels | Plane, found: Levels) -> Figures | None:
    """Compare depths of one shape after the best fit in scale and offset (MiDaS; Ranftl et al. 2020).

    Returns:
        RMSE as a fraction of the asked range, 0 to 1 and lower is better; the score is the part of the asked variance
        that is explained. None when the asked depth is flat.
    """
    wanted = asked.astype(np.float32)
    wanted = (wanted - wanted.min()) / max(float(np.ptp(wanted)), 1e-6)
    spread = float(wanted.std())
    if spread < FLAT:
        return None
    alike = float(np.corrcoef(wanted.ravel(), found.ravel())[0, 1]) if float(found.std()) > 0 else 0.0
    explained = min(1.0, max(0.0, alike) ** 2)
    return Figures(spread * (1 - explained) ** 0.5, explained)


def _at_size(rgb: Rgb, size: Size) -> Rgb:
    """Cropped to the aspect and scaled without blending: a mixture of two classes is another class."""
    part = np.ascontiguousarray(crop(rgb, *size))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def main_colours(rgb: Rgb) -> Rgb:
    """The colours that cover a share of the map, most first, those near to a commoner one left out."""
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    values, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts.astype(np.int64), kind="stable")
    kept: list[tuple[int, int, int]] = []
    for value, count in zip(values[order].tolist(), counts[order].tolist(), strict=True):
        colour = (value >> 16, value >> 8 & 255, value & 255)
        if count < LEAST_SHARE * packed.size or len(kept) == MOST_LABELS:
            break
        if all(max(abs(a - b) for a, b in zip(colour, other, strict=True)) > NEAR_LEVELS for other in kept):
            kept.append(colour)
    return np.array(kept, dtype=np.uint8).reshape(-1, 3)


def read_labels(rgb: Rgb, colours: Rgb) -> Plane | None:
    """The label of each pixel (255: none) of a picture in class colours, shape (height, width).

    None of a picture that was not drawn in these colours: too few of its pixels have one.
    """
    plane = np.full(rgb.shape[:2], UNLABELLED, dtype=np.uint8)
    for label in reversed(range(len(colours))):
        middle = colours[label].astype(np.float64)
        low, high = np.clip(middle - NEAR_LEVELS, 0, 255), np.clip(middle + NEAR_LEVELS, 0, 255)
        plane[np.asarray(cv2.inRange(rgb, low, high)) > 0] = label
    return plane if np.mean(plane != UNLABELLED) >= READABLE else None


def compare_labels(asked: Plane, found: Plane) -> Figures:
    """MIoU over the asked classes; the score is the same beyond chance.

    By chance two areas p and q of the picture share p q, which is an IoU of p q / (p + q - p q).
    """
    ious: list[float] = []
    chances: list[float] = []
    for label in np.unique(asked[asked != UNLABELLED]).tolist():
        one, other = asked == label, found == label
        p, q = float(one.mean()), float(other.mean())
        ious.append(float((one & other).sum()) / max(1, int((one | other).sum())))
        chances.append(p * q / (p + q - p * q))
    if not ious:
        return Figures(0.0, 0.0)
    miou, chance = float(np.mean(ious)), float(np.mean(chances))
    return Figures(miou, max(0.0, (miou - chance) / (1 - chance)) if chance < 1 else miou)
