"""Start pictures, masks, the mark and odd inputs of the draft engine."""

import numpy as np
import pytest

from controlnet_mcp.providers.draft.render import Brief, Layer, render
from tests.support.sample_drawings import Rgb, house

SIZE = 128


def start_picture() -> Rgb:
    """A picture of every kind of value, so that a wrong byte shows."""
    return np.random.Generator(np.random.PCG64(5)).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def half_mask() -> Rgb:
    """White on the right half."""
    mask = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    mask[:, SIZE // 2 :] = 255
    return mask


def test_outside_the_mask_not_a_byte_changes() -> None:
    """Only white is repainted, mark or no mark."""
    start, layers = start_picture(), (Layer("scribble", house(SIZE)),)
    picture = render(Brief("a house", layers, SIZE, SIZE, 1, init=start, mask=half_mask(), strength=1.0))
    assert np.array_equal(picture[:, : SIZE // 2], start[:, : SIZE // 2])
    assert float(np.abs(picture.astype(int) - start)[:, SIZE // 2 + 8 :].mean()) > 20


def test_a_black_mask_changes_nothing() -> None:
    """Nothing white, nothing repainted, no mark."""
    start = start_picture()
    mask = np.zeros_like(start)
    picture = render(Brief("a house", (Layer("inpaint", start),), SIZE, SIZE, 1, init=start, mask=mask))
    assert np.array_equal(picture, start)


def test_lower_strength_stays_nearer_to_the_start() -> None:
    """Image-to-image leaves the start picture as far as strength says; at 0 not at all."""
    start = np.full((SIZE, SIZE, 3), (200, 40, 160), dtype=np.uint8)
    layers = (Layer("scribble", house(SIZE)),)
    offs: list[float] = []
    for strength in (0.0, 0.3, 0.6, 1.0):
        picture = render(Brief("sea", layers, SIZE, SIZE, 1, init=start, strength=strength, mark=False))
        offs.append(float(np.abs(picture.astype(int) - start).mean()))
    assert offs == sorted(offs)
    assert offs[0] == 0


def test_a_start_picture_alone_is_restyled() -> None:
    """No control at all is no error."""
    start = house(SIZE)
    assert render(Brief("oil painting", (), SIZE, SIZE, 1, init=start)).shape == start.shape


def test_several_controls_are_combined() -> None:
    """A second control changes the picture."""
    lines, near = house(SIZE), np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    near[SIZE // 2 :] = np.linspace(0, 255, SIZE // 2, dtype=np.uint8)[:, None, None]
    one = render(Brief("hills", (Layer("lineart", lines),), SIZE, SIZE, 1))
    two = render(Brief("hills", (Layer("lineart", lines), Layer("depth", near)), SIZE, SIZE, 1))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("modality", ["canny", "depth", "pose", "seg", "normal", "tile", "illusion"])
def test_an_empty_map_still_gives_a_picture(modality: str, value: int) -> None:
    """All black and all white maps are drawn without a warning."""
    empty = np.full((64, 64, 3), value, dtype=np.uint8)
    assert render(Brief("", (Layer(modality, empty),), 64, 64, 0)).shape == (64, 64, 3)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (1024, 64), (64, 1024), (200, 72)])
def test_odd_sizes_are_drawn(width: int, height: int) -> None:
    """Very long pictures are as good as any."""
    assert render(Brief("oil painting", (Layer("canny", house(96)),), width, height, 1)).shape == (height, width, 3)


def test_the_mark_is_small_and_in_the_lower_right_corner() -> None:
    """With and without the mark only a corner differs."""
    layers = (Layer("scribble", house(512)),)
    plain, marked = (render(Brief("a house", layers, 512, 512, 1, mark=mark)) for mark in (False, True))
    rows, columns = np.nonzero((plain != marked).any(axis=2))
    assert rows.size
    assert rows.min() > 512 * 0.9
    assert columns.min() > 512 * 0.85


def test_progress_rises_to_one() -> None:
    """A caller can show how far the picture is."""
    told: list[float] = []
    render(Brief("a house", (Layer("canny", house(64)),), 64, 64, 1), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
