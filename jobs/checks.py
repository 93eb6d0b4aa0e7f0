"""What a control picture looks like against what it was handed in as, before anything is paid for.

A plain photo is never refused. Only what keeps no structure at all is an error; the rest is said, each with its remedy.
"""

from dataclasses import dataclass

from controlnet_mcp.images.checks import STRUCTURES, Appearance, MapKind
from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.modalities import MODALITIES, Modality, Structure
from controlnet_mcp.providers.capabilities import Takes
from controlnet_mcp.providers.values import Control, Notice

_NAMES: dict[MapKind, str] = {
    "edge": "an edge map",
    "sketch": "a map of light lines on black",
    "depth": "a depth map",
    "skeleton": "a pose map",
    "segmentation": "a segmentation map",
}
_MODALITIES: dict[MapKind, str] = {
    "edge": "canny",
    "sketch": "scribble",
    "depth": "depth",
    "skeleton": "pose",
    "segmentation": "seg",
}
"""The usual modality for a map of each kind."""
_LEADS_TO: dict[MapKind, frozenset[Structure]] = {"depth": frozenset({"normal"})}
"""What can rightly be taken of a map, besides what it carries: normals of depth."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A control picture as it was handed in, and who gets it.

    Attributes:
        control: The control; it has a picture.
        appearance: What the picture looks like.
        takes: What the provider wants for this modality.
        provider: Its name.
    """

    control: Control
    appearance: Appearance
    takes: Takes
    provider: str

    @property
    def modality(self) -> Modality:
        """What is to be kept of the picture."""
        return MODALITIES[self.control.modality]


def check(offer: Offer) -> tuple[Control, list[Notice]]:
    """Compare what a picture is with what it was handed in as.

    Returns:
        The control, marked as a map where the picture is one of its modality and the provider takes maps (so that
        nothing is preprocessed twice), and what has to be said.

    Raises:
        ImageError: `image_unreadable` when the picture is blank, and lines, depth, limbs or regions are to be kept.
    """
    if offer.appearance == "blank":
        return offer.control, _blank(offer)
    kind = _map_kind(offer.appearance)
    if offer.modality.structure == "photo":
        return offer.control, []
    if kind is None:
        return offer.control, _no_map(offer) if offer.control.is_map else []
    return _of_a_map(offer, kind)


def _of_a_map(offer: Offer, kind: MapKind) -> tuple[Control, list[Notice]]:
    if STRUCTURES[kind] != offer.modality.structure:
        return offer.control, _other_map(offer, kind)
    if offer.control.is_map:
        return offer.control, []
    if offer.takes == "picture":
        return offer.control, [_prepared_again(offer, kind)]
    return offer.control.model_copy(update={"is_map": True}), [_taken_as_map(offer, kind)]


def _map_kind(seen: Appearance) -> MapKind | None:
    """The kind of map that a picture looks like, None for any other picture."""
    return next((kind for kind in STRUCTURES if kind == seen), None)


def _blank(offer: Offer) -> list[Notice]:
    name = offer.modality.name
    if offer.modality.structure == "photo":
        detail = f"The picture for {name} is blank or nearly so: it will guide nothing. Use one with something on it."
        return [_said(offer, detail)]
    what = f"The {name} map" if offer.control.is_map else f"The picture whose {name} structure should be kept"
    raise ImageError(
        "image_unreadable",
        f"{what} is blank or nearly so, so there is no structure to keep.",
        hint="Hand in a picture or map with something on it; extract_control_map shows what would be kept.",
    )


def _other_map(offer: Offer, kind: MapKind) -> list[Notice]:
    """A map of something else: its own modality would keep more."""
    if offer.modality.structure in _LEADS_TO.get(kind, ()):
        return []
    detail = (
        f"The picture looks like {_NAMES[kind]}, but was handed in for {offer.modality.name}. If it is one, "
        f"use modality={_MODALITIES[kind]} with control_is_map=true."
    )
    return [_said(offer, detail)]


def _no_map(offer: Offer) -> list[Notice]:
    """What was said to be a map looks like none; but drawings may be line maps, and normal maps look like pictures."""
    structure = offer.modality.structure
    if structure == "normal" or (structure == "lines" and offer.appearance == "drawing"):
        return []
    detail = (
        f"control_is_map=true, but the picture looks like a plain picture and not like a {offer.modality.name} map; it "
        "was handed on as it is. If it is no map, leave control_is_map out."
    )
    return [_said(offer, detail)]


def _prepared_again(offer: Offer, kind: MapKind) -> Notice:
    detail = (
        f"The picture already is {_NAMES[kind]}, and {offer.provider} makes a map of whatever it gets for "
        f"{offer.modality.name}: hand in the plain picture, or use a provider that takes control_is_map=true."
    )
    return _said(offer, detail)


def _taken_as_map(offer: Offer, kind: MapKind) -> Notice:
    detail = (
        f"The picture already looks like {_NAMES[kind]}, so it was handed on as the {offer.modality.name} map and not "
        "preprocessed again; say so with control_is_map=true. If it is none, pass the map that extract_control_map "
        "makes of it."
    )
    return _said(offer, detail)


def _said(offer: Offer, detail: str) -> Notice:
    return Notice(kind="assumed", feature=offer.modality.name, detail=detail)
