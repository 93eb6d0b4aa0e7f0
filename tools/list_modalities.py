"""`list_modalities`: which structures can be used, with which provider, and which providers are ready."""

from collections.abc import Sequence
from typing import Self

from pydantic import field_validator

from controlnet_mcp.foundation.arguments import EVERYTHING, Arguments, none_of, passing
from controlnet_mcp.images.maps import KNOBS, NO_MODELS, MapModels
from controlnet_mcp.images.modalities import MODALITIES, Modality
from controlnet_mcp.jobs.prepare import entry_named
from controlnet_mcp.jobs.request import ModalityText, RequestedModality, parse_one
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, one_or_all, tool
from controlnet_mcp.tools.views import View


def _parse(modality: str) -> RequestedModality:
    return parse_one(modality, "Leave modality out to see all.")


class ModalityArguments(Arguments):
    """Narrow the answer."""

    provider: str | None = None
    modality: ModalityText | None = None

    _provider = field_validator("provider")(one_or_all)
    _all = field_validator("modality", mode="before")(none_of(EVERYTHING))
    _modality = field_validator("modality")(passing(_parse))


class OfferView(View):
    """A structure at one provider: its own name for it, and whether it takes a ready map or a picture."""

    provider: str
    native: str
    takes: str
    families: tuple[str, ...] | None = None


class ModalityView(View):
    """One structure. `map_from_photo`: `exact`, `approximate`, `by your model`, or what is needed instead."""

    name: str
    aliases: tuple[str, ...] | None = None
    keeps: str
    map_from_photo: str
    knobs: tuple[str, ...] | None = None
    offers: tuple[OfferView, ...]

    @classmethod
    def of(cls, row: Modality, entries: Sequence[ProviderEntry], models: MapModels) -> Self:
        """Describe a structure."""
        also = {"normal": ", a depth map for extract_control_map"}.get(row.name, "")
        made = f"needs a ready map{also}, or a provider that takes a picture"
        if NO_MODELS.makes(row.name):
            made = "approximate" if row.approximate else "exact"
        elif models.makes(row.name):
            made = "by your model"
        offers = [(entry.name, entry.capabilities.modalities.get(row.name)) for entry in entries]
        return cls(
            name=row.name,
            aliases=row.aliases or None,
            keeps=row.summary,
            map_from_photo=made,
            knobs=KNOBS.get(row.name) or None,
            offers=tuple(
                OfferView(provider=name, native=offer.native, takes=offer.takes, families=offer.families or None)
                for name, offer in offers
                if offer
            ),
        )


class ProviderView(View):
    """One provider: whether it is ready, what is missing, and its limits (pixels)."""

    name: str
    ready: bool
    missing: tuple[str, ...] | None = None
    ai_generated: bool | None = None
    min_side: int | None = None
    max_side: int | None = None
    max_controls: int | None = None
    max_images: int | None = None
    picture_per_control: bool | None = None
    settings: tuple[str, ...] | None = None

    @classmethod
    def of(cls, entry: ProviderEntry) -> Self:
        """Describe a provider."""
        can = entry.capabilities
        return cls(
            name=entry.name,
            ready=entry.provider is not None,
            missing=entry.missing or None,
            ai_generated=can.ai_generated,
            min_side=can.sizes.minimum,
            max_side=can.sizes.maximum,
            max_controls=can.max_controls,
            max_images=can.max_images,
            picture_per_control=can.picture_per_control,
            settings=tuple(sorted(can.settings)),
        )


class ModalityList(View):
    """Structures and providers."""

    modalities: tuple[ModalityView, ...]
    providers: tuple[ProviderView, ...]


def modality_list(
    entries: Sequence[ProviderEntry],
    provider: str | None = None,
    modality: str | None = None,
    models: MapModels = NO_MODELS,
) -> ModalityList:
    """Describe what can be used.

    Raises:
        RequestError: `invalid_request` for a name that nothing has.
    """
    shown = (entry_named(provider, entries),) if provider else entries
    rows = (_parse(modality).modality,) if modality else tuple(MODALITIES.values())
    views = tuple(ModalityView.of(row, shown, models) for row in rows)
    offered = tuple(view for view in views if view.offers or modality)
    return ModalityList(modalities=offered, providers=tuple(map(ProviderView.of, shown)))


async def list_modalities(services: Services, arguments: ModalityArguments, _call: Call) -> Answer:
    """Describe."""
    return Answer(modality_list(services.entries, arguments.provider, arguments.modality, models=services.map_models))


LIST_MODALITIES = tool(
    name="list_modalities",
    title="List structures",
    description="Structures that can be kept, by which providers, with their limits; who is ready.",
    arguments=ModalityArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=list_modalities,
    output=ModalityList,
)
