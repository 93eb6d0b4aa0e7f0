"""Modalities: canonical names, their aliases, and the structure of each one's map.

The names are the union of the tables of the five hosted providers' pages (Scenario, Segmind, zhiqite, ModelsLab,
WaveSpeed). A provider's own spelling lives in its adapter.
"""

import difflib
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError

Structure: TypeAlias = Literal["lines", "photo", "depth", "normal", "skeleton", "classes"]
"""Form of a control map: white lines on black, a plain (possibly degraded) picture, near-is-bright depth, surface
normals as RGB, limbs as coloured lines on black, or one flat colour per class."""

MapKind: TypeAlias = Literal["edge", "sketch", "depth", "skeleton", "segmentation"]
"""Control maps that are recognised by looking: thin edges, softer or thicker light lines on black, smooth grey depth,
coloured limbs on black, flat colours of a known palette. (Normal maps look like coloured pictures.)"""

Appearance: TypeAlias = Literal["blank", "drawing", "picture"] | MapKind

STRUCTURES: dict[MapKind, Structure] = {
    "edge": "lines",
    "sketch": "lines",
    "depth": "depth",
    "skeleton": "skeleton",
    "segmentation": "classes",
}
"""Kind of map to the structure that it carries."""


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of structure that can be taken from a picture: its canonical name and the form of its map.

    The summary says what it keeps, in a few words for a language model; aliases are names that resolve to this one;
    where it is `approximate`, our map only approximates the learned reference detector.
    """

    name: str
    structure: Structure
    summary: str
    aliases: tuple[str, ...] = ()
    approximate: bool = field(default=False, kw_only=True)


_ROWS = (
    Modality("canny", "lines", "edges of a photo or drawing", ("edge", "edges")),
    Modality("scribble", "lines", "loose thick lines", ("xdog", "doodle")),
    Modality("sketch", "lines", "a hand drawing", ("drawing",)),
    Modality("lineart", "lines", "clean ink lines", ("lines", "line-art")),
    Modality("softedge", "lines", "soft contours", ("hed", "soft-edge", "pidinet"), approximate=True),
    Modality("mlsd", "lines", "straight lines of buildings and rooms", ("straight-lines", "m-lsd"), approximate=True),
    Modality("tile", "photo", "colours and layout at low detail", ("tiles",)),
    Modality("blur", "photo", "a blurred picture made sharp", ("deblur", "unblur")),
    Modality(
        "gray",
        "photo",
        "a grey picture coloured",
        ("grey", "recolor", "recolour", "grayscale", "colorize", "colourise"),
    ),
    Modality("low-quality", "photo", "a poor picture restored", ("low_quality", "lowquality", "restore")),
    Modality("shuffle", "photo", "colours without layout"),
    Modality(
        "color-grid",
        "photo",
        "colours in coarse squares",
        ("colour-grid", "color", "colour", "palette", "t2ia-color-grid"),
    ),
    Modality("depth", "depth", "near and far", ("depth-map", "midas", "zoe")),
    Modality("normal", "normal", "surface directions", ("normal-map", "normalmap", "bae")),
    Modality("pose", "skeleton", "body pose", ("openpose", "dwpose", "skeleton", "dw-pose")),
    Modality("face", "skeleton", "face landmarks", ("face-detector", "face_detector")),
    Modality("seg", "classes", "regions by class (ADE20K colours)", ("segmentation", "segment", "semantic")),
    Modality("illusion", "photo", "a pattern hidden in light and shadow", ("qrcode",)),
    Modality("inpaint", "photo", "all but the masked part", ("inpainting", "repaint")),
    Modality("reference", "photo", "look and layout of a picture"),
    Modality("ip-adapter", "photo", "style of a picture", ("ip_adapter", "ipadapter")),
    Modality("instant-id", "photo", "a person's identity", ("instantid", "instant_id")),
    Modality("t2i-adapter", "photo", "adapter-guided layout", ("t2i_adapter", "t2iadapter")),
    Modality("aesthetic", "photo", "composition of a picture", ("aesthetic-controlnet", "aesthetic_controlnet")),
)
MODALITIES: dict[str, Modality] = {row.name: row for row in _ROWS}
"""Canonical name to modality, in the order in which they are listed."""

ALIASES: dict[str, str] = {alias: row.name for row in MODALITIES.values() for alias in (row.name, *row.aliases)}
"""Every accepted spelling in lower case to the canonical name."""


def resolve(name: str) -> Modality:
    """Find a modality by its canonical name or an alias, in any case, with spaces or underscores for hyphens.

    Raises:
        RequestError: `invalid_request` when nothing has this name; the nearest names are in the hint.
    """
    key = name.strip().lower()
    canonical = ALIASES.get(key) or ALIASES.get(key.replace("_", "-").replace(" ", "-"))
    if canonical is None:
        near = difflib.get_close_matches(key, ALIASES, n=3, cutoff=0.5)
        nearest = f"Did you mean {' or '.join(near)}? " if near else ""
        raise RequestError(
            "invalid_request",
            f"There is no modality called {name.strip()[:40]!r}.",
            hint=f"{nearest}Known: {', '.join(MODALITIES)}.",
        )
    return MODALITIES[canonical]
