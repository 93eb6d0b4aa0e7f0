"""The measure of each modality: lines, contours, greys, colours, regions and depth of a pair of pictures.

Contours, greys and colours are compared by SSIM (Wang et al. 2004), as it is and weighted by where the asked structure
is. Imported lazily: it brings NumPy and OpenCV.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import cv2
import numpy as np

from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.arrays import HALF, Levels, Plane, Rgb, blurred, luminance, resized
from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.images.resize import crop, to_frame
from controlnet_mcp.images.structure_score import DepthOf, Metric, StructureScore
from controlnet_mcp.images.structure_score.edges import (
    ONE_THRESHOLD,
    THRESHOLDS,
    WORKING_SIDE_PIXELS,
    Figures,
    Lines,
    Size,
    best_shift,
    borders,
    compare_edges,
    edges_at_thresholds,
    fitted_lines,
    middles_of,
    shifted,
    size_below,
)

LEVEL_RANGE = 255.0
"""The range L of SSIM, whose constants are (0.01 L)² and (0.03 L)²."""
WINDOW_SIGMA_PIXELS = 3.0
"""Twice SSIM's usual window: redrawn strokes lie a little off."""
FLAT_LEVELS = 1.0
"""Deviation in levels below which nothing was asked for."""
CURVE = 0.7
"""Exponent that brings half of the structure to about half of the scale; the order stays."""
LEAST_SIDE_PIXELS = 16
"""Shorter side below which nothing is measured."""
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
    """A control picture or map and a result; see `score_structure`."""

    asked: Rgb
    result: Rgb
    modality: str
    is_map: bool
    depth_of: DepthOf | None

    @property
    def size(self) -> Size:
        """Width and height at which the two are compared."""
        return size_below(self.result, WORKING_SIDE_PIXELS)

    def mapped(self, rgb: Rgb) -> Rgb:
        """The map of a picture by this modality, at the result's own size up to the area of 2048 x 2048."""
        return make_map(to_frame(rgb, *size_below(self.result, 2048)), self.modality).rgb

    def asked_lines(self) -> Plane:
        """The asked line map, white on black, at the size of the comparison."""
        asked = self.asked if self.is_map else self.mapped(self.asked)
        if cv2.mean(luminance(asked))[0] > HALF:  # dark lines on light paper, handed in as a map
            asked = np.asarray(cv2.bitwise_not(asked), dtype=np.uint8)
        return fitted_lines(asked, self.size)

    def result_lines(self) -> Plane:
        """The line map of the result, likewise."""
        return fitted_lines(self.mapped(self.result), self.size)

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

    `asked` is the control picture or control map in any size; it is cropped to the aspect of the result as for a
    generation. None where there is no measure, no depth model for it, or no structure in what was asked for, and for a
    result below 16 x 16 pixels.
    """
    if modality not in MEASURES or min(result.shape[:2]) < LEAST_SIDE_PIXELS:
        return None
    return MEASURES[modality](Pair(asked, result, modality, is_map, depth_of))


def lines_score(pair: Pair) -> StructureScore | None:
    """F-measure of thin lines, found in the result as in the control picture, and by Canny."""
    asked = middles_of(pair.asked_lines())
    if not asked.pixels.any():
        return None

    def ways() -> Iterator[Lines]:
        yield middles_of(pair.result_lines())
        small = to_frame(pair.result, *pair.size)
        if pair.modality in {"scribble", "sketch"}:
            # the dark side of edges, where such maps have their lines, of a result of any contrast
            low, high = (float(level) for level in np.percentile(small, (1, 99)))
            stretch = 255.0 / max(high - low, 48.0)  # not to the full range where the grain would be lines
            stretched = np.clip((small.astype(np.float32) - low) * stretch, 0, 255).astype(np.uint8)
            dark = make_map(stretched, "scribble", MapParameters(invert="no", threshold=24))
            yield middles_of(luminance(dark.rgb))
        yield from edges_at_thresholds(small, ONE_THRESHOLD if pair.modality == "mlsd" else THRESHOLDS)

    return pair.scored("edge_f1", compare_edges(asked, ways()))


def contours_score(pair: Pair) -> StructureScore | None:
    """SSIM of soft contours with what was drawn for a line.

    That is a line of this modality; a stroke, dark or light; or the border of an area.
    """
    asked = viewed(pair.asked_lines())

    def ways() -> Iterator[Levels]:
        yield viewed(pair.result_lines())
        small, as_photo = to_frame(pair.result, *pair.size), MapParameters(invert="no")
        negative = np.asarray(cv2.bitwise_not(small), dtype=np.uint8)
        for picture, modality in ((small, "lineart"), (negative, "lineart"), (small, "softedge")):
            yield viewed(luminance(make_map(picture, modality, as_photo).rgb))

    return pair.scored("ssim", best_of_planes(asked, ways()))


def greys_score(pair: Pair) -> StructureScore | None:
    """SSIM of brightness."""
    asked, found = (viewed(luminance(to_frame(rgb, *pair.size))) for rgb in (pair.asked, pair.result))
    return pair.scored("ssim", best_of_planes(asked, [found]))


def layout_score(pair: Pair, curve: float = CURVE) -> StructureScore | None:
    """SSIM of colours at low detail; as the map says less than the result, the result may be blurred to match.

    By these sigmas the map of a picture blurred by the default of 9 px is met at every usual resolution.
    """
    asked, found = (viewed(to_frame(rgb, *pair.size), 64) for rgb in (pair.asked, pair.result))
    ways = [found, *(blurred(found, sigma) for sigma in (0.7, 1.4, 2.8))]
    return pair.scored("ssim", best_of_channels(asked, ways, curve))


def regions_score(pair: Pair) -> StructureScore | None:
    """MIoU where both have labels, else the agreement of edges with the borders between the asked classes."""
    both: list[Rgb] = []
    for rgb in (pair.asked, pair.result):  # scaled without blending: a mixture of two classes is another class
        part = np.ascontiguousarray(crop(rgb, *pair.size))
        both.append(np.asarray(cv2.resize(part, pair.size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8))
    colours = main_colours(both[0])
    asked, read = (read_labels(rgb, colours) for rgb in both)
    if asked is None:
        return None
    if read is not None:
        return pair.scored("miou", compare_labels(asked, read))
    wanted = middles_of(borders(asked))
    if not wanted.pixels.any():
        return None
    return pair.scored("boundary_f1", compare_edges(wanted, edges_at_thresholds(to_frame(pair.result, *pair.size))))


def depth_score(pair: Pair) -> StructureScore | None:
    """RMSE between depth maps, where there is a model that finds the depth of the result."""
    if pair.depth_of is None:
        return None
    found = pair.depth_of(pair.result)
    picture = to_frame(pair.asked, found.shape[1], found.shape[0])
    asked = luminance(picture) if pair.is_map else pair.depth_of(picture)
    return pair.scored("depth_rmse", compare_depth(asked, found))


def viewed(plane: Plane | Rgb, side_pixels: int = 256) -> Levels:
    """The plane shrunk by a whole factor to a shorter side of about `side_pixels`: Wang's advice."""
    factor = max(1, round(min(plane.shape[:2]) / side_pixels))
    size = (max(1, plane.shape[1] // factor), max(1, plane.shape[0] // factor))
    return np.asarray(resized(plane, size), dtype=np.float32)


def detail_of(levels: Levels) -> Levels:
    """Local contrast: strong where something is drawn, however bright its ground is; two pictures are aligned by it."""
    return np.asarray(np.abs(levels - blurred(levels, WINDOW_SIGMA_PIXELS)), dtype=np.float32)


def compare_ssim(asked: Levels, found: Levels, level_range: float = LEVEL_RANGE, curve: float = CURVE) -> Figures:
    """Mean SSIM of two planes; the score is SSIM weighted by the spread of the asked plane in each window, on a curve.

    The empty ground of a line map agrees with anything; by the weights (as in information-weighted SSIM) what is empty
    counts for nothing.
    """
    steady_mean, steady_spread = (0.01 * level_range) ** 2, (0.03 * level_range) ** 2
    mean_asked, mean_found, square_asked, square_found, product = (
        blurred(levels, WINDOW_SIGMA_PIXELS) for levels in (asked, found, asked * asked, found * found, asked * found)
    )
    var_asked = np.maximum(square_asked - mean_asked**2, 0)
    var_found = np.maximum(square_found - mean_found**2, 0)
    shared = product - mean_asked * mean_found
    brightness = (2 * mean_asked * mean_found + steady_mean) / (mean_asked**2 + mean_found**2 + steady_mean)
    each = (brightness * (2 * shared + steady_spread) / (var_asked + var_found + steady_spread)).astype(np.float32)
    weight = np.sqrt(var_asked).astype(np.float32)
    total = float(weight.sum())
    weighted = float((each * weight).sum()) / total if total else 0.0
    return Figures(float(each.mean()), min(1.0, max(0.0, weighted)) ** curve)


def best_of_planes(asked: Levels, ways: Iterable[Levels]) -> Figures | None:
    """Compare planes of one shape, the asked one moved a little where that helps; the best of the ways to see a result.

    Returns:
        None when nothing was asked for: no place has any spread.
    """
    if float(asked.std()) < FLAT_LEVELS:
        return None
    detail = detail_of(asked)
    compared = (
        compare_ssim(shifted(asked, shift), found)
        for found in ways
        for shift in {(0, 0), best_shift(detail_of(found), detail)}  # the peak may be a chance one
    )
    return max(compared, key=lambda row: row.score)


def best_of_channels(asked: Levels, ways: Sequence[Levels], curve: float = CURVE) -> Figures | None:
    """Compare pictures of shape (height, width, 3) as they lie, and take the best of the ways to see the result.

    Returns:
        None when nothing was asked for: the asked picture is flat.
    """
    if float(asked.std()) < FLAT_LEVELS:
        return None
    level_range = min(LEVEL_RANGE, 4.0 * float(asked.std()))  # less for pictures of low contrast
    means: list[Figures] = []
    for found in ways:
        each: list[Figures] = []
        for channel in range(asked.shape[2]):
            one, other = (np.asarray(cv2.extractChannel(row, channel), dtype=np.float32) for row in (asked, found))
            each.append(compare_ssim(one, other, level_range, curve))
        means.append(Figures(*(sum(column) / len(each) for column in zip(*map(astuple, each), strict=True))))
    return max(means, key=lambda row: row.score)


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


MEASURES: dict[str, Callable[[Pair], StructureScore | None]] = {
    **dict.fromkeys(("canny", "scribble", "sketch", "mlsd"), lines_score),
    **dict.fromkeys(("lineart", "softedge"), contours_score),
    "gray": greys_score,
    **dict.fromkeys(("tile", "blur"), layout_score),
    "low-quality": partial(layout_score, curve=0.55),  # such a map has lost some of what it asks for
    "seg": regions_score,
    "depth": depth_score,
}
"""Canonical modality to its measure; the keys are those of `MEASURED`."""
