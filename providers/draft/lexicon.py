"""Reads a prompt as a painter's brief: medium, mood, colours, materials, light (pure: tables and hashing only)."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from controlnet_mcp.providers.draft.colours import COLOURS, SYNONYMS
from controlnet_mcp.providers.draft.objects import INDOOR, MATERIALS, OUTDOOR, THINGS, Material
from controlnet_mcp.providers.draft.palette import Colour, from_hex, hue_apart, luminance, mix, shifted
from controlnet_mcp.providers.draft.themes import DEFAULTS, THEMES, Theme

Setting: TypeAlias = Literal["indoor", "outdoor", "open"]

MEDIA: dict[str, str] = {
    "illustration": "gouache with ink outlines on paper; the default",
    "watercolour": "transparent washes on rough paper",
    "oil": "thick brush strokes on canvas",
    "ink": "brush and hatching in black on rice paper",
    "pencil": "coloured pencil on white paper",
    "neon": "glowing lines in the dark",
    "poster": "flat screen-print colours",
    "anime": "clean lines, two-tone shading, bright sky",
    "cinematic": "photographic light, haze and grain",
}
"""Media that the draft engine paints in, each with what it looks like."""

_MEDIUM_WORDS: dict[str, str] = {
    "illustration": "illustration gouache storybook children's-book childrens-book drawing artwork tempera",
    "watercolour": "watercolour watercolor aquarelle wash watercolours watercolors",
    "oil": "oil oil-painting impressionist impressionism van-gogh monet impasto acrylic canvas painting painterly brushstrokes",
    "ink": "ink sumi-e calligraphy engraving etching woodcut linocut hatching manga comic sumi lineart line-art",
    "pencil": "pencil crayon coloured-pencil colored-pencil chalk charcoal-drawing graphite sketchbook pastels",
    "neon": "neon glowing synthwave tron laser luminous blacklight",
    "poster": "poster flat vector minimal minimalist screenprint screen-print pop-art logo cutout bauhaus risograph infographic",
    "anime": "anime ghibli cel cel-shaded cartoon toon cel-shading shinkai disney pixar",
    "cinematic": (
        "cinematic photo photograph photography photorealistic realistic realism film movie 35mm dslr bokeh render "
        "photoreal octane unreal 3d hyperrealistic 8k"
    ),
}
_MEDIUM_OF: dict[str, str] = {word: medium for medium, words in _MEDIUM_WORDS.items() for word in words.split()}
_LIGHT_WORDS: dict[str, tuple[float, float]] = {
    "left": (-0.75, -0.45),
    "right": (0.75, -0.45),
    "above": (0.1, -0.9),
    "overhead": (0.1, -0.9),
    "below": (0.0, 0.8),
    "backlit": (0.0, -0.8),
}
_HOURS = frozenset({"sunset", "night"})
_DENIALS = frozenset({"no", "without", "not", "minus"})


@dataclass(frozen=True, slots=True)
class Look:
    """What a prompt asks of a picture.

    Attributes:
        medium: A name of `MEDIA`.
        theme: Mood, with the named colours already worked into sky and ground.
        accents: Colours for things, best first, at least five.
        named: Colours that the prompt names, in its order.
        materials: Materials of the things named, most important first, in their resolved colour.
        setting: Whether the picture has a sky; `open` where the words do not say.
        light: Where light comes from, as x (right positive) and y (down positive), length up to 1.
        key: 32 bytes that decide everything left to chance.
    """

    medium: str
    theme: Theme
    accents: tuple[Colour, ...]
    named: tuple[Colour, ...]
    materials: tuple[Material, ...]
    setting: Setting
    light: tuple[float, float]
    key: bytes


def words_of(text: str) -> list[str]:
    """Lower-case words in order, plurals kept, with every pair also joined by a hyphen after its second word."""
    plain = re.findall(r"[a-z0-9][a-z0-9'-]*", text.lower())
    found: list[str] = []
    for index, word in enumerate(plain):
        found.append(SYNONYMS.get(word, word))
        if index:
            found.append(f"{plain[index - 1]}-{word}")
    return found


def _plain(words: Iterable[str]) -> list[str]:
    return [word for word in words if "-" not in word]


def _split(prompt: str, negative: str) -> tuple[list[str], frozenset[str]]:
    """Wanted words in order and unwanted words; `no snow` inside a prompt counts as unwanted."""
    wanted, unwanted = words_of(prompt), set(words_of(negative))
    plain = _plain(wanted)
    unwanted |= {word for before, word in zip(plain, plain[1:], strict=False) if before in _DENIALS}
    banned = {THEMES[word].name for word in unwanted if word in THEMES}
    media = {_MEDIUM_OF[word] for word in unwanted if word in _MEDIUM_OF}
    kept = [
        word
        for word in wanted
        if word not in unwanted
        and not (word in THEMES and THEMES[word].name in banned)
        and _MEDIUM_OF.get(word) not in media
    ]
    return kept, frozenset(unwanted)


def _first(words: Iterable[str], table: dict[str, str]) -> str | None:
    """The meaning of the first known word; a joined pair outranks its parts."""
    known = [word for word in words if word in table]
    pairs = [word for word in known if "-" in word]
    return table[(pairs or known)[0]] if known else None


def _material(entry: str, tint: Colour | None) -> Material:
    name, _, code = entry.partition("#")
    base = MATERIALS[name]
    colour = tint or (from_hex(code) if code else None)
    if colour is None:
        return base
    return Material(name, (colour, shifted(colour, -0.07), shifted(colour, 0.08)), base.place, base.rise)


def _materials(words: list[str], theme: Theme) -> tuple[Material, ...]:
    """Materials of the named things; a colour word right before a thing dyes its first material."""
    plain = _plain(words)
    found: dict[tuple[str, Colour], Material] = {}
    for before, word in zip(["", *plain], plain, strict=False):
        for rank, entry in enumerate(THINGS.get(word, ())):
            tint = COLOURS.get(before) if rank == 0 else None
            if entry in {"foliage", "grass"} and tint is None:
                tint = theme.foliage
            material = _material(entry, tint)
            found.setdefault((material.name, material.colours[0]), material)
    return tuple(found.values())


def _theme(words: list[str]) -> Theme | None:
    """The mood named first; an hour of the day named beside it gives its sky and light."""
    found = [THEMES[word] for word in words if word in THEMES]
    hour = next((theme for theme in found if theme.name in _HOURS), None)
    place = next((theme for theme in found if theme.name not in _HOURS), None)
    if hour is None or place is None:
        return hour or place
    return replace(place, sky=hour.sky, light=hour.light, shade=hour.shade, weather=hour.weather, dim=hour.dim)


def _tinted(theme: Theme, words: list[str], named: tuple[Colour, ...]) -> Theme:
    """Work named colours into sky and ground: `blue sky` decides it, any other colour only leans it."""
    plain = _plain(words)
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


def _accents(theme: Theme, named: tuple[Colour, ...], unwanted: frozenset[str]) -> tuple[Colour, ...]:
    """Named colours and their neighbours first, then the mood's own, without what the negative prompt names."""
    own = [mix(accent, named[0], 0.3) if named else accent for accent in theme.accents]
    family = [shade for colour in named for shade in (colour, shifted(colour, 0.1, 0.8), shifted(colour, -0.12))]
    denied = [COLOURS[word] for word in unwanted if word in COLOURS]
    kept = [c for c in (*family, *own) if all(hue_apart(c, bad) > 35 for bad in denied)]  # noqa: PLR2004  # degrees
    while len(kept) < 5:  # noqa: PLR2004  # painters count on five
        kept.append(shifted(kept[-1] if kept else theme.sky[1], -0.09))
    return tuple(kept)


def read(prompt: str, negative_prompt: str, seed: int) -> Look:
    """Read a prompt.

    Args:
        prompt: What to draw.
        negative_prompt: Colours, moods, media and things to leave out.
        seed: Decides, with the prompt, what the words leave open.
    """
    key = hashlib.sha256(f"{prompt}\x00{negative_prompt}\x00{seed}".encode()).digest()
    words, unwanted = _split(prompt, negative_prompt)
    plain = set(words)
    theme = _theme(words) or DEFAULTS[key[0] % len(DEFAULTS)]
    named = tuple(dict.fromkeys(COLOURS[word] for word in words if word in COLOURS))
    outdoor, indoor = bool(plain & OUTDOOR), bool(plain & INDOOR)
    setting: Setting = "outdoor" if outdoor else "indoor" if indoor else "open"
    side = -1.0 if key[1] % 2 else 1.0
    light = next((_LIGHT_WORDS[word] for word in words if word in _LIGHT_WORDS), (0.62 * side, -0.55))
    return Look(
        medium=_first(words, _MEDIUM_OF) or "illustration",
        theme=_tinted(theme, words, named),
        accents=_accents(theme, named, unwanted),
        named=named,
        materials=_materials(words, theme),
        setting=setting,
        light=light,
        key=key,
    )


def is_dark(look: Look) -> bool:
    """Whether the mood is a dark one."""
    return look.theme.dim > 0.35 or luminance(look.theme.sky[0]) < 0.2  # noqa: PLR2004  # where ink stops showing
