"""Reads a prompt as a painter's brief: medium, mood, colours, materials, light (pure: tables and hashing only)."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from controlnet_mcp.providers.draft.colours import COLOURS, SYNONYMS
from controlnet_mcp.providers.draft.moods import accents_of, mood_of, plain_words, tinted, without
from controlnet_mcp.providers.draft.objects import INDOOR, MATERIALS, OUTDOOR, THINGS, Material
from controlnet_mcp.providers.draft.palette import Colour, from_hex, shifted
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
    "illustration": "illustration gouache storybook children's-book drawing artwork tempera",
    "watercolour": "watercolour watercolor aquarelle wash watercolours watercolors",
    "oil": "oil impressionist impressionism van-gogh monet impasto acrylic canvas painting painterly brushstrokes",
    "ink": "ink sumi-e calligraphy engraving etching woodcut linocut hatching manga comic sumi lineart line-art",
    "pencil": "pencil crayon coloured-pencil colored-pencil chalk charcoal-drawing graphite sketchbook pastels",
    "neon": "neon glowing synthwave tron laser luminous blacklight",
    "poster": "poster flat vector minimal minimalist screenprint screen-print pop-art logo cutout bauhaus risograph",
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


def _singular(word: str) -> str:
    """A known thing's name without its plural ending; any other word as it is."""
    if word in THINGS or word in THEMES or not word.endswith("s"):
        return word
    return next((stem for stem in (word[:-1], word.removesuffix("es")) if stem in THINGS), word)


def words_of(text: str) -> list[str]:
    """Lower-case words in order, known things in the singular, every pair also joined by a hyphen after its second."""
    plain: list[str] = re.findall(r"[a-z0-9][a-z0-9'-]*", text.lower())
    found: list[str] = []
    for index, word in enumerate(plain):
        found.append(SYNONYMS.get(word) or _singular(word))
        if index:
            found.append(f"{plain[index - 1]}-{word}")
    return found


def _split(prompt: str, negative: str) -> tuple[list[str], frozenset[str]]:
    """Wanted words in order and unwanted words; `no snow` inside a prompt counts as unwanted."""
    wanted, unwanted = words_of(prompt), set(words_of(negative))
    plain = plain_words(wanted)
    unwanted |= {word for before, word in pairwise(plain) if before in _DENIALS}
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
    """Materials of the named things; a colour word right before a thing dyes its clothes or its first material."""
    plain = plain_words(words)
    found: dict[tuple[str, Colour], Material] = {}
    for before, word in zip(["", *plain], plain, strict=False):
        made_of = THINGS.get(word, ())
        dyed = next((rank for rank, entry in enumerate(made_of) if entry.startswith("cloth")), 0)
        for rank, entry in enumerate(made_of):
            tint = COLOURS.get(before) if rank == dyed else None
            if entry in {"foliage", "grass"} and tint is None:
                tint = theme.foliage
            material = _material(entry, tint)
            found.setdefault((material.name, material.colours[0]), material)
    return tuple(found.values())


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
    denied = tuple(COLOURS[word] for word in sorted(unwanted) if word in COLOURS)
    theme = without(mood_of(words) or DEFAULTS[key[0] % len(DEFAULTS)], denied)
    named = tuple(dict.fromkeys(COLOURS[word] for word in words if word in COLOURS))
    outdoor, indoor = bool(plain & OUTDOOR), bool(plain & INDOOR)
    setting: Setting = "outdoor" if outdoor else "indoor" if indoor else "open"
    side = -1.0 if key[1] % 2 else 1.0
    light = next((_LIGHT_WORDS[word] for word in words if word in _LIGHT_WORDS), (0.62 * side, -0.55))
    return Look(
        medium=_first(words, _MEDIUM_OF) or "illustration",
        theme=tinted(theme, words, named),
        accents=accents_of(theme, named, denied),
        named=named,
        materials=_materials(words, theme),
        setting=setting,
        light=light,
        key=key,
    )
