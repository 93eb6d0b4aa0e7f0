"""How the draft engine reads a prompt."""

import pytest

from controlnet_mcp.providers.draft.colours import COLOURS
from controlnet_mcp.providers.draft.lexicon import MEDIA, read
from controlnet_mcp.providers.draft.objects import MATERIALS, THINGS
from controlnet_mcp.providers.draft.palette import from_oklch, hue_apart, to_oklch
from controlnet_mcp.providers.draft.themes import DEFAULTS, THEMES


@pytest.mark.parametrize("medium", MEDIA)
def test_each_medium_is_known_by_its_own_name(medium: str) -> None:
    """The engine's models are the media, and a model name is put before the prompt."""
    assert read(f"{medium} of a boat", "", 0).medium == medium


@pytest.mark.parametrize(
    ("words", "medium"),
    [
        ("a watercolor boat", "watercolour"),
        ("a boat in the style of Monet", "oil"),
        ("Ghibli boat", "anime"),
        ("boat, 35mm film", "cinematic"),
    ],
)
def test_synonyms_name_a_medium(words: str, medium: str) -> None:
    """People have many words for a medium."""
    assert read(words, "", 0).medium == medium


def test_a_medium_that_is_not_wanted_is_not_used() -> None:
    """The negative prompt wins over the prompt."""
    assert read("oil painting of a boat", "oil, painting", 0).medium == "illustration"


def test_a_denied_word_inside_the_prompt_is_not_wanted() -> None:
    """`no snow` does not make it winter."""
    assert read("a house, no snow", "", 0).theme.name != "winter"


def test_an_hour_and_a_place_are_mixed() -> None:
    """The ocean at sunset has the sunset's sky over the ocean's ground."""
    look = read("the ocean at sunset", "", 0).theme
    assert look.sky == THEMES["sunset"].sky
    assert look.ground == THEMES["ocean"].ground


def test_a_colour_dyes_the_thing_behind_it() -> None:
    """`a red house` has red walls."""
    walls = next(m for m in read("a red house by a lake", "", 0).materials if m.name == "wall")
    assert walls.colours[0] == COLOURS["red"]


def test_plurals_name_the_same_things() -> None:
    """Robots are made of what a robot is made of."""
    assert read("two robots", "", 0).materials == read("a robot", "", 0).materials != ()


def test_a_coloured_sky_is_a_sky_of_that_colour() -> None:
    """`green sky` decides the sky."""
    sky = read("a house under a green sky", "", 0).theme.sky[0]
    assert hue_apart(sky, COLOURS["green"]) < 25


def test_a_denied_colour_leaves_the_accents() -> None:
    """No accent is near a hue that the negative prompt names."""
    accents = read("autumn leaves", "orange", 0).accents
    assert len(accents) >= 5
    assert all(hue_apart(accent, COLOURS["orange"]) > 30 for accent in accents)


def test_the_tables_fit_together() -> None:
    """Every thing is made of known materials, and the vocabulary is as rich as promised."""
    assert {entry.partition("#")[0] for entries in THINGS.values() for entry in entries} <= MATERIALS.keys()
    assert len({theme.name for theme in THEMES.values()}) >= 12
    assert len(COLOURS) >= 30
    assert all(len(theme.accents) == 5 for theme in (*THEMES.values(), *DEFAULTS))


def test_colour_spaces_lead_back() -> None:
    """OKLCh there and back is the same colour."""
    for colour in COLOURS.values():
        assert from_oklch(*to_oklch(colour)) == pytest.approx(colour, abs=2e-3)
