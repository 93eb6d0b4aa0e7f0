"""How the draft engine reads a prompt."""

import pytest

from controlnet_mcp.providers.draft.adapter import MEDIA
from controlnet_mcp.providers.draft.words import COLOURS, THEMES, read, same_hue, shifted


@pytest.mark.parametrize("medium", MEDIA)
def test_each_medium_is_known_by_its_own_name(medium: str) -> None:
    """The engine's models are the media, and a model name is put before the prompt."""
    assert read(f"{medium} of a boat", "", 0).medium == medium


@pytest.mark.parametrize(
    ("words", "medium"),
    [
        ("a watercolor boat", "watercolour"),
        ("a boat in crayon", "watercolour"),
        ("a boat in the style of Monet", "illustration"),
        ("manga boat", "ink"),
        ("pencil drawing of a boat", "ink"),
        ("Ghibli boat", "illustration"),
        ("boat, 35mm film", "illustration"),
    ],
)
def test_synonyms_name_the_nearest_medium(words: str, medium: str) -> None:
    """People have many words for a medium, also for media that are not drawn here."""
    assert read(words, "", 0).medium == medium


def test_a_medium_that_is_not_wanted_is_not_used() -> None:
    """The negative prompt wins over the prompt."""
    assert read("ink painting of a boat", "ink", 0).medium == "illustration"
    assert read("neon ink of a boat", "neon", 0).medium == "ink"


def test_a_denied_word_inside_the_prompt_is_not_wanted() -> None:
    """`no snow` does not make it winter."""
    assert read("a house in snow", "", 0).theme.name == "winter"
    assert read("a house, no snow", "", 0).theme.name != "winter"


def test_an_hour_and_a_place_are_mixed() -> None:
    """The ocean at sunset has the sunset's sky over the ocean's ground."""
    look = read("the ocean at sunset", "", 0).theme
    assert look.sky == THEMES["sunset"].sky
    assert look.ground == THEMES["ocean"].ground


def test_a_named_colour_comes_first() -> None:
    """The largest thing of `a red house` is red."""
    look = read("a red house by a lake", "", 0)
    assert look.named == (COLOURS["red"],)
    assert look.accents[0] == COLOURS["red"]


def test_plurals_say_where_a_picture_is_as_singulars_do() -> None:
    """Trees stand under the sky, cups on a table."""
    assert read("two trees", "", 0).setting == read("a tree", "", 0).setting == "outdoor"
    assert read("two cups", "", 0).setting == "indoor"
    assert read("something", "", 0).setting == "open"


def test_a_coloured_sky_is_a_sky_of_that_colour() -> None:
    """`green sky` decides the sky."""
    assert same_hue(read("a house under a green sky", "", 0).theme.sky[0], COLOURS["green"])


def test_a_denied_colour_leaves_the_accents() -> None:
    """No accent has a hue that the negative prompt names."""
    accents = read("autumn leaves", "orange", 0).accents
    assert len(accents) >= 5
    assert any(same_hue(accent, COLOURS["orange"]) for accent in read("autumn leaves", "", 0).accents)
    faded = [accent for accent in accents if same_hue(accent, COLOURS["orange"])]
    assert all(max(accent) - min(accent) < 0.15 for accent in faded)


def test_the_tables_are_as_rich_as_promised() -> None:
    """Moods have five colours for things each."""
    assert len({theme.name for theme in THEMES.values()}) >= 12
    assert len(COLOURS) >= 30
    assert all(len(theme.accents) == 5 for theme in THEMES.values())


def test_colour_spaces_lead_back() -> None:
    """A colour that is moved by nothing stays as it is."""
    for colour in COLOURS.values():
        assert shifted(colour, 0.0) == pytest.approx(colour, abs=2e-3)
