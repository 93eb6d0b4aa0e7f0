"""Making controls ready: a map where the provider wants one and none was given, at the size of the generation."""

from dataclasses import dataclass, field
from functools import partial

from anyio import to_thread
from pydantic import JsonValue

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.checks import Appearance, look
from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.checks import Offer, check
from controlnet_mcp.jobs.frames import Frame
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.runner import RESULT_LIMITS
from controlnet_mcp.providers.values import Control, Notice

_BLANK_COVERAGE = 0.0005
"""A map with less than this fraction of its pixels lit keeps no structure."""
_REMEMBERED = 256
"""How many pictures' looks are remembered, some hundred bytes each."""


@dataclass(slots=True)
class MapRoom:
    """Readies the controls of one generation and gathers what has to be said about them.

    Attributes:
        appearances: What pictures looked like, by hash, for all generations: pictures are used again and again.
    """

    provider: Provider
    blobs: BlobStore
    frame: Frame
    model: str | None = None
    options: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    models: MapModels = NO_MODELS
    appearances: dict[str, Appearance] = field(default_factory=dict[str, Appearance])
    notices: list[Notice] = field(default_factory=list[Notice])
    first_map: StoredPicture | None = None

    async def ready(self, control: Control) -> Control:
        """Give a control back as the provider should get it.

        Raises:
            ImageError: `image_unreadable` when the picture or its map is blank, `not_configured` when the model that
                would make the map cannot be used.
            RequestError: `not_configured` when what runs models is not installed.
        """
        modality = MODALITIES[control.modality]
        takes = self.provider.takes(modality.name, self.model, self.options)
        if control.picture is None:
            return control
        seen = await self._appearance(control.picture)
        control, said = check(Offer(control, seen, takes, self.provider.name))
        self.notices.extend(said)
        if control.picture is None or control.is_map or takes != "map":
            return control
        if not (modality.computed or self.models.makes(modality.name)):
            self.notices.append(_assumed(modality.name, self.provider.name))
            return control.model_copy(update={"is_map": True})
        picture = await to_thread.run_sync(partial(self._make, control.picture, modality.name))
        self.first_map = self.first_map or picture
        return control.model_copy(update={"picture": picture, "is_map": True, "source_url": None})

    async def _appearance(self, picture: StoredPicture) -> Appearance:
        if picture.sha256 not in self.appearances:
            seen = await to_thread.run_sync(self._look, picture)
            if len(self.appearances) >= _REMEMBERED:
                self.appearances.clear()
            self.appearances[picture.sha256] = seen
            return seen
        return self.appearances[picture.sha256]

    def _look(self, picture: StoredPicture) -> Appearance:
        from controlnet_mcp.images.decode import decode

        return look(decode(self.blobs.get(picture.sha256), RESULT_LIMITS))

    def _make(self, picture: StoredPicture, modality: str) -> StoredPicture:
        from controlnet_mcp.images.decode import decode
        from controlnet_mcp.images.frame import store_pixels, to_frame
        from controlnet_mcp.images.maps import make_map

        pixels = to_frame(decode(self.blobs.get(picture.sha256), RESULT_LIMITS), self.frame.width, self.frame.height)
        made = make_map(pixels, modality, models=self.models)
        if made.coverage < _BLANK_COVERAGE:
            raise _blank(modality)
        self.notices.extend(Notice(kind="approximate", feature=modality, detail=note) for note in made.notes)
        return store_pixels(made.rgb, self.blobs)


def _assumed(modality: str, provider: str) -> Notice:
    detail = (
        f"A {modality} map cannot be computed here without trained weights, and {provider} does not make one: "
        "the picture was taken as a ready map. Set control_is_map=true when it is one."
    )
    return Notice(kind="assumed", feature=modality, detail=detail)


def _blank(modality: str) -> ImageError:
    return ImageError(
        "image_unreadable",
        f"The {modality} map of this picture is blank, so there is no structure to keep.",
        hint="Use a picture with more contrast, another modality, or control_is_map=true with a ready map.",
    )
