"""The structure score separates kept from lost structure, for every modality that has a measure."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest

from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.images.structure_score import LOW_SCORE, MEASURED, StructureScore
from controlnet_mcp.images.structure_score.measures import MEASURES, score_structure
from tests.support import sample_drawings
from tests.support.draft_pictures import Given, drawn
from tests.support.structure_pairs import (
    REDRAWN,
    RETOUCHED,
    SIDE,
    Rgb,
    class_maps,
    filled_in,
    half_hidden,
    map_of,
    photo,
    subjects,
)

TONES = ("gray", "tile", "blur", "low-quality")
LINES = ("canny", "scribble", "sketch", "mlsd", "lineart", "softedge")


def scored(asked: Rgb, result: Rgb, modality: str) -> float:
    """The score of a result against a map; there must be one."""
    found = score_structure(asked, result, modality, is_map=True)
    assert found is not None
    return found.score


def area_under_roc(kept: Sequence[float], lost: Sequence[float]) -> float:
    """How often a kept pair scores above a lost one; ties count half."""
    above = np.subtract.outer(np.array(kept), np.array(lost))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


@cache
def pairs(modality: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Scores of the same picture, of kept, of half hidden and of lost structure."""
    same: list[float] = []
    kept: list[float] = []
    half: list[float] = []
    lost: list[float] = []
    changes = RETOUCHED if modality in TONES else REDRAWN
    for index, subject in enumerate(subjects()):
        asked = map_of(subject, modality)
        same.append(scored(asked, subject, modality))
        half.append(scored(asked, half_hidden(subject), modality))
        kept.extend(scored(asked, change(subject), modality) for change in changes[1:4])
        for step in (1, 2, 4):
            other = subjects()[(index + step) % len(subjects())]
            lost.append(scored(asked, changes[step % len(changes)](other), modality))
    return same, kept, half, lost


def test_the_measures_are_those_that_are_promised() -> None:
    """One table says what can be measured before anything heavy is imported, the other measures it."""
    assert set(MEASURES) == MEASURED


@pytest.mark.parametrize("modality", [*LINES, *TONES])
def test_kept_structure_scores_above_lost_structure(modality: str) -> None:
    """Area under ROC at least 0.98; the same above 0.95, unrelated below 0.35, half hidden between."""
    same, kept, half, lost = pairs(modality)
    assert area_under_roc(kept, lost) >= 0.98, (min(kept), max(lost))
    assert min(same) > 0.95
    assert max(lost) < LOW_SCORE
    assert max(lost) < min(half) <= max(half) < 0.8


def test_kept_regions_score_above_lost_regions() -> None:
    """Of a segmentation map the borders are looked for in a picture, the labels in a map."""
    maps = class_maps()
    kept = [scored(one, filled_in(one, seed), "seg") for one in maps for seed in (0, 1)]
    lost = [scored(one, filled_in(other, 1), "seg") for one in maps for other in maps if other is not one]
    assert area_under_roc(kept, lost) >= 0.98
    assert min(kept) > 0.8
    assert max(lost) < LOW_SCORE
    half = [scored(one, half_hidden(filled_in(one, 0)), "seg") for one in maps]
    assert max(lost) < min(half) <= max(half) < 0.8


def test_labels_are_compared_where_they_can_be_read() -> None:
    """MIoU of two maps in the same colours; it survives JPEG."""
    drawn, turned, *_ = class_maps()
    same = score_structure(drawn, drawn, "seg", is_map=True)
    assert same == StructureScore(modality="seg", metric="miou", score=1.0, raw=1.0)
    other = score_structure(drawn, turned, "seg", is_map=True)
    assert other is not None
    assert (other.metric, other.raw < 0.2, other.score < LOW_SCORE) == ("miou", True, True)


def brightness_as_depth(rgb: Rgb) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A depth model for pictures whose brightness is their depth, in a scale of its own and at half size."""
    half = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half.mean(axis=2) * 0.013 + 4, dtype=np.float32)


def test_depth_is_scored_by_a_model_or_not_at_all() -> None:
    """RMSE in fractions of the asked range, whatever the scale of the model."""
    asked = sample_drawings.depth_map(SIDE)
    assert score_structure(asked, asked, "depth", is_map=True) is None
    same = score_structure(asked, asked, "depth", is_map=True, depth_of=brightness_as_depth)
    assert same is not None
    assert (same.metric, round(same.score, 3), round(same.raw, 3)) == ("depth_rmse", 1.0, 0.0)
    inverse = score_structure(asked, 255 - asked, "depth", is_map=True, depth_of=brightness_as_depth)
    assert inverse is not None
    assert inverse.score == 0
    assert inverse.raw > 0.2
    half = score_structure(asked, half_hidden(asked), "depth", is_map=True, depth_of=brightness_as_depth)
    assert half is not None
    assert 0 < half.score < 0.8


def _blurred(rgb: Rgb, amount: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), amount * 12), dtype=np.uint8) if amount else rgb


def _moved(rgb: Rgb, amount: float) -> Rgb:
    return np.roll(rgb, round(amount * 48), axis=1)


def _warped(rgb: Rgb, amount: float) -> Rgb:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    bend = 30 * amount * np.sin(columns / 17)
    return np.asarray(cv2.remap(rgb, columns, rows + bend, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _hidden(rgb: Rgb, amount: float) -> Rgb:
    covered = rgb.copy()
    covered[:, : round(amount * SIDE)] = 128
    return covered


@pytest.mark.parametrize("modality", ["canny", "lineart", "softedge", "gray"])
@pytest.mark.parametrize("distorted", [_blurred, _moved, _warped, _hidden])
def test_the_score_falls_as_distortion_grows(modality: str, distorted: Callable[[Rgb, float], Rgb]) -> None:
    """Blur, shift, warp and hiding, in steps: never up by more than 0.02 (or 0.2: nothing), and at the end far down."""
    subject = photo("coffee.png")
    asked = map_of(subject, modality)
    scores = [scored(asked, distorted(subject, step / 4), modality) for step in range(5)]
    assert all(after <= max(before + 0.02, 0.2) for before, after in pairwise(scores)), scores
    assert scores[0] > 0.95
    assert scores[-1] < 0.6


@pytest.mark.parametrize("modality", ["canny", "softedge", "gray"])
def test_another_size_and_a_small_shift_cost_little(modality: str) -> None:
    """A provider draws at sizes of its own, crops to them, and may be off by a few pixels."""
    page = photo("astronaut.png", 400)
    asked = map_of(page, modality)
    wide = to_frame(page, 512, 384)
    assert scored(asked, wide, modality) > 0.7
    assert scored(asked, np.roll(page, (3, -4), axis=(0, 1)), modality) > 0.85


def test_a_picture_that_the_provider_preprocessed_is_scored_by_its_map() -> None:
    """What was handed in was no map, so its map is made here to be looked for."""
    page = photo("coffee.png")
    found = score_structure(page, REDRAWN[0](page), "canny", is_map=False)
    assert found is not None
    assert found.score > 0.7


@pytest.mark.parametrize("modality", ["pose", "normal", "shuffle", "reference", "ip-adapter"])
def test_what_cannot_be_measured_has_no_score(modality: str) -> None:
    """No figure is better than a wrong one."""
    assert score_structure(sample_drawings.house(SIDE), sample_drawings.house(SIDE), modality, is_map=True) is None


@pytest.mark.parametrize("modality", sorted(MEASURED - {"depth"}))
def test_nothing_asked_is_no_score_and_nothing_drawn_is_none(modality: str) -> None:
    """A blank map asks for nothing; a blank result holds nothing of a map."""
    blank = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    assert score_structure(blank, sample_drawings.house(SIDE), modality, is_map=True) is None
    asked = class_maps()[0] if modality == "seg" else map_of(photo("coffee.png"), modality)
    assert scored(asked, np.full_like(blank, 128), modality) < 0.25


@pytest.mark.parametrize("prompt", ["a house in watercolour", "a house, blueprint", "a house, oil painting"])
@pytest.mark.parametrize("modality", ["canny", "scribble", "lineart", "softedge"])
def test_a_picture_painted_with_texture_on_the_structure_keeps_it(prompt: str, modality: str) -> None:
    """Media add marks of their own, in light and in dark: recall counts for more than precision."""
    asked = map_of(sample_drawings.house(SIDE), modality)
    painted = drawn(prompt, Given(modality, asked), size=SIDE)
    assert scored(asked, painted, modality) > 0.45
    assert scored(map_of(sample_drawings.vase(SIDE), modality), painted, modality) < LOW_SCORE
