"""Pictures on their way out: lossless PNG, and copies that keep inside their budget of bytes."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.decode import clean
from controlnet_mcp.images.encode import encode_png, jpeg_within, preview
from controlnet_mcp.images.maps.arrays import Rgb


def noise(height: int, width: int) -> Rgb:
    """Pixels that no codec can shorten."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opened(content: bytes) -> Image.Image:
    """A file as Pillow sees it."""
    return Image.open(io.BytesIO(content))


def test_png_is_lossless_and_red_stays_red() -> None:
    """Another decoder reads the very same pixels in the same order of channels."""
    rgb = noise(33, 21)
    assert np.array_equal(np.asarray(opened(encode_png(rgb))), rgb)


def test_png_carries_the_given_texts() -> None:
    """Keywords and texts, in any language, can be read again; without texts there are none."""
    texts = {"modality": "canny", "note": "Kanten, 輪郭"}
    with opened(encode_png(noise(8, 8), texts)) as picture:
        picture.load()
        assert picture.info == texts
    with opened(encode_png(noise(8, 8))) as picture:
        picture.load()
        assert picture.info == {}


def test_cleaning_takes_the_texts_away_and_nothing_else() -> None:
    """A map with parameters written in it is sent as the plain map."""
    rgb = noise(8, 8)
    assert clean(encode_png(rgb, {"modality": "canny"}), Limits())[0] == encode_png(rgb)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (8, 8, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """One plane or an alpha channel is a mistake of the caller, told at once."""
    with pytest.raises(ValueError, match="height, width, 3"):
        encode_png(np.zeros(shape, dtype=np.uint8))


@given(height=st.integers(1, 300), width=st.integers(1, 300), max_bytes=st.integers(1024, 60_000))
@settings(max_examples=40, deadline=None)
def test_a_preview_keeps_its_budget(height: int, width: int, max_bytes: int) -> None:
    """Noise of any size fits any budget, as a picture that others can open."""
    content = preview(noise(height, width), longest_side=200, max_bytes=max_bytes)
    assert len(content) <= max_bytes
    assert opened(content).format == "JPEG"
    assert max(opened(content).size) <= 200


def test_a_large_noise_picture_fits_a_quarter_of_the_preview_budget() -> None:
    """The worst case of four previews in one answer."""
    content = preview(noise(1024, 1024), max_bytes=37_500)
    assert len(content) <= 37_500
    assert max(opened(content).size) >= 256


def test_a_preview_has_the_wished_side_and_the_aspect() -> None:
    """An easy picture is only scaled, and a small one is not enlarged."""
    plain = np.full((1000, 2000, 3), 90, dtype=np.uint8)
    assert opened(preview(plain, max_bytes=150_000)).size == (768, 384)
    assert opened(preview(plain, longest_side=100, max_bytes=150_000)).size == (100, 50)
    assert opened(preview(plain[:30, :20], max_bytes=150_000)).size == (20, 30)


def test_a_preview_shows_the_picture() -> None:
    """Colours and places are those of the original."""
    rgb = np.zeros((400, 400, 3), dtype=np.uint8)
    rgb[:200, :, 0], rgb[200:, :, 2] = 255, 255
    shown = np.asarray(opened(preview(rgb, longest_side=100, max_bytes=20_000))).astype(int)
    assert np.abs(shown[20, 50] - [255, 0, 0]).max() < 10
    assert np.abs(shown[80, 50] - [0, 0, 255]).max() < 10


def test_previews_are_deterministic() -> None:
    """The same picture and budget give the same bytes."""
    assert preview(noise(200, 200), max_bytes=9000) == preview(noise(200, 200), max_bytes=9000)


def test_a_copy_keeps_all_pixels_where_they_fit() -> None:
    """A large original loses quality before it loses size."""
    smooth = np.asarray(Image.effect_noise((64, 64), 40).resize((1024, 768)).convert("RGB"), dtype=np.uint8)
    content = jpeg_within(smooth, 700_000)
    assert (opened(content).size, opened(content).format) == ((1024, 768), "JPEG")
    assert len(content) <= 700_000


def test_a_copy_of_noise_gives_up_pixels() -> None:
    """What cannot be had by quality alone is had by size."""
    content = jpeg_within(noise(900, 900), 50_000)
    assert len(content) <= 50_000
    assert 100 < opened(content).width < 900


def test_an_impossible_budget_is_a_mistake_of_the_caller() -> None:
    """No picture fits a few bytes."""
    with pytest.raises(ValueError, match="1024"):
        preview(noise(8, 8), max_bytes=1023)
