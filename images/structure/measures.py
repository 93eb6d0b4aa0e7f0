"""Which measure each modality has, and how a pair of pictures is made ready for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from controlnet_mcp.images.maps import MapParameters, make_map
from controlnet_mcp.images.maps.arrays import HALF, Plane, Rgb, luminance
from controlnet_mcp.images.structure import edges, regions, similarity
from controlnet_mcp.images.structure.depth import DepthOf, compare_depth
from controlnet_mcp.images.structure.fitting import WORKING_SIDE_PIXELS, Size, fitted, fitted_lines, size_below
from controlnet_mcp.images.structure.lines import Lines, middles_of
from controlnet_mcp.images.structure.values import Figures, Metric, StructureScore

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


def _asked_map(pair: Pair, size: Size) -> Rgb:
    """The asked line map, white on black."""
    asked = pair.asked if pair.is_map else make_map(fitted(pair.asked, size), pair.modality).rgb
    if cv2.mean(luminance(asked))[0] > HALF:  # dark lines on light paper, handed in as a map
        return np.asarray(cv2.bitwise_not(asked), dtype=np.uint8)
    return asked


def _edges(pair: Pair) -> StructureScore | None:
    detected, size = size_below(pair.result, DETECTED_SIDE_PIXELS), size_below(pair.result, WORKING_SIDE_PIXELS)
    asked = middles_of(fitted_lines(_asked_map(pair, detected), size))
    if asked.empty:
        return None

    def ways() -> Iterator[Lines]:
        yield middles_of(fitted_lines(make_map(fitted(pair.result, detected), pair.modality).rgb, size))
        if pair.modality in {"scribble", "sketch"}:
            yield middles_of(_dark_lines(fitted(pair.result, size)))
        thresholds = edges.ONE_THRESHOLD if pair.modality == "mlsd" else edges.THRESHOLDS
        yield from edges.edges_at_thresholds(fitted(pair.result, size), thresholds)

    figures = edges.compare_edges(asked, ways())
    return pair.scored("edge_f1", figures)


def _dark_lines(small: Rgb) -> Plane:
    """The dark side of edges, where such maps have their lines, of a result of any contrast."""
    low, high = (float(level) for level in np.percentile(small, (1, 99)))
    stretch = 255.0 / max(high - low, FAINTEST_LEVELS)
    stretched = np.clip((small.astype(np.float32) - low) * stretch, 0, 255).astype(np.uint8)
    return luminance(make_map(stretched, "scribble", MapParameters(invert="no", threshold=24)).rgb)


def _contours(pair: Pair) -> StructureScore | None:
    detected, size = size_below(pair.result, DETECTED_SIDE_PIXELS), size_below(pair.result, WORKING_SIDE_PIXELS)
    asked = similarity.viewed(fitted_lines(_asked_map(pair, detected), size))
    figures = similarity.best_of_planes(asked, map(similarity.viewed, _contours_of(pair, detected, size)))
    return pair.scored("ssim", figures)


def _contours_of(pair: Pair, detected: Size, size: Size) -> Iterator[Plane]:
    """What was drawn for a line: a line of this modality; a stroke, dark or light; or the border of an area."""
    yield fitted_lines(make_map(fitted(pair.result, detected), pair.modality).rgb, size)
    small, as_photo = fitted(pair.result, size), MapParameters(invert="no")
    yield luminance(make_map(small, "lineart", as_photo).rgb)
    yield luminance(make_map(np.asarray(cv2.bitwise_not(small), dtype=np.uint8), "lineart", as_photo).rgb)
    yield luminance(make_map(small, "softedge", as_photo).rgb)


def _greys(pair: Pair) -> StructureScore | None:
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    asked, found = (similarity.viewed(luminance(fitted(rgb, size))) for rgb in (pair.asked, pair.result))
    figures = similarity.best_of_planes(asked, [found])
    return pair.scored("ssim", figures)


def _layout(pair: Pair, curve: float = similarity.CURVE) -> StructureScore | None:
    """Colours at low detail; as the map says less than the result, the result may be blurred to match."""
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    asked, found = (similarity.viewed(fitted(rgb, size), COARSE_SIDE_PIXELS) for rgb in (pair.asked, pair.result))
    ways = [found, *(similarity.blurred(found, sigma) for sigma in COARSE_SIGMAS_PIXELS)]
    figures = similarity.best_of_channels(asked, ways, curve)
    return pair.scored("ssim", figures)


def _regions(pair: Pair) -> StructureScore | None:
    """MIoU where both have labels, else how well the borders between the asked classes are drawn."""
    size = size_below(pair.result, WORKING_SIDE_PIXELS)
    asked = regions.labels_of(pair.asked, size)
    if asked is None:
        return None
    read = regions.read_labels(pair.result, size, asked.colours)
    if read is not None:
        return pair.scored("miou", regions.compare_labels(asked.plane, read.plane))
    wanted = middles_of(edges.borders(asked.plane))
    if wanted.empty:
        return None
    figures = edges.compare_edges(wanted, edges.edges_at_thresholds(fitted(pair.result, size)))
    return pair.scored("boundary_f1", figures)


def _depth(pair: Pair) -> StructureScore | None:
    if pair.depth_of is None:
        return None
    found = pair.depth_of(pair.result)
    picture = fitted(pair.asked, (found.shape[1], found.shape[0]))
    figures = compare_depth(luminance(picture) if pair.is_map else pair.depth_of(picture), found)
    return pair.scored("depth_rmse", figures)


MEASURES: dict[str, Callable[[Pair], StructureScore | None]] = {
    "canny": _edges,
    "scribble": _edges,
    "sketch": _edges,
    "mlsd": _edges,
    "lineart": _contours,
    "softedge": _contours,
    "gray": _greys,
    "tile": _layout,
    "blur": _layout,
    "low-quality": partial(_layout, curve=similarity.POOR_CURVE),
    "seg": _regions,
    "depth": _depth,
}
"""Canonical modality to its measure; the keys are `values.MEASURED`."""


def measure(pair: Pair) -> StructureScore | None:
    """Apply the modality's measure, see `score_structure`."""
    return MEASURES[pair.modality](pair) if min(pair.result.shape[:2]) >= LEAST_SIDE_PIXELS else None
