"""The draft engine's pictures keep structure, follow words, and are the same every time."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.draft.lexicon import MEDIA
from controlnet_mcp.providers.draft.render import Brief, Layer, render
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import Rgb, depth_map, house, normal_map, segmentation, skeleton

SIZE = 256
HOUSE = house(SIZE)


def drawn(prompt: str, layer: Layer | None = None, size: int = SIZE, seed: int = 1, negative: str = "") -> Rgb:
    """A square picture of one control without the mark."""
    layers = (layer or Layer("scribble", HOUSE),)
    return render(Brief(prompt, layers, size, size, seed, negative_prompt=negative, mark=False))


def map_for(name: str) -> Rgb:
    """A fitting control for a modality at 128 px."""
    made = {"depth": depth_map, "normal": normal_map, "skeleton": skeleton, "classes": segmentation}
    structure = MODALITIES[name].structure
    return made[structure](128) if structure in made else house(128)


def test_the_same_brief_gives_the_same_bytes() -> None:
    """Nothing depends on time, order or a shared generator."""
    assert np.array_equal(drawn("a red house"), drawn("a red house"))


def test_another_process_gives_the_same_bytes() -> None:
    """Neither hash seeds nor memory addresses reach the picture."""
    code = (
        "import hashlib; from tests.providers.test_draft_render import drawn;"
        "print(hashlib.sha256(drawn('a boat at sunset').tobytes()).hexdigest())"
    )
    digests: set[str] = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_another_seed_gives_another_picture() -> None:
    """The seed decides what the words leave open."""
    assert not np.array_equal(drawn("a house", seed=1), drawn("a house", seed=2))


@pytest.mark.parametrize("medium", MEDIA)
def test_every_medium_keeps_the_lines(medium: str) -> None:
    """At least 85 % of the drawing's edges are edges of the picture, far above what a moved drawing scores."""
    control = house(384)
    picture = drawn(f"{medium} of a house", Layer("scribble", control), 384)
    recall, chance = recall_of(control, picture), chance_of(control, picture)
    assert recall >= 0.85, f"recall {recall:.3f}, chance {chance:.3f}"


def test_media_differ() -> None:
    """Each medium is a look of its own."""
    looks = {drawn(f"{medium} of a house", size=64).tobytes() for medium in MEDIA}
    assert len(looks) == len(MEDIA)


def test_a_heavier_control_shows_more() -> None:
    """The conditioning scale raises the contrast of the lines."""
    on_line = cv2.cvtColor(HOUSE, cv2.COLOR_RGB2GRAY) < 60
    beside = (cv2.erode(cv2.cvtColor(HOUSE, cv2.COLOR_RGB2GRAY), np.ones((9, 9), np.uint8)) < 60) & ~on_line
    contrasts: list[float] = []
    for weight in (0.1, 0.5, 1.0):
        grey = cv2.cvtColor(drawn("a house", Layer("scribble", HOUSE, weight)), cv2.COLOR_RGB2GRAY)
        contrasts.append(float(grey[beside].mean() - grey[on_line].mean()))
    assert contrasts == sorted(contrasts)
    assert contrasts[-1] > 2 * contrasts[0]


def test_colour_words_colour_the_picture() -> None:
    """A red house is redder than a blue one."""

    def redness(picture: Rgb) -> float:
        return float(picture[..., 0].mean() - picture[..., 2].mean())

    assert redness(drawn("a red house")) > redness(drawn("a blue house")) + 10


def test_a_negative_prompt_takes_colour_away() -> None:
    """What the negative prompt names is not taken from the prompt."""
    plain, without = drawn("red flowers", negative=""), drawn("red flowers", negative="red")
    reds = [float(np.mean((p[..., 0] > 1.6 * p[..., 1]) & (p[..., 0] > 1.6 * p[..., 2]))) for p in (plain, without)]
    assert reds[1] < 0.5 * reds[0]


def test_night_is_darker_than_noon() -> None:
    """A mood changes the light."""
    assert drawn("a house at night").mean() < 0.7 * drawn("a house in summer").mean()


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_is_drawn(name: str) -> None:
    """Whatever structure comes in, a picture of the asked size with something on it goes out."""
    picture = render(Brief("a garden", (Layer(name, map_for(name)),), 128, 96, 3))
    assert picture.shape == (96, 128, 3)
    assert picture.dtype == np.uint8
    assert float(picture.std()) > 8


def test_a_person_stands_where_the_skeleton_is() -> None:
    """A pose map becomes a body in the colour that the prompt names, over the torso."""
    picture = drawn("a dancer in a red shirt", Layer("pose", skeleton(SIZE)))
    chest = picture[int(0.36 * SIZE) : int(0.46 * SIZE), int(0.46 * SIZE) : int(0.54 * SIZE)].mean(axis=(0, 1))
    assert chest[0] > 1.8 * chest[1]


def test_classes_become_their_materials() -> None:
    """ADE20K grass is green ground and ADE20K sky is lighter than it."""
    picture = drawn("summer", Layer("seg", segmentation(SIZE))).astype(float)
    sky, grass = picture[: SIZE // 8].mean(axis=(0, 1)), picture[-SIZE // 8 :, -SIZE // 5 :].mean(axis=(0, 1))
    assert grass[1] > grass[2] + 20
    assert sky.mean() > grass.mean()


def test_a_hidden_pattern_decides_light_and_dark() -> None:
    """The brightness of an illusion follows its pattern."""
    pattern = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    pattern[:, : SIZE // 2] = 255
    grey = drawn("forest", Layer("illusion", pattern)).mean(axis=2)
    assert float(grey[:, : SIZE // 2].mean()) > float(grey[:, SIZE // 2 :].mean()) + 50


def test_grey_pictures_are_coloured_and_keep_their_light() -> None:
    """Tinting changes colour, hardly brightness."""
    grey = np.repeat(np.linspace(20, 235, SIZE, dtype=np.uint8)[None, :, None], SIZE, axis=0).repeat(3, axis=2)
    picture = drawn("portrait of a woman", Layer("gray", grey))
    assert float((picture.max(axis=2).astype(int) - picture.min(axis=2)).mean()) > 12
    match = np.corrcoef(picture.mean(axis=2).ravel(), grey.mean(axis=2).ravel())[0, 1]
    assert float(match) > 0.93
