"""Control maps are told from pictures, and blank sheets from both: judged on a labelled set."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from controlnet_mcp.images.classify import appearance_of, palettes
from tests.support.labelled_pictures import blanks, maps, photos, sketches


def test_maps_and_pictures_are_told_apart_and_no_photo_is_blank() -> None:
    """At least 95 % of the whole set, and 90 % of every kind; blank is the one look that is an error."""
    confusion: Counter[tuple[str, str]] = Counter()
    for label, _, rgb in chain(photos(), sketches(), maps(), blanks()):
        seen = appearance_of(rgb)
        confusion[label, "picture" if seen == "drawing" else seen] += 1
    total = confusion.total()
    right = {label: count for (label, seen), count in confusion.items() if label == seen}
    assert total > 250
    assert sum(right.values()) >= 0.95 * total, confusion
    for label in {label for label, _ in confusion}:
        of_label = sum(count for (one, _), count in confusion.items() if one == label)
        assert right.get(label, 0) >= (1.0 if label in {"blank", "skeleton"} else 0.85) * of_label, confusion
    assert not confusion["picture", "blank"]


def test_drawings_on_paper_are_seen_as_drawings() -> None:
    """They may be handed in as line maps without a word."""
    seen = Counter(appearance_of(rgb) for _, _, rgb in sketches())
    assert seen["drawing"] > 0.8 * seen.total(), seen


@pytest.mark.parametrize(("index", "classes"), [(0, 150), (1, 19), (2, 20)])
def test_the_palettes_are_complete(index: int, classes: int) -> None:
    """ADE20K, Cityscapes and PASCAL VOC (without its black background)."""
    assert palettes()[index].shape == (classes, 3)


def test_voc_colours_are_those_of_its_rule() -> None:
    """Aeroplane, bicycle and person."""
    voc = palettes()[2].tolist()
    assert (voc[0], voc[1], voc[14]) == ([128, 0, 0], [0, 128, 0], [192, 128, 128])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (900, 1), (3, 900), (17, 2)])
def test_any_size_can_be_looked_at(size: tuple[int, int]) -> None:
    """Strips and specks too."""
    random = np.random.default_rng(1)
    assert appearance_of(random.integers(0, 256, (*size, 3), dtype=np.uint8)) in {"picture", "blank", "drawing", "edge"}
