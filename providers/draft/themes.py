"""Moods of light and colour: what sky, ground and things look like in each (pure data)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.providers.draft.palette import Colour, from_hex

Weather: TypeAlias = Literal["clear", "clouds", "stars", "glow", "haze"]

_DUSK = 0.1
_NIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Theme:
    """One mood.

    Attributes:
        name: Its own word.
        words: Words of a prompt that mean it.
        sky: Colour at the top and at the horizon.
        ground: Colour near the horizon and near the viewer.
        accents: Five colours for things, most typical first.
        foliage: Colour of leaves and grass.
        light: Colour that light adds.
        shade: Colour that shadows lean to.
        weather: What the sky holds.
        dim: 0 bright day to 1 deep night: how far everything is darkened towards `shade`.
    """

    name: str
    words: tuple[str, ...]
    sky: tuple[Colour, Colour]
    ground: tuple[Colour, Colour]
    accents: tuple[Colour, ...]
    foliage: Colour
    light: Colour
    shade: Colour
    weather: Weather = "clear"
    dim: float = 0.0

    @property
    def lamps_lit(self) -> bool:
        """Whether it is dark enough for light in windows."""
        return self.dim > _DUSK

    @property
    def night(self) -> bool:
        """Whether what hangs in the sky is a moon rather than a sun."""
        return self.dim > _NIGHT


def _theme(name: str, words: str, codes: str, weather: Weather = "clear", dim: float = 0.0) -> Theme:
    """Read a theme: sky top, sky horizon, ground far, ground near, five accents, foliage, light, shade."""
    top, horizon, far, near, *accents, foliage, light, shade = (from_hex(code) for code in codes.split())
    known = (name, *words.split())
    return Theme(name, known, (top, horizon), (far, near), tuple(accents), foliage, light, shade, weather, dim)


_NAMED: tuple[Theme, ...] = (
    _theme(
        "autumn",
        "fall october november harvest leaves thanksgiving",
        "8fb3c4 f3e0bd d9ae62 a86b32 c9542a e0902f 8a4a2b efc063 7a6a3f d67a28 fff0cc 5a3550",
        "clouds",
    ),
    _theme(
        "winter",
        "snow snowy frost frosty ice icy frozen christmas december january arctic",
        "8fb0d6 e9eef6 f4f7fb cfdcec b8493f 5b7fa8 8a6a55 dfe8f2 3f5f6f 8fa9ac fdf6ee 5a72a8",
        "clouds",
    ),
    _theme(
        "spring",
        "april may blossom blossoms sakura cherry-blossom fresh",
        "a9d8ee fbeef0 bfe08e 86bd62 f39ab5 f7d774 9fcf6e b79be0 f6b48c 8ccb5e fffbe6 6d78b5",
        "clouds",
    ),
    _theme(
        "summer",
        "july sunny holiday bright noon",
        "4aa8e8 cdecf8 a8d36a 6aa845 f2564b f9c531 2f9fb5 f48b3a f7efd8 58a83f fff6d6 3f5aa0",
        "clouds",
    ),
    _theme(
        "sunset",
        "dusk evening golden-hour sundown twilight sunrise dawn",
        "4a4e9a ffb26b c9775a 6f3f55 e2603f f4a54a 8f3f6a ffd38a 4f5590 8a6a45 ffd9a0 4a2f70",
        "glow",
        0.12,
    ),
    _theme(
        "night",
        "midnight moonlight moonlit dark stars starry nocturnal",
        "131c45 43598f 33456b 1b2747 6f7fc0 e6b85c 4a5f96 9a86b8 3f7f94 3d6a68 ffe2a6 0c1230",
        "stars",
        0.42,
    ),
    _theme(
        "forest",
        "jungle woods woodland mossy rainforest fern nature",
        "b9d6c6 eef3d8 8fae5a 4d7038 5c8a45 a8743f c9a24a 3f6b5c d8c9a0 3f7a3c fbf8d6 23473f",
        "haze",
    ),
    _theme(
        "desert",
        "dune dunes sahara canyon savanna arid western mesa",
        "6db4d0 f7e3bf e9bf7f c98a4a c4603a e6a860 8a5238 f2d7a0 4f8a86 8a8f4a fff1cf 7a3f4f",
        "clear",
    ),
    _theme(
        "ocean",
        "sea beach coast coastal underwater marine nautical lagoon seaside waves",
        "5fb6e0 dff3f4 6cc3c4 2a7f9e 2f93b0 f4e3bd f08a6a 1f5f86 ffffff 4fa58a fff8e2 1f4a78",
        "clouds",
    ),
    _theme(
        "cyberpunk",
        "neon-city synthwave vaporwave futuristic sci-fi scifi hologram cyber blade-runner",
        "160f3a 7a2f8f 2a2050 14102e ff3fa4 22d3ee 8b5cf6 f9d423 3b82f6 1f9a8a ff8ae0 0b0824",
        "haze",
        0.4,
    ),
    _theme(
        "gothic",
        "dark-fantasy vampire haunted halloween spooky horror gloomy eerie ominous macabre",
        "3a3f55 9a93a0 6a6470 35313f 7a1f2f 5a4a6a 8a8478 b0a9a0 2f3f45 4a553f e8dfe0 15121f",
        "haze",
        0.3,
    ),
    _theme(
        "pastel",
        "soft kawaii cute baby dreamy gentle delicate",
        "cfe3f7 fdeef2 e6f0d2 cfe3c4 f7c1cf c9bdf0 bfe5d6 fce0b0 f6d0e6 b9dcb0 fffaf2 9a8fc0",
        "clouds",
    ),
    _theme(
        "candy",
        "bubblegum rainbow lollipop sweet colorful colourful vibrant playful party circus",
        "7fd8f5 ffe3f1 ffd0e0 ff9ec4 ff5a8a ffd23f 5ad1a5 8b6fe8 ff8f4a 6fd06f fffbe8 6a3fa0",
        "clouds",
    ),
    _theme(
        "vintage",
        "retro antique old nostalgic sepia victorian 1950s 1920s steampunk parchment",
        "cdbf9a f2e4c4 c9ab7a 94744a a4513a c8963f 5f7a70 8a5a3a e6d3a6 7f8250 fff2d4 4a3228",
        "haze",
    ),
    _theme(
        "fire",
        "volcano volcanic lava inferno dragon hell flames burning ember",
        "3a1a24 d9542a 6a2a20 2a1418 ff6a1f ffb83a a3201f 6a3a30 ffd98a 5a5030 ffcf7a 200c14",
        "glow",
        0.25,
    ),
    _theme(
        "space",
        "galaxy cosmic nebula alien planet planets universe astronaut stellar lunar",
        "0f1238 4a2f7a 4f5470 262a45 7fd0e8 e8e6f0 f0954a 8a6fe0 c05a9a 4a8a8a ffe9cc 0a0a22",
        "stars",
        0.22,
    ),
    _theme(
        "tropical",
        "palm palms island parrot hawaii caribbean tiki",
        "3fbfe0 fdf0cf f0d79a 8cc26a ff6f5e ffc23f 1fa893 f04f8a 3f7fd0 2f9a4f fff6d0 1f4f70",
        "clouds",
    ),
    _theme(
        "monochrome",
        "black-and-white grayscale greyscale colorless noir bw",
        "c4c8cc f0f0ee b4b6b8 7a7d82 5a5d63 a9acb0 36383e d8d9da 83868c 7e8284 ffffff 1c1d24",
        "haze",
    ),
)

THEMES: dict[str, Theme] = {word: theme for theme in _NAMED for word in theme.words}
"""Prompt word to theme."""

DEFAULTS: tuple[Theme, ...] = (
    _theme(
        "daylight", "", "7db8e0 eef4ea b4cd86 7da058 cf5f45 e8b04f 4f83b0 efe2c6 7a5a8a 5f9a4a fff6dc 44508a", "clouds"
    ),
    _theme(
        "meadow", "", "a7d3e4 f8f2dc c3d17a 86a84c d9634f f0c35a 5a9a8a f3e7cf 8a6fa0 6fa046 fff8dc 4a5a86", "clouds"
    ),
    _theme("terracotta", "", "a9cbd0 f8e9d2 dcb98c b9865a c4623f e3a857 3f7f84 f0dcc0 8a4f4a 7a8f4f fff0d6 5a3f66"),
    _theme(
        "coastal", "", "8cc8e0 f4f3e8 d8dfb8 9fb98a e2725b f2c879 2f7f9a f6ecd8 5a6fa0 6fa37a fffaea 3f5588", "clouds"
    ),
    _theme(
        "orchard", "", "b4d4ea fbeee4 cddb92 94b35f d4574e f2a65a 6f9a5a f8e3c8 6a5f9a 6a9a44 fff5e0 50488a", "clouds"
    ),
)
"""What a prompt without a mood gets, chosen by prompt and seed."""
