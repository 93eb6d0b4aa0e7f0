"""From a wish to a job that is ready to be driven: provider chosen, pictures read, maps made, settings checked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from pydantic import JsonValue, ValidationError

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.checks import Appearance
from controlnet_mcp.images.errors import ControlNetError, RequestError
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.images.reader import PictureReader
from controlnet_mcp.jobs.controls import Ask, parse_extra, parse_modalities
from controlnet_mcp.jobs.frames import Frame, fit_notices, frame_of
from controlnet_mcp.jobs.honour import honour
from controlnet_mcp.jobs.maps import MapRoom
from controlnet_mcp.jobs.pictures import HandedIn, Read, controls_of, link_of, read_pictures
from controlnet_mcp.jobs.selection import Candidate, candidates
from controlnet_mcp.jobs.sources import sources_of
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.body import no_public_url
from controlnet_mcp.providers.registry import Entry
from controlnet_mcp.providers.values import Control, GenerationRequest, Notice


@dataclass(frozen=True, slots=True)
class Prepared:
    """A generation with everything settled, and what had to be said on the way."""

    provider: Provider
    request: GenerationRequest
    warnings: tuple[Notice, ...]
    control_map: StoredPicture | None
    sources: dict[str, StoredPicture]


@dataclass(frozen=True, slots=True)
class Intake:
    """Prepares wishes; nothing is sent to anybody but reads of the pictures that the caller named."""

    entries: Sequence[Entry]
    reader: PictureReader
    blobs: BlobStore
    map_models: MapModels = NO_MODELS
    reachable: bool = False
    _appearances: dict[str, Appearance] = field(default_factory=dict[str, Appearance], init=False)

    async def prepare(self, wish: Wish, *, local_paths: bool, owner: str) -> Prepared:
        """Settle a wish.

        Args:
            wish: What is asked for.
            local_paths: Whether it may name files of this machine.
            owner: Whose `controlnet://` references it may name.

        Raises:
            ControlNetError: What no attempt could make right, before anything is sent.
        """
        asks = parse_modalities(wish.modality)
        extra_asks = tuple(parse_extra(extra.modality, extra.weight) for extra in wish.extra_controls)
        read = partial(self.reader.read, local_paths=local_paths, owner=owner)
        refusal: ControlNetError | None = None
        for candidate in candidates(wish, (*asks, *extra_asks), self.entries):
            try:
                return await self._prepare_for(candidate, wish, asks, extra_asks, read)
            except ControlNetError as error:
                if error.code != "unsupported":
                    raise
                refusal = refusal or error
        raise refusal or RequestError("unsupported", "No ready provider can do this.")

    async def _prepare_for(
        self, candidate: Candidate, wish: Wish, asks: tuple[Ask, ...], extra_asks: tuple[Ask, ...], read: Read
    ) -> Prepared:
        provider = candidate.provider
        options = _options(wish, provider)
        pictures = await read_pictures(read, wish, provider)
        frame, fitted = frame_of(wish, pictures.main, provider.capabilities.sizes)
        for extra in pictures.extras:
            fitted.extend(fit_notices("extra_controls", extra, frame, provider.capabilities.sizes))
        room = MapRoom(provider, self.blobs, frame, wish.model, options, self.map_models, self._appearances)
        controls = [await room.ready(control) for control in controls_of(wish, asks, extra_asks, pictures)]
        request = _request(wish, tuple(controls), pictures, frame, provider).model_copy(update={"options": options})
        request, dropped = honour(request, wish, provider)
        settled = provider.settle(request)
        said = (*candidate.notices, *fitted, *dropped, *room.notices, *settled.notices)
        warnings = (*said, *self._links(settled.request, provider))
        return Prepared(provider, settled.request, warnings, room.first_map, sources_of(pictures))

    def _links(self, request: GenerationRequest, provider: Provider) -> list[Notice]:
        """Check that a provider that only takes links gets one for every picture, and say which nobody looked at.

        Raises:
            RequestError: `not_configured` when a picture has no link that the provider could follow.
        """
        if not provider.capabilities.needs_public_url:
            return []
        if not self.reachable and any(control.source_url is None for control in request.controls):
            raise no_public_url(provider.name)
        unseen = [control for control in request.controls if control.picture is None and control.source_url]
        return [_not_checked(provider.name)] if unseen else []


def planned_uploads(prepared: Prepared) -> dict[str, str]:
    """What stands for pictures that would be uploaded first, in a request that is only shown or priced."""
    pictures = prepared.provider.uploads(prepared.request)
    return {row.sha256: f"(link of the upload of sha256 {row.sha256[:12]}, {row.size_bytes} bytes)" for row in pictures}


def _request(
    wish: Wish, controls: tuple[Control, ...], pictures: HandedIn, frame: Frame, provider: Provider
) -> GenerationRequest:
    return GenerationRequest(
        prompt=wish.prompt,
        controls=controls,
        negative_prompt=wish.negative_prompt,
        init_image=pictures.init,
        init_url=link_of(wish.init_image),
        mask_image=pictures.mask,
        mask_url=link_of(wish.mask_image),
        strength=wish.strength,
        model=wish.model,
        width=frame.width,
        height=frame.height,
        num_images=min(wish.num_images, provider.capabilities.max_images),
        steps=wish.steps,
        guidance=wish.guidance,
        scheduler=wish.scheduler,
        seed=secrets.randbelow(2**31) if wish.seed is None else wish.seed,
    )


def _not_checked(provider: str) -> Notice:
    detail = f"The link could not be read from here; it was passed on to {provider} without being checked."
    return Notice(kind="assumed", feature="control_image", detail=detail)


def _options(wish: Wish, provider: Provider) -> dict[str, JsonValue]:
    try:
        return provider.options.model_validate(wish.provider_options).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestError(
            "invalid_request",
            f"provider_options.{field} is not right for {provider.name}: {first['msg']}.",
            hint=f"{provider.name} knows: {', '.join(provider.options.model_fields) or 'no options'}.",
        ) from error
