"""Reads a prompt: medium, mood, colours, materials of the things that it names, light (tables and hashing only)."""

import colorsys
import hashlib
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from controlnet_mcp.providers.draft.adapter import MEDIA

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue, sRGB encoded, each 0 to 1."""
WHITE: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Theme:
    """A mood: colours of sky (top, horizon), ground (far, near), five things, leaves, light and shadow.

    `weather` is what the sky holds (clear, clouds, haze, stars); `dim` how far night darkens it, 0 to 1.
    """

    name: str
    sky: tuple[Colour, Colour]
    ground: tuple[Colour, Colour]
    accents: tuple[Colour, ...]
    foliage: Colour
    light: Colour
    shade: Colour
    weather: str
    dim: float


@dataclass(frozen=True, slots=True)
class Look:
    """A prompt as it is drawn: its medium, mood (`moody` where the words name it), colours and setting.

    `accents` are colours for things, the named ones first; `setting` is outdoor, indoor or open; `light` is where light
    comes from, as x (right positive) and y (down positive); `key` decides everything left to chance.
    """

    medium: str
    theme: Theme
    moody: bool
    accents: tuple[Colour, ...]
    named: tuple[Colour, ...]
    setting: str
    light: tuple[float, float]
    key: bytes


def from_hex(code: str) -> Colour:
    """Read `rrggbb`."""
    red, green, blue = bytes.fromhex(code)
    return (red / 255, green / 255, blue / 255)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` 0 is the first, 1 the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def shifted(colour: Colour, lightness: float, saturation: float = 1.0, hue: float = 0.0) -> Colour:
    """Move a colour: add to lightness (-1 to 1), multiply saturation, turn hue by degrees."""
    angle, light, strength = colorsys.rgb_to_hls(*colour)
    light, strength = min(max(light + lightness, 0), 1), min(strength * saturation, 1)
    return colorsys.hls_to_rgb((angle + hue / 360) % 1, light, strength)


def same_hue(first: Colour, second: Colour) -> bool:
    """True when two hues are within 25 degrees; a greyish colour has none."""
    one, two = (360 * colorsys.rgb_to_hls(*colour)[0] for colour in (first, second))
    coloured = all(max(colour) - min(colour) > 0.08 for colour in (first, second))  # noqa: PLR2004  # else it is noise
    return coloured and abs((one - two + 180) % 360 - 180) < 25  # noqa: PLR2004


_COLOURS = """
red d0312d crimson b01030 scarlet e0301e maroon 702030 pink f29bb7 rose e0607e magenta d0389a coral f5806a
peach f8bd94 orange ec8327 amber f0a830 copper b5692e bronze 9a6b3a rust a8481f brown 7b4b2a chocolate 5a3320
tan cda877 beige e6d5b5 cream f6ebd2 ivory f7f2e2 yellow f4cf3a golden dfa935 gold d9a530 ochre c2862c
lime a6d33c olive 7c7d33 green 46963f emerald 1f9a68 mint a3dcbc sage 9fb08a teal 1f8a8c turquoise 38bdb8
cyan 2cc4dc azure 3f9be0 blue 2f67c4 navy 1f3364 indigo 46409c violet 7d52b8 purple 7a3f9e lavender b6a3dc
black 23222a charcoal 3b3d45 gray 8d9096 grey 8d9096 silver c0c5cc white f6f4ee
"""
COLOURS: dict[str, Colour] = {word: from_hex(code) for word, code in re.findall(r"(\w+) (\w{6})\s", _COLOURS)}
"""Colour word to the colour that a painter would take for it."""

_MOODS = """
autumn fall october/8fb3c4 f3e0bd d9ae62 a86b32 c9542a e0902f 8a4a2b efc063 7a6a3f d67a28 fff0cc 5a3550/clouds 0
winter snow snowy ice/8fb0d6 e9eef6 f4f7fb cfdcec b8493f 5b7fa8 8a6a55 dfe8f2 3f5f6f 8fa9ac fdf6ee 5a72a8/clouds 0
spring april may blossom/a9d8ee fbeef0 bfe08e 86bd62 f39ab5 f7d774 9fcf6e b79be0 f6b48c 8ccb5e fffbe6 6d78b5/clouds 0
summer sunny noon tropical/4aa8e8 cdecf8 a8d36a 6aa845 f2564b f9c531 2f9fb5 f48b3a f7efd8 58a83f fff6d6 3f5aa0/clouds 0
sunset dusk evening sunrise/4a4e9a ffb26b c9775a 6f3f55 e2603f f4a54a 8f3f6a ffd38a 4f5590 8a6a45 ffd9a0 4a2f70/haze .12
night midnight dark/131c45 43598f 33456b 1b2747 6f7fc0 e6b85c 4a5f96 9a86b8 3f7f94 3d6a68 ffe2a6 0c1230/stars .42
forest jungle woods mossy/b9d6c6 eef3d8 8fae5a 4d7038 5c8a45 a8743f c9a24a 3f6b5c d8c9a0 3f7a3c fbf8d6 23473f/haze 0
desert dune dunes canyon/6db4d0 f7e3bf e9bf7f c98a4a c4603a e6a860 8a5238 f2d7a0 4f8a86 8a8f4a fff1cf 7a3f4f/clear 0
ocean sea beach coast/5fb6e0 dff3f4 6cc3c4 2a7f9e 2f93b0 f4e3bd f08a6a 1f5f86 ffffff 4fa58a fff8e2 1f4a78/clouds 0
cyberpunk sci-fi/160f3a 7a2f8f 2a2050 14102e ff3fa4 22d3ee 8b5cf6 f9d423 3b82f6 1f9a8a ff8ae0 0b0824/haze .4
pastel soft cute dreamy/cfe3f7 fdeef2 e6f0d2 cfe3c4 f7c1cf c9bdf0 bfe5d6 fce0b0 f6d0e6 b9dcb0 fffaf2 9a8fc0/clouds 0
monochrome grayscale noir/c4c8cc f0f0ee b4b6b8 7a7d82 5a5d63 a9acb0 36383e d8d9da 83868c 7e8284 ffffff 1c1d24/haze 0
daylight/7db8e0 eef4ea b4cd86 7da058 cf5f45 e8b04f 4f83b0 efe2c6 7a5a8a 5f9a4a fff6dc 44508a/clouds 0
terracotta/a9cbd0 f8e9d2 dcb98c b9865a c4623f e3a857 3f7f84 f0dcc0 8a4f4a 7a8f4f fff0d6 5a3f66/clear 0
orchard/b4d4ea fbeee4 cddb92 94b35f d4574e f2a65a 6f9a5a f8e3c8 6a5f9a 6a9a44 fff5e0 50488a/clouds 0
"""
"""Rows of words / sky twice, ground twice, five accents, foliage, light, shade / weather and dim."""

THEMES: dict[str, Theme] = {}
"""Prompt word to mood."""
for _words, _codes, _last in (row.split("/") for row in _MOODS.strip().splitlines()):
    _top, _horizon, _far, _near, *_accents, _leaf, _light, _shade = map(from_hex, _codes.split())
    _weather, _dim = _last.split()
    _rest = tuple(_accents), _leaf, _light, _shade, _weather, float(_dim)
    _theme = Theme(_words.split()[0], (_top, _horizon), (_far, _near), *_rest)
    THEMES.update(dict.fromkeys(_words.split(), _theme))
_DEFAULTS = (THEMES["daylight"], THEMES["terracotta"], THEMES["orchard"])  # what a prompt without a mood gets

_SETTING_OF: dict[str, str] = {
    word: setting
    for setting, words in {
        "outdoor": "landscape house cottage cabin barn castle city street village mountain hill forest garden field "
        "lake river sea ocean beach desert sky sun moon clouds tree bridge road valley island church tower snow boat",
        "indoor": "portrait face person man woman girl boy room interior kitchen office table desk chair cup coffee "
        "tea vase bowl bottle cake food bread fruit lamp candle book guitar violin piano product",
    }.items()
    for word in words.split()
}
"""Words of pictures that have a sky, and of those that have a backdrop."""
_MEDIUM_OF: dict[str, str] = {
    word: medium
    for medium, words in {
        "illustration": "illustration gouache storybook oil painting acrylic monet impasto poster flat vector anime "
        "ghibli cartoon cinematic photo photorealistic realistic film 35mm",
        "watercolour": "watercolour watercolor aquarelle wash pastels crayon chalk coloured-pencil colored-pencil",
        "ink": "ink sumi-e calligraphy engraving etching woodcut manga comic line-art pencil graphite charcoal",
        "neon": "neon glowing tron laser luminous blacklight",
    }.items()
    for word in words.split()
}
"""Words for media; those that are not drawn here stand for the nearest that is."""
_DENIALS, _HOURS = {"no", "without", "not", "minus"}, {"sunset", "night"}


def read(prompt: str, negative_prompt: str, seed: int) -> Look:
    """Read a prompt; a negative one takes colours, moods and media out, the seed decides what words leave open."""
    key = hashlib.sha256(f"{prompt}\x00{negative_prompt}\x00{seed}".encode()).digest()
    wanted = _words_of(prompt)  # `no snow` inside a prompt counts as unwanted
    unwanted = {*_words_of(negative_prompt), *(word for before, word in pairwise(wanted) if before in _DENIALS)}
    no_moods = {THEMES[word].name for word in unwanted if word in THEMES}
    no_media = {_MEDIUM_OF[word] for word in unwanted if word in _MEDIUM_OF}
    words = [word for word in wanted if word not in unwanted and _MEDIUM_OF.get(word) not in no_media]
    words = [word for word in words if word not in THEMES or THEMES[word].name not in no_moods]
    denied = [COLOURS[word] for word in sorted(unwanted) if word in COLOURS]

    def allowed(colour: Colour) -> Colour:
        """The colour, greyed if the negative prompt names its hue."""
        return shifted(colour, 0.0, 0.15) if any(same_hue(colour, bad) for bad in denied) else colour

    moods = [THEMES[word] for word in words if word in THEMES]
    hour = next((theme for theme in moods if theme.name in _HOURS), None)
    theme = next((theme for theme in moods if theme != hour), hour) or _DEFAULTS[key[0] % len(_DEFAULTS)]
    if hour:  # an hour of the day named beside a place gives its sky and light
        theme = replace(theme, sky=hour.sky, light=hour.light, shade=hour.shade, weather=hour.weather, dim=hour.dim)
    named = tuple(dict.fromkeys(COLOURS[word] for word in words if word in COLOURS))
    family = [shade for colour in named for shade in (colour, shifted(colour, 0.1, 0.8), shifted(colour, -0.12))]
    own = [mix(accent, named[0], 0.3) if named else accent for accent in theme.accents]
    (top, horizon), (far, near) = theme.sky, theme.ground
    if named:  # a colour leans sky and ground, `blue sky` decides it
        top, horizon, far, near = (mix(colour, named[0], 0.16) for colour in (top, horizon, far, near))
    if above := COLOURS.get(next((before for before, word in pairwise(words) if word == "sky"), "")):
        top, horizon = shifted(above, -0.04), mix(above, WHITE, 0.6)
    sky, ground = (allowed(top), allowed(horizon)), (allowed(far), allowed(near))
    return Look(
        medium=next((_MEDIUM_OF[word] for word in words if word in _MEDIUM_OF), next(iter(MEDIA))),
        theme=replace(theme, sky=sky, ground=ground, foliage=allowed(theme.foliage)),
        moody=bool(moods),
        accents=tuple(allowed(colour) for colour in (*family, *own)),
        named=named,
        setting=next((_SETTING_OF[word] for word in words if word in _SETTING_OF), "open"),
        light=(-0.62 if key[1] % 2 else 0.62, -0.55),
        key=key,
    )


def _words_of(text: str) -> list[str]:
    """Lower-case words in order, those that say where a picture is in the singular."""
    plain: list[str] = re.findall(r"[a-z0-9][a-z0-9'-]*", text.lower())
    return [word.removesuffix("s") if word.removesuffix("s") in _SETTING_OF else word for word in plain]
