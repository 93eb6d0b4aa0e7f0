"""The draft engine's pictures keep structure, follow words and photos, and are the same every time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from controlnet_mcp.images.maps.recipes import make_map
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.providers.draft.adapter import MEDIA
from tests.support.draft_pictures import Given, drawn
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import Rgb, depth_map, house, normal_map, segmentation, skeleton

SIZE = 256
HOUSE = house(SIZE)
SKETCH = Given("scribble", HOUSE)
SMALL = 128
"""Side of the start pictures and masks."""


def map_for(name: str) -> Rgb:
    """A fitting control for a modality at 128 px."""
    made = {"depth": depth_map, "normal": normal_map, "skeleton": skeleton, "classes": segmentation}
    structure = MODALITIES[name].structure
    return made[structure](SMALL) if structure in made else house(SMALL)


def start_picture() -> Rgb:
    """A picture of every kind of value, so that a wrong byte shows."""
    return np.random.Generator(np.random.PCG64(5)).integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)


def half_mask() -> Rgb:
    """White on the right half."""
    mask = np.zeros((SMALL, SMALL, 3), dtype=np.uint8)
    mask[:, SMALL // 2 :] = 255
    return mask


def photo_of(name: str, size: int = SIZE) -> Rgb:
    """One of scikit-image's photos, its middle square."""
    return to_frame(np.asarray(getattr(data, name)(), dtype=np.uint8), size, size)


def lab_squares(picture: Rgb) -> npt.NDArray[np.float64]:
    """Mean lightness and colour of 16 by 16 squares of a picture."""
    small = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2Lab), dtype=np.float64)


def test_the_same_brief_gives_the_same_bytes() -> None:
    """Nothing depends on time, order or a shared generator."""
    assert np.array_equal(drawn("a red house", SKETCH), drawn("a red house", SKETCH))


def digest() -> str:
    """A hash of a picture that a photo and a drawing went into."""
    coffee = photo_of("coffee")
    pictures = (drawn("a boat at sunset", SKETCH), drawn("ink", Given("canny", HOUSE, photo=coffee)))
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def test_another_process_gives_the_same_bytes() -> None:
    """Neither hash seeds nor memory addresses reach the picture."""
    code = "from tests.providers.test_draft import digest; print(digest())"
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
    assert not np.array_equal(drawn("a house", SKETCH, seed=1), drawn("a house", SKETCH, seed=2))


@pytest.mark.parametrize("medium", MEDIA)
def test_every_medium_keeps_the_lines(medium: str) -> None:
    """At least 85 % of the drawing's edges are edges of the picture, far above what a moved drawing scores."""
    control = house(384)
    picture = drawn(f"{medium} of a house", Given("scribble", control), size=384)
    recall, chance = recall_of(control, picture), chance_of(control, picture)
    assert recall >= 0.85, f"recall {recall:.3f}, chance {chance:.3f}"


@pytest.mark.parametrize("medium", MEDIA)
def test_lines_of_a_photo_are_kept_over_its_colours(medium: str) -> None:
    """The map decides the lines, whatever lies below them."""
    photo = photo_of("coffee", 384)
    control = make_map(photo, "canny").rgb
    picture = drawn(f"{medium} of a cup", Given("canny", control, photo=photo), size=384)
    assert recall_of(control, picture) >= 0.85


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
def test_a_photo_keeps_its_own_colours(name: str) -> None:
    """Hue and light of every place are the photo's; words for colours change them little."""
    photo = photo_of(name)
    control = Given("canny", make_map(photo, "canny").rgb, photo=photo)
    for prompt in ("illustration", "a green picture"):
        small = [
            cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA) for picture in (photo, drawn(prompt, control))
        ]
        own, painted = (cv2.cvtColor(picture, cv2.COLOR_RGB2Lab).astype(np.float64) for picture in small)
        for channel, least in ((0, 0.9), (1, 0.8), (2, 0.8)):
            assert np.corrcoef(own[..., channel].ravel(), painted[..., channel].ravel())[0, 1] > least, (
                prompt,
                channel,
            )


@pytest.mark.parametrize("modality", ["depth", "normal", "pose", "seg", "lineart"])
def test_a_photo_leads_beside_any_map(modality: str) -> None:
    """Whatever map was made of a photo, the photo shows through."""
    photo = photo_of("astronaut")
    picture = drawn("portrait", Given(modality, map_for(modality), photo=photo))
    assert np.corrcoef(photo.mean(axis=2).ravel(), picture.mean(axis=2).ravel())[0, 1] > 0.85


def test_media_differ() -> None:
    """Each medium is a look of its own."""
    looks = {drawn(f"{medium} of a house", SKETCH, size=64).tobytes() for medium in MEDIA}
    assert len(looks) == len(MEDIA)


def test_a_heavier_control_shows_more() -> None:
    """The conditioning scale raises the contrast of the lines."""
    on_line = cv2.cvtColor(HOUSE, cv2.COLOR_RGB2GRAY) < 60
    beside = (cv2.erode(cv2.cvtColor(HOUSE, cv2.COLOR_RGB2GRAY), np.ones((9, 9), np.uint8)) < 60) & ~on_line
    contrasts: list[float] = []
    for weight in (0.1, 0.5, 1.0):
        grey = cv2.cvtColor(drawn("a house", Given("scribble", HOUSE, weight)), cv2.COLOR_RGB2GRAY)
        contrasts.append(float(grey[beside].mean() - grey[on_line].mean()))
    assert contrasts == sorted(contrasts)
    assert contrasts[-1] > 2 * contrasts[0]


def test_colour_words_colour_the_picture() -> None:
    """A red house is redder than a blue one."""

    def redness(picture: Rgb) -> float:
        return float(picture[..., 0].mean() - picture[..., 2].mean())

    assert redness(drawn("a red house", SKETCH)) > redness(drawn("a blue house", SKETCH)) + 10


def test_a_negative_prompt_takes_colour_away() -> None:
    """What the negative prompt names is not taken from the prompt."""
    plain, without = drawn("red flowers", SKETCH), drawn("red flowers", SKETCH, negative_prompt="red")
    reds = [float(np.mean((p[..., 0] > 1.6 * p[..., 1]) & (p[..., 0] > 1.6 * p[..., 2]))) for p in (plain, without)]
    assert reds[1] < 0.5 * reds[0]


def test_night_is_darker_than_noon() -> None:
    """A mood changes the light."""
    assert drawn("a house at night", SKETCH).mean() < 0.7 * drawn("a house in summer", SKETCH).mean()


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_is_drawn(name: str) -> None:
    """Whatever structure comes in, a picture of the asked size with something on it goes out."""
    picture = drawn("a garden", Given(name, map_for(name)), size=(128, 96), seed=3)
    assert picture.shape == (96, 128, 3)
    assert picture.dtype == np.uint8
    assert float(picture.std()) > 8


def test_a_person_stands_where_the_skeleton_is() -> None:
    """A pose map becomes a body in the colour that the prompt names, over the torso."""
    picture = drawn("a dancer in a red shirt", Given("pose", skeleton(SIZE)))
    chest = picture[int(0.36 * SIZE) : int(0.46 * SIZE), int(0.46 * SIZE) : int(0.54 * SIZE)].mean(axis=(0, 1))
    assert chest[0] > 1.8 * chest[1]


def test_everybody_of_a_pose_map_is_drawn() -> None:
    """Two skeletons become two people, each with a body."""
    one = skeleton(SIZE)
    picture = drawn("two dancers in red shirts", Given("pose", np.hstack([one, one])), size=(2 * SIZE, SIZE))
    for left in (0, SIZE):
        chest = picture[int(0.36 * SIZE) : int(0.46 * SIZE), left + int(0.46 * SIZE) : left + int(0.54 * SIZE)]
        assert chest.mean(axis=(0, 1))[0] > 1.8 * chest.mean(axis=(0, 1))[1]


def test_classes_become_their_materials() -> None:
    """ADE20K grass is green ground and ADE20K sky is lighter than it."""
    picture = drawn("summer", Given("seg", segmentation(SIZE))).astype(float)
    sky, grass = picture[: SIZE // 8].mean(axis=(0, 1)), picture[-SIZE // 8 :, -SIZE // 5 :].mean(axis=(0, 1))
    assert grass[1] > grass[2] + 20
    assert sky.mean() > grass.mean()


def test_a_hidden_pattern_decides_light_and_dark() -> None:
    """The brightness of an illusion follows its pattern."""
    pattern = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    pattern[:, : SIZE // 2] = 255
    grey = drawn("forest", Given("illusion", pattern)).mean(axis=2)
    assert float(grey[:, : SIZE // 2].mean()) > float(grey[:, SIZE // 2 :].mean()) + 50


def test_grey_pictures_are_coloured_and_keep_their_light() -> None:
    """Tinting changes colour, hardly brightness."""
    grey = np.repeat(np.linspace(20, 235, SIZE, dtype=np.uint8)[None, :, None], SIZE, axis=0).repeat(3, axis=2)
    picture = drawn("portrait of a woman", Given("gray", grey))
    assert float((picture.max(axis=2).astype(int) - picture.min(axis=2)).mean()) > 12
    match = np.corrcoef(picture.mean(axis=2).ravel(), grey.mean(axis=2).ravel())[0, 1]
    assert float(match) > 0.93


def test_outside_the_mask_not_a_byte_changes() -> None:
    """Only white is repainted, mark or no mark."""
    start, control = start_picture(), Given("scribble", house(SMALL))
    for mark in (False, True):
        picture = drawn("a house", control, size=SMALL, init=start, mask=half_mask(), strength=1.0, mark=mark)
        assert np.array_equal(picture[:, : SMALL // 2], start[:, : SMALL // 2])
        assert float(np.abs(picture.astype(int) - start)[:, SMALL // 2 + 8 :].mean()) > 20


def test_what_is_repainted_is_filled_from_around_it() -> None:
    """Inpainting takes a thing away: what was under the mask does not show through."""
    start = np.full((SMALL, SMALL, 3), 200, dtype=np.uint8)
    start[40:80, 40:80] = (10, 10, 10)
    mask = np.zeros_like(start)
    mask[32:88, 32:88] = 255
    picture = drawn("a wall", Given("inpaint", start), size=SMALL, init=start, mask=mask, strength=1.0)
    assert float(picture[50:70, 50:70].mean()) > 90


def test_a_black_mask_changes_nothing() -> None:
    """Nothing white, nothing repainted, no mark."""
    start = start_picture()
    mask = np.zeros_like(start)
    picture = drawn("a house", Given("inpaint", start), size=SMALL, init=start, mask=mask, mark=True)
    assert np.array_equal(picture, start)


def test_lower_strength_stays_nearer_to_the_start() -> None:
    """Image-to-image leaves the start picture as far as strength says; at 0 not at all."""
    start = np.full((SMALL, SMALL, 3), (200, 40, 160), dtype=np.uint8)
    offs: list[float] = []
    for strength in (0.0, 0.3, 0.6, 1.0):
        picture = drawn("sea", Given("scribble", house(SMALL)), size=SMALL, init=start, strength=strength)
        offs.append(float(np.abs(picture.astype(int) - start).mean()))
    assert offs == sorted(offs)
    assert offs[0] == 0


def test_a_start_picture_alone_is_restyled() -> None:
    """No control at all is no error."""
    start = house(SMALL)
    assert drawn("watercolour", size=SMALL, init=start).shape == start.shape
    assert drawn("watercolour of a garden", size=SMALL).std() > 8


def test_pictures_of_another_aspect_are_cropped_and_not_squeezed() -> None:
    """As the warning says: the middle of the control picture stays."""
    photo = photo_of("astronaut")
    wide = np.hstack([np.zeros_like(photo), photo, np.zeros_like(photo)])
    assert np.array_equal(drawn("", Given("tile", wide)), drawn("", Given("tile", photo)))


def test_several_controls_are_combined() -> None:
    """A second control of any kind changes the picture."""
    lines, near = Given("lineart", house(SMALL)), np.zeros((SMALL, SMALL, 3), dtype=np.uint8)
    near[SMALL // 2 :] = np.linspace(0, 255, SMALL // 2, dtype=np.uint8)[:, None, None]
    one = drawn("hills", lines, size=SMALL)
    further = [Given("depth", near), *(Given(name, map_for(name)) for name in ("normal", "pose", "seg", "tile"))]
    for control in further:
        assert not np.array_equal(one, drawn("hills", lines, control, size=SMALL)), control.modality


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("modality", ["canny", "depth", "pose", "face", "seg", "normal", "tile", "illusion"])
def test_an_empty_map_still_gives_a_picture(modality: str, value: int) -> None:
    """All black and all white maps are drawn without a warning."""
    empty = np.full((64, 64, 3), value, dtype=np.uint8)
    assert drawn("", Given(modality, empty), size=64, seed=0, mark=True).shape == (64, 64, 3)


@pytest.mark.parametrize("modality", ["canny", "pose", "tile"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (1024, 64), (64, 1024), (200, 72)])
def test_odd_sizes_are_drawn(width: int, height: int, modality: str) -> None:
    """Very long pictures are as good as any."""
    picture = drawn("watercolour", Given(modality, map_for(modality)), size=(width, height), mark=True)
    assert picture.shape == (height, width, 3)


def test_the_mark_is_small_and_in_the_lower_right_corner() -> None:
    """With and without the mark only a corner differs."""
    control = Given("scribble", house(512))
    plain, marked = (drawn("a house", control, size=512, mark=mark) for mark in (False, True))
    rows, columns = np.nonzero((plain != marked).any(axis=2))
    assert rows.size
    assert rows.min() > 512 * 0.9
    assert columns.min() > 512 * 0.85
