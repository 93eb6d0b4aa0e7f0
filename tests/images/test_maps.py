"""The control maps as a whole: the table, the knobs, odd pictures, and what every map promises."""

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.maps import KNOBS, NO_MODELS, MapParameters
from controlnet_mcp.images.maps.recipes import LEARNED, WEIGHTLESS, make_map
from controlnet_mcp.images.modalities import MODALITIES

LINE_MAPS = [name for name in WEIGHTLESS if MODALITIES[name].structure == "lines"]
PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 64), st.integers(1, 64), st.just(3)))


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.uint8]:
    """A picture of 40 x 56 random pixels."""
    return np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def test_the_table_holds_exactly_the_maps_that_are_announced_as_computed() -> None:
    """Vocabulary, knobs and recipes agree on what can be made, and what of it without trained weights."""
    announced = {name for name in MODALITIES if NO_MODELS.makes(name)}
    assert announced == set(WEIGHTLESS)
    assert set(KNOBS) == {*WEIGHTLESS, *LEARNED}


def test_every_knob_in_the_table_is_a_field_and_every_field_a_knob() -> None:
    """No knob is dead and none is missing, and each tells its unit or choice."""
    assert {knob for knobs in KNOBS.values() for knob in knobs} == set(MapParameters.model_fields)
    assert all(field.description for field in MapParameters.model_fields.values())


def test_importing_the_package_loads_neither_numpy_nor_opencv() -> None:
    """The server's start does not pay for maps."""
    program = "import sys, controlnet_mcp.images.maps; print({'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@settings(max_examples=60, deadline=None)
@given(picture=PICTURES, modality=st.sampled_from(sorted(WEIGHTLESS)))
def test_any_picture_gives_a_map_of_its_own_shape(picture: npt.NDArray[np.uint8], modality: str) -> None:
    """Whatever the pixels: same height and width, three channels, 8 bits, coverage in range, input untouched."""
    before = picture.copy()
    made = make_map(picture, modality)
    assert made.rgb.shape == picture.shape
    assert made.rgb.dtype == np.uint8
    assert 0.0 <= made.coverage <= 1.0
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("modality", sorted(WEIGHTLESS))
@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (1, 700)])
def test_pixels_and_strips_are_pictures_too(modality: str, shape: tuple[int, int]) -> None:
    """Extreme sizes give maps, not errors or warnings."""
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert make_map(picture, modality).rgb.shape == picture.shape


@pytest.mark.parametrize("modality", LINE_MAPS)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 130, 200)])
@pytest.mark.parametrize("shape", [(1, 1), (96, 64)])
def test_a_picture_of_one_colour_has_no_lines(
    modality: str, colour: tuple[int, int, int], shape: tuple[int, int]
) -> None:
    """A blank map has coverage 0 and says that it is blank."""
    picture: npt.NDArray[np.uint8] = np.full((*shape, 3), colour, dtype=np.uint8)
    made = make_map(picture, modality)
    assert not made.rgb.any()
    assert made.coverage == 0.0
    assert any("blank" in note for note in made.notes)


@pytest.mark.parametrize("modality", LINE_MAPS)
def test_line_maps_are_grey_and_their_coverage_counts_the_bright_pixels(
    modality: str, noise: npt.NDArray[np.uint8]
) -> None:
    """Three equal channels; coverage is the fraction above half."""
    made = make_map(noise, modality)
    assert np.array_equal(made.rgb[..., 0], made.rgb[..., 1])
    assert np.array_equal(made.rgb[..., 0], made.rgb[..., 2])
    assert made.coverage == pytest.approx(np.mean(made.rgb[..., 0] > 127))


def test_the_coverage_of_a_photo_like_map_counts_what_is_not_black() -> None:
    """A picture whose left quarter is black covers three quarters."""
    picture: npt.NDArray[np.uint8] = np.full((8, 8, 3), 90, dtype=np.uint8)
    picture[:, :2] = 0
    assert make_map(picture, "gray").coverage == 0.75
    assert make_map(np.zeros_like(picture), "tile").coverage == 0.0


@pytest.mark.parametrize("modality", sorted(WEIGHTLESS))
def test_the_memory_layout_of_a_picture_does_not_matter(modality: str, noise: npt.NDArray[np.uint8]) -> None:
    """Flipped, cut and read-only views give the map of the same pixels."""
    view = noise[::-1, 4:50:2]
    view.flags.writeable = False
    assert np.array_equal(make_map(view, modality).rgb, make_map(np.ascontiguousarray(view), modality).rgb)


@pytest.mark.parametrize("modality", sorted(WEIGHTLESS))
def test_a_map_reports_the_knobs_that_it_used_with_their_defaults(modality: str, noise: npt.NDArray[np.uint8]) -> None:
    """The report names every knob of the modality and no other."""
    defaults = MapParameters().model_dump()
    assert make_map(noise, modality).parameters == {
        knob: defaults[knob] for knob in KNOBS[modality] if knob != "thresholds"
    }


def test_a_set_knob_is_used_and_reported(noise: npt.NDArray[np.uint8]) -> None:
    """A value that was given replaces the default, for the map and in the report."""
    made = make_map(noise, "tile", MapParameters(factor=8))
    assert made.parameters == {"factor": 8.0}
    assert not np.array_equal(made.rgb, make_map(noise, "tile").rgb)


def test_an_alias_names_the_same_map(noise: npt.NDArray[np.uint8]) -> None:
    """The vocabulary's aliases are understood."""
    assert np.array_equal(make_map(noise, "HED").rgb, make_map(noise, "softedge").rgb)


def test_a_knob_of_another_map_is_refused_with_the_knobs_there_are(noise: npt.NDArray[np.uint8]) -> None:
    """A setting is never dropped silently, not even one that equals the default."""
    with pytest.raises(RequestError, match=r"canny map has no quality\b.*low_threshold, high_threshold") as caught:
        make_map(noise, "canny", MapParameters(low_threshold=50, quality=25))
    assert caught.value.code == "invalid_request"
    with pytest.raises(RequestError, match="no knobs"):
        make_map(noise, "depth", MapParameters(seed=1))


@pytest.mark.parametrize("modality", sorted(set(MODALITIES) - set(WEIGHTLESS)))
def test_a_map_that_needs_weights_says_so_and_what_to_do(modality: str, noise: npt.NDArray[np.uint8]) -> None:
    """Depth, pose and the like are refused with the ways out; where a model would help, with its setting too."""
    with pytest.raises(RequestError, match=r"trained weights.*control_is_map=true.*provider") as caught:
        make_map(noise, modality)
    assert caught.value.code == "unsupported"
    variable = {"depth": "DEPTH_MODEL", "normal": "DEPTH_MODEL", "pose": "POSE_MODEL"}.get(modality)
    assert (f"CONTROLNET_MCP_{variable}" in caught.value.hint) == (variable is not None)
    assert ("controlnet-mcp[maps]" in caught.value.hint) == (variable is not None)


def test_an_unknown_modality_is_refused(noise: npt.NDArray[np.uint8]) -> None:
    """A name outside the vocabulary is an error of the request."""
    with pytest.raises(RequestError) as caught:
        make_map(noise, "cany")
    assert caught.value.code == "invalid_request"
    assert "canny" in caught.value.hint


@pytest.mark.parametrize(
    "knobs",
    [{"low_threshold": 0}, {"high_threshold": 256}, {"factor": 0.5}, {"quality": 96}, {"seed": -1}, {"sigma": 3}],
)
def test_a_knob_out_of_range_or_unknown_is_refused(knobs: dict[str, object]) -> None:
    """Ranges and names are checked where the parameters are made."""
    with pytest.raises(ValidationError):
        MapParameters.model_validate(knobs)
