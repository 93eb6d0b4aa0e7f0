"""Fitting sizes: always legal, and as like the picture as the limits allow."""

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet_mcp.images.resize import fit_size

SIDES = st.integers(1, 9000)
MULTIPLES = st.sampled_from([1, 2, 8, 16, 32, 64])
TARGETS = st.none() | st.integers(64 * 64, 4096 * 4096)


@given(SIDES, SIDES, MULTIPLES, TARGETS)
def test_a_fitted_size_is_legal(width: int, height: int, multiple: int, target_pixels: int | None) -> None:
    """Both sides lie within the limits and are multiples."""
    fitted = fit_size(width, height, minimum=250, maximum=2050, multiple=multiple, target_pixels=target_pixels)
    assert all(250 <= side <= 2050 and side % multiple == 0 for side in fitted)


@given(st.integers(32, 256), st.integers(32, 256))
def test_a_legal_size_stays(columns: int, rows: int) -> None:
    """What the provider accepts already is not touched."""
    size = (columns * 8, rows * 8)
    assert fit_size(*size, minimum=256, maximum=2048, multiple=8) == size


@given(SIDES, SIDES, MULTIPLES, TARGETS)
def test_portrait_is_landscape_turned(width: int, height: int, multiple: int, target_pixels: int | None) -> None:
    """The two directions are treated alike."""
    fit = partial(fit_size, minimum=256, maximum=2048, multiple=multiple, target_pixels=target_pixels)
    assert fit(width, height) == fit(height, width)[::-1]


@given(st.integers(300, 8000), st.floats(0.25, 4.0), MULTIPLES, TARGETS)
def test_the_aspect_is_kept_to_one_step(width: int, aspect: float, multiple: int, target_pixels: int | None) -> None:
    """Where the limits leave room for the aspect, the error is what one multiple makes."""
    height = max(1, round(width / aspect))
    fitted = fit_size(width, height, minimum=256, maximum=2048, multiple=multiple, target_pixels=target_pixels)
    error = abs(math.log(fitted[0] / fitted[1]) - math.log(width / height))
    assert error <= math.log1p(multiple / min(fitted)) + 1e-6


@given(st.floats(0.3, 3.0), MULTIPLES)
def test_a_target_is_met_to_one_step(aspect: float, multiple: int) -> None:
    """The area is the wished one but for what a multiple on each side makes."""
    width, height = fit_size(
        round(3000 * aspect), 3000, minimum=256, maximum=4096, multiple=multiple, target_pixels=1024 * 1024
    )
    assert (width - multiple) * (height - multiple) <= 1024 * 1024 <= (width + multiple) * (height + multiple)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1000, 1000), (1024, 1024)),
        ((1920, 1080), (1920, 1088)),
        ((4000, 3000), (2048, 1536)),
        ((100, 100), (512, 512)),
        ((10_000, 100), (2048, 512)),
        ((100, 10_000), (512, 2048)),
        ((1, 1), (512, 512)),
    ],
)
def test_known_sizes(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    """Examples between 512 and 2048 in steps of 64, but for full HD in steps of 16."""
    assert fit_size(*size, minimum=512, maximum=2048, multiple=16 if 1080 in size else 64) == fitted


@pytest.mark.parametrize(("width", "minimum", "maximum"), [(0, 64, 1024), (-5, 64, 1024), (10, 65, 127), (10, 0, 63)])
def test_impossible_sizes_are_refused(width: int, minimum: int, maximum: int) -> None:
    """No pixels, or no multiple between the limits, is a mistake of the caller."""
    with pytest.raises(ValueError, match="no size fits"):
        fit_size(width, 100, minimum=minimum, maximum=maximum, multiple=64)
