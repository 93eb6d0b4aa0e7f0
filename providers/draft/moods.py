"""Works a prompt's colours, hours and refusals into a mood (pure)."""

from collections.abc import Iterable
from dataclasses import replace

from controlnet_mcp.providers.draft.colours import COLOURS
from controlnet_mcp.providers.draft.palette import Colour, hue_apart, mix, shifted
from controlnet_mcp.providers.draft.themes import THEMES, Theme

_SAME_HUE = 35.0
"""Degrees within which two hues count as one."""
_HOURS = frozenset({"sunset", "night"})
_LEAST_ACCENTS = 5


def plain_words(words: Iterable[str]) -> list[str]:
    """Words without the pairs that were joined by a hyphen."""
    return [word for word in words if "-" not in word]


def mood_of(words: list[str]) -> Theme | None:
    """The mood named first; an hour of the day named beside it gives its sky and light."""
    found = [THEMES[word] for word in words if word in THEMES]
    hour = next((theme for theme in found if theme.name in _HOURS), None)
    place = next((theme for theme in found if theme.name not in _HOURS), None)
    if hour is None or place is None:
        return hour or place
    return replace(place, sky=hour.sky, light=hour.light, shade=hour.shade, weather=hour.weather, dim=hour.dim)


def tinted(theme: Theme, words: list[str], named: tuple[Colour, ...]) -> Theme:
    """Work named colours into sky and ground: `blue sky` decides it, any other colour only leans it."""
    plain = plain_words(words)
    pairs = dict(zip(plain[1:], plain, strict=False))
    sky_word, ground_word = pairs.get("sky", ""), pairs.get("ground", "") or pairs.get("floor", "")
    sky, ground = theme.sky, theme.ground
    if named:
        sky = (mix(sky[0], named[-1], 0.16), mix(sky[1], named[-1], 0.12))
        ground = (mix(ground[0], named[0], 0.16), mix(ground[1], named[0], 0.2))
    if sky_word in COLOURS:
        sky = (shifted(COLOURS[sky_word], -0.04), mix(COLOURS[sky_word], (1.0, 1.0, 1.0), 0.6))
    if ground_word in COLOURS:
        ground = (mix(COLOURS[ground_word], (1.0, 1.0, 1.0), 0.25), COLOURS[ground_word])
    return replace(theme, sky=sky, ground=ground)


def accents_of(theme: Theme, named: tuple[Colour, ...], denied: tuple[Colour, ...]) -> tuple[Colour, ...]:
    """Named colours and their neighbours first, then the mood's own, without what the negative prompt names."""
    own = [mix(accent, named[0], 0.3) if named else accent for accent in theme.accents]
    family = [shade for colour in named for shade in (colour, shifted(colour, 0.1, 0.8), shifted(colour, -0.12))]
    kept = [colour for colour in (*family, *own) if not _is_denied(colour, denied)]
    kept += [_faded(accent, denied) for accent in theme.accents][: max(_LEAST_ACCENTS - len(kept), 0)]
    return tuple(kept)


def _is_denied(colour: Colour, denied: tuple[Colour, ...]) -> bool:
    return any(hue_apart(colour, bad) < _SAME_HUE for bad in denied)


def _faded(colour: Colour, denied: tuple[Colour, ...]) -> Colour:
    """A colour, greyed if the negative prompt names its hue."""
    return shifted(colour, 0.0, 0.15) if _is_denied(colour, denied) else colour


def without(theme: Theme, denied: tuple[Colour, ...]) -> Theme:
    """A mood with the hues greyed that the negative prompt names."""
    sky, ground = theme.sky, theme.ground
    return replace(
        theme,
        sky=(_faded(sky[0], denied), _faded(sky[1], denied)),
        ground=(_faded(ground[0], denied), _faded(ground[1], denied)),
        foliage=_faded(theme.foliage, denied),
    )
