"""The shared vocabulary of structures: canonical names, their aliases, and what each one is.

The names are the union of the tables of the five hosted providers' pages (Scenario, Segmind, zhiqite, ModelsLab,
WaveSpeed). A provider's own spelling lives in its adapter.
"""

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError

Structure: TypeAlias = Literal["lines", "photo", "depth", "normal", "skeleton", "classes"]
"""How a control map carries structure: white lines on black, a plain (possibly degraded) picture, near-is-bright
depth, surface normals as RGB, limbs as coloured lines on black, or one flat colour per class."""

MapKind: TypeAlias = Literal["edge", "sketch", "depth", "skeleton", "segmentation"]
"""Control maps that can be told from pictures: thin edges, softer or thicker light lines on black, smooth grey depth,
coloured limbs on black, flat colours of a known palette. (Normal maps cannot be told from coloured pictures.)"""

Appearance: TypeAlias = Literal["blank", "drawing", "picture"] | MapKind

STRUCTURES: dict[MapKind, Structure] = {
    "edge": "lines",
    "sketch": "lines",
    "depth": "depth",
    "skeleton": "skeleton",
    "segmentation": "classes",
}
"""What each kind of map carries."""


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of structure that a picture can hand on.

    Attributes:
        name: Canonical name.
        structure: How its map carries structure.
        computed: Whether `controlnet_mcp.images.maps` makes the map of a photo without trained weights.
        summary: What it keeps, in a few words for a language model.
        aliases: Other names that resolve to this one.
        approximate: Whether our map only approximates the learned reference detector.
    """

    name: str
    structure: Structure
    computed: bool
    summary: str
    aliases: tuple[str, ...] = ()
    approximate: bool = False


def _table(*rows: Modality) -> dict[str, Modality]:
    return {row.name: row for row in rows}


MODALITIES: dict[str, Modality] = _table(
    Modality("canny", "lines", computed=True, summary="edges of a photo or drawing", aliases=("edge", "edges")),
    Modality("scribble", "lines", computed=True, summary="loose thick lines", aliases=("xdog", "doodle")),
    Modality("sketch", "lines", computed=True, summary="a hand drawing", aliases=("drawing",)),
    Modality("lineart", "lines", computed=True, summary="clean ink lines", aliases=("lines", "line-art")),
    Modality(
        "softedge",
        "lines",
        computed=True,
        summary="soft contours",
        aliases=("hed", "soft-edge", "pidinet"),
        approximate=True,
    ),
    Modality(
        "mlsd",
        "lines",
        computed=True,
        summary="straight lines of buildings and rooms",
        aliases=("straight-lines", "m-lsd"),
        approximate=True,
    ),
    Modality("tile", "photo", computed=True, summary="colours and layout at low detail", aliases=("tiles",)),
    Modality("blur", "photo", computed=True, summary="a blurred picture made sharp", aliases=("deblur", "unblur")),
    Modality(
        "gray",
        "photo",
        computed=True,
        summary="a grey picture coloured",
        aliases=("grey", "recolor", "recolour", "grayscale", "colorize", "colourise"),
    ),
    Modality(
        "low-quality",
        "photo",
        computed=True,
        summary="a poor picture restored",
        aliases=("low_quality", "lowquality", "restore"),
    ),
    Modality("shuffle", "photo", computed=True, summary="colours without layout"),
    Modality(
        "color-grid",
        "photo",
        computed=True,
        summary="colours in coarse squares",
        aliases=("colour-grid", "color", "colour", "palette", "t2ia-color-grid"),
    ),
    Modality("depth", "depth", computed=False, summary="near and far", aliases=("depth-map", "midas", "zoe")),
    Modality(
        "normal", "normal", computed=False, summary="surface directions", aliases=("normal-map", "normalmap", "bae")
    ),
    Modality(
        "pose", "skeleton", computed=False, summary="body pose", aliases=("openpose", "dwpose", "skeleton", "dw-pose")
    ),
    Modality("face", "skeleton", computed=False, summary="face landmarks", aliases=("face-detector", "face_detector")),
    Modality(
        "seg",
        "classes",
        computed=False,
        summary="regions by class (ADE20K colours)",
        aliases=("segmentation", "segment", "semantic"),
    ),
    Modality("illusion", "photo", computed=False, summary="a pattern hidden in light and shadow", aliases=("qrcode",)),
    Modality("inpaint", "photo", computed=False, summary="all but the masked part", aliases=("inpainting", "repaint")),
    Modality("reference", "photo", computed=False, summary="look and layout of a picture"),
    Modality("ip-adapter", "photo", computed=False, summary="style of a picture", aliases=("ip_adapter", "ipadapter")),
    Modality("instant-id", "photo", computed=False, summary="a person's identity", aliases=("instantid", "instant_id")),
    Modality(
        "t2i-adapter", "photo", computed=False, summary="adapter-guided layout", aliases=("t2i_adapter", "t2iadapter")
    ),
    Modality(
        "aesthetic",
        "photo",
        computed=False,
        summary="composition of a picture",
        aliases=("aesthetic-controlnet", "aesthetic_controlnet"),
    ),
)
"""Canonical name to modality, in the order in which they are listed."""

ALIASES: dict[str, str] = {alias: row.name for row in MODALITIES.values() for alias in (row.name, *row.aliases)}
"""Every accepted spelling in lower case to the canonical name."""


def resolve(name: str) -> Modality:
    """Find the modality that a caller means.

    Args:
        name: A canonical name or an alias, in any case, spaces or underscores for hyphens.

    Raises:
        RequestError: `invalid_request` when nothing has this name; the nearest names are in the hint.
    """
    key = name.strip().lower()
    canonical = ALIASES.get(key) or ALIASES.get(key.replace("_", "-").replace(" ", "-"))
    if canonical is None:
        near = difflib.get_close_matches(key, ALIASES, n=3, cutoff=0.5)
        wish = f"Did you mean {' or '.join(near)}? " if near else ""
        raise RequestError(
            "invalid_request",
            f"There is no modality called {name.strip()[:40]!r}.",
            hint=f"{wish}Known: {', '.join(MODALITIES)}.",
        )
    return MODALITIES[canonical]
