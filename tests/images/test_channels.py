"""Taking decoded pixels as a picture, a depth map or a mask: total, bounded, and the same when done twice."""

from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.channels import Taken, take
from controlnet_mcp.images.maps.arrays import Pixels
from controlnet_mcp.images.picture import Use

SIDES = st.tuples(st.integers(1, 12), st.integers(1, 12))
COLOURS = SIDES.flatmap(
    lambda sides: st.sampled_from((3, 4)).flatmap(
        lambda channels: arrays.arrays(np.uint8, (*sides, channels), elements=st.sampled_from((0, 1, 7, 128, 254, 255)))
    )
)
DEEP = SIDES.flatmap(
    lambda sides: arrays.arrays(
        np.float32,
        sides,
        elements=st.sampled_from((0.0, 1.0, 0.5, 255.0, 800.0, 5000.0, 65535.0, 1e30, -3.0, np.nan)),
    )
)
USES: list[Use] = ["picture", "depth", "mask"]


def taken(pixels: Pixels, use: Use, frame: tuple[int, int] | None = None) -> Taken:
    """Take pixels, and check what holds of everything that is taken."""
    made = take(pixels, use, frame)
    height, width = pixels.shape[:2] if frame is None or use != "mask" else frame[::-1]
    assert made.rgb.shape == (height, width, 3)
    assert made.rgb.dtype == np.uint8
    assert all(note.endswith(".") and len(note) < 300 for note in made.notes)
    assert made.changed or not made.notes or use != "mask" or "plain picture" in made.notes[0]
    return made


@given(pixels=st.one_of(COLOURS, DEEP), use=st.sampled_from(USES), frame=st.none() | SIDES)
def test_whatever_was_decoded_is_taken(pixels: Pixels, use: Use, frame: tuple[int, int] | None) -> None:
    """Any values of any form become 8-bit RGB, or a blank mask is refused; taken again, they do not change."""
    with suppress(ImageError):
        first = taken(pixels, use, frame)
        if use != "mask" or frame is None:  # one that was scaled to a few pixels may hold few levels
            again = taken(first.rgb, "picture" if use == "depth" else use, frame)
            assert np.array_equal(first.rgb, again.rgb)


@given(pixels=COLOURS.filter(lambda pixels: pixels.shape[2] == 3))
def test_a_plain_picture_is_not_touched(pixels: npt.NDArray[np.uint8]) -> None:
    """What has no alpha and eight bits is what it is, and nothing is said."""
    made = taken(pixels, "picture")
    assert made.rgb is pixels
    assert (made.notes, made.changed) == ((), False)


@given(values=DEEP.filter(lambda values: bool(np.all(np.isfinite(values)) and values.min() >= 0)))
def test_stretched_depth_keeps_its_order(values: npt.NDArray[np.float32]) -> None:
    """Farther stays farther, 0 stays black, and nothing else becomes black but a highest value that is none."""
    made = taken(values, "depth").rgb[..., 0].ravel().astype(int)
    order = np.argsort(values.ravel(), kind="stable")
    kept = order[(values.ravel()[order] > 0) & (values.ravel()[order] < 65535)]
    assert np.all(np.diff(made[kept]) >= 0)
    assert not made[values.ravel() == 0].any()
    assert np.all(made[kept] > 0)


@pytest.mark.parametrize("level", [0, 1, 100, 255])
@pytest.mark.parametrize("alpha", [None, 0, 128, 255])
def test_every_sheet_of_one_level_is_a_blank_mask(level: int, alpha: int | None) -> None:
    """Whatever its level and alpha: it names no part of a picture."""
    sheet = np.full((20, 30, 3 if alpha is None else 4), level, dtype=np.uint8)
    if alpha is not None:
        sheet[..., 3] = alpha
    with pytest.raises(ImageError, match="throughout") as caught:
        take(sheet, "mask")
    assert caught.value.code == "image_unreadable"
