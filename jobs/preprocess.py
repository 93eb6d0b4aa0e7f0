"""Control pictures made ready: each compared with what it was handed in as, and turned into a map where one is wanted.

A plain photo is never refused. Only what keeps no structure at all is an error; the rest is said, each with its remedy,
before anything is paid for.
"""

from dataclasses import dataclass, field

from anyio import to_thread
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import RESULT_LIMITS, remember
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.modalities import MODALITIES, STRUCTURES, Appearance, MapKind
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.resize import to_frame
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.types import Control, RequestWarning, Takes

_MAPS: dict[MapKind, tuple[str, str]] = {
    "edge": ("an edge map", "canny"),
    "sketch": ("a map of light lines on black", "scribble"),
    "depth": ("a depth map", "depth"),
    "skeleton": ("a pose map", "pose"),
    "segmentation": ("a segmentation map", "seg"),
}
"""Name of each kind of map, and its usual modality."""


@dataclass(frozen=True, slots=True)
class OutputSize:
    """Width and height of the generation in pixels."""

    width: int
    height: int


def check(
    control: Control, appearance: Appearance, takes: Takes, provider: str
) -> tuple[Control, list[RequestWarning]]:
    """Compare what a picture looks like with what it was handed in as, to a provider that `takes` maps or pictures.

    Returns:
        The control, marked as a map where the picture is one of its modality and the provider takes maps (so that
        nothing is preprocessed twice), and what has to be said.

    Raises:
        ImageError: `image_unreadable` when the picture is blank, and lines, depth, limbs or regions are to be kept.
    """
    name, structure = control.modality, MODALITIES[control.modality].structure
    kinds: list[MapKind] = [kind for kind in STRUCTURES if kind == appearance]
    if appearance == "blank":
        if structure != "photo":
            what = f"The {name} map" if control.is_map else f"The picture whose {name} structure should be kept"
            raise ImageError(
                "image_unreadable",
                f"{what} is blank or nearly so, so there is no structure to keep.",
                hint="Hand in a picture or map with something on it; extract_control_map shows what would be kept.",
            )
        detail = f"The picture for {name} is blank or nearly so: it will guide nothing. Use one with something on it."
    elif structure == "photo":
        return control, []
    elif kinds:
        return _check_map(control, kinds[0], takes, provider)
    elif not control.is_map or structure == "normal" or (structure == "lines" and appearance == "drawing"):
        return control, []  # drawings may be line maps, and normal maps look like pictures
    else:
        detail = (
            f"control_is_map=true, but the picture looks like a plain picture and not like a {name} map; it was handed "
            "on as it is. If it is no map, leave control_is_map out."
        )
    return control, [RequestWarning(kind="assumed", feature=name, detail=detail)]


def _check_map(control: Control, kind: MapKind, takes: Takes, provider: str) -> tuple[Control, list[RequestWarning]]:
    """Compare a picture that looks like a map with what it was handed in as."""
    name, structure = control.modality, MODALITIES[control.modality].structure
    looks, usual = _MAPS[kind]
    if STRUCTURES[kind] != structure:
        if kind == "depth" and structure == "normal":  # which can rightly be taken of it
            return control, []
        detail = (
            f"The picture looks like {looks}, but was handed in for {name}. If it is one, use "
            f"modality={usual} with control_is_map=true."
        )
    elif control.is_map:
        return control, []
    elif takes == "picture":
        detail = (
            f"The picture already is {looks}, and {provider} makes a map of whatever it gets for {name}: "
            "hand in the plain picture, or use a provider that takes control_is_map=true."
        )
    else:
        control = control.model_copy(update={"is_map": True})
        detail = (
            f"The picture already looks like {looks}, so it was handed on as the {name} map and not "
            "preprocessed again; say so with control_is_map=true. If it is none, pass the map that extract_control_map "
            "makes of it."
        )
    return control, [RequestWarning(kind="assumed", feature=name, detail=detail)]


_BLANK_COVERAGE = 0.0005
"""A map with less than this fraction of its pixels lit keeps no structure."""
_REMEMBERED = 256
"""Most pictures whose appearance is remembered, some hundred bytes each."""


@dataclass(slots=True)
class Preprocessor:
    """Readies the controls of one generation and gathers the warnings about them.

    Attributes:
        size: Of the generation, which maps are made at.
        appearances: What pictures looked like, by hash, for all generations: pictures are used again and again.
        first_map: The first map that was made.
    """

    provider: Provider
    blobs: BlobStore
    size: OutputSize
    model: str | None = None
    options: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    models: MapModels = NO_MODELS
    appearances: dict[str, Appearance] = field(default_factory=dict[str, Appearance])
    warnings: list[RequestWarning] = field(default_factory=list[RequestWarning])
    first_map: StoredPicture | None = None

    async def ready(self, control: Control) -> Control:
        """Return a control as the provider should get it, with a map where it wants one and none was given.

        Raises:
            ImageError: `image_unreadable` when the picture or its map is blank, `not_configured` when the model that
                would make the map cannot be used.
            RequestError: `not_configured` when what runs models is not installed.
        """
        modality, picture = MODALITIES[control.modality], control.picture
        if control.is_map and modality.structure == "photo":
            control = control.model_copy(update={"is_map": False})
            detail = (
                f"{modality.name} is taken from a plain picture and has no control map: the picture was handed on as "
                "one, without control_is_map."
            )
            self.warnings.append(RequestWarning(kind="adjusted", feature="control_is_map", detail=detail))
        takes = self.provider.takes(modality.name, self.model, self.options)
        if picture is None:
            return control

        def look_at_it() -> Appearance:
            from controlnet_mcp.images.classify import appearance_of

            return appearance_of(self.blobs.pixels(picture.sha256, RESULT_LIMITS))

        if picture.sha256 not in self.appearances:
            remember(self.appearances, picture.sha256, await to_thread.run_sync(look_at_it), _REMEMBERED)
        seen = self.appearances[picture.sha256]
        control, said = check(control, seen, takes, self.provider.name)
        self.warnings.extend(said)
        if control.is_map or takes != "map":
            return control
        photo = picture if seen == "picture" else None
        if not self.models.makes(modality.name):
            detail = (
                f"A {modality.name} map cannot be computed here without trained weights, and {self.provider.name} does "
                "not make one: the picture was taken as a ready map. Set control_is_map=true when it is one."
            )
            self.warnings.append(RequestWarning(kind="assumed", feature=modality.name, detail=detail))
            return control.model_copy(update={"is_map": True, "photo": photo})
        made = await to_thread.run_sync(self._make_map, picture, modality.name)
        self.first_map = self.first_map or made
        return control.model_copy(update={"picture": made, "is_map": True, "source_url": None, "photo": photo})

    def _make_map(self, picture: StoredPicture, modality: str) -> StoredPicture:
        """Make and store a map at the size of the generation; takes long, so it runs in a worker thread."""
        from controlnet_mcp.images.maps.recipes import make_map

        pixels = to_frame(self.blobs.pixels(picture.sha256, RESULT_LIMITS), self.size.width, self.size.height)
        made = make_map(pixels, modality, models=self.models)
        if made.coverage < _BLANK_COVERAGE:
            raise ImageError(
                "image_unreadable",
                f"The {modality} map of this picture is blank, so there is no structure to keep.",
                hint="Use a picture with more contrast, another modality, or control_is_map=true with a ready map.",
            )
        self.warnings.extend(RequestWarning(kind="approximate", feature=modality, detail=note) for note in made.notes)
        return self.blobs.put_pixels(made.rgb)
