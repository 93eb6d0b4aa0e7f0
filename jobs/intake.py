"""From a wish to a job that is ready to be driven: provider chosen, pictures read, maps made, settings checked."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ImageError, RequestError
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.images.reader import PictureReader
from controlnet_mcp.jobs.controls import Ask, parse_modalities
from controlnet_mcp.jobs.frames import Frame, frame_of
from controlnet_mcp.jobs.honour import honour
from controlnet_mcp.jobs.maps import MapRoom
from controlnet_mcp.jobs.selection import choose
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


@dataclass(frozen=True, slots=True)
class _Pictures:
    main: StoredPicture | None
    asset_id: str | None
    extras: tuple[StoredPicture, ...]
    init: StoredPicture | None
    mask: StoredPicture | None


@dataclass(frozen=True, slots=True)
class Intake:
    """Prepares wishes; nothing is sent to anybody but reads of the pictures that the caller named."""

    entries: tuple[Entry, ...]
    reader: PictureReader
    blobs: BlobStore
    reachable: bool = False

    async def prepare(self, wish: Wish, *, local_paths: bool) -> Prepared:
        """Settle a wish.

        Raises:
            ControlNetError: What no attempt could make right, before anything is sent.
        """
        asks = parse_modalities(wish.modality)
        extra_asks = tuple(parse_modalities(extra.modality)[0] for extra in wish.extra_controls)
        provider, chosen = choose(wish, (*asks, *extra_asks), self.entries)
        options = _options(wish, provider)
        pictures = await self._read(wish, provider, local_paths=local_paths)
        frame, fitted = frame_of(wish, pictures.main, provider.capabilities.sizes)
        room = MapRoom(provider, self.blobs, frame)
        controls = await _controls(wish, asks, extra_asks, pictures, room)
        request = _request(wish, controls, pictures, frame, provider).model_copy(update={"options": options})
        request, dropped = honour(request, wish, provider)
        settled = provider.settle(request)
        warnings = (
            *chosen,
            *fitted,
            *dropped,
            *room.notices,
            *settled.notices,
            *self._links(settled.request, provider),
        )
        return Prepared(provider, settled.request, warnings, room.first_map)

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

    async def _read(self, wish: Wish, provider: Provider, *, local_paths: bool) -> _Pictures:
        read = partial(self.reader.read, local_paths=local_paths)
        asset_id = wish.control_image if wish.control_image.startswith("asset_") else None
        links_only = provider.capabilities.needs_public_url
        return _Pictures(
            main=None if asset_id else await _main(read, wish.control_image, passes_on=links_only),
            asset_id=asset_id,
            extras=tuple([await read(extra.image) for extra in wish.extra_controls]),
            init=await read(wish.init_image) if wish.init_image else None,
            mask=await read(wish.mask_image) if wish.mask_image else None,
        )


def planned_uploads(prepared: Prepared) -> dict[str, str]:
    """What stands for pictures that would be uploaded first, in a request that is only shown or priced."""
    pictures = prepared.provider.uploads(prepared.request)
    return {row.sha256: f"(link of the upload of sha256 {row.sha256[:12]}, {row.size_bytes} bytes)" for row in pictures}


async def _main(
    read: Callable[[str], Awaitable[StoredPicture]], reference: str, *, passes_on: bool
) -> StoredPicture | None:
    """Read the control picture; a link that only the provider can follow is passed on unseen where it takes links."""
    try:
        return await read(reference)
    except ImageError:
        if passes_on and reference.startswith("https://"):
            return None
        raise


async def _controls(
    wish: Wish, asks: tuple[Ask, ...], extra_asks: tuple[Ask, ...], pictures: _Pictures, room: MapRoom
) -> tuple[Control, ...]:
    main = [
        Control(
            modality=ask.modality.name,
            picture=pictures.main,
            asset_id=pictures.asset_id,
            source_url=_link(wish.control_image),
            weight=ask.weight,
            is_map=wish.control_is_map,
        )
        for ask in asks
    ]
    extras = [
        Control(
            modality=ask.modality.name,
            picture=picture,
            source_url=_link(extra.image),
            weight=extra.weight,
            start=extra.start,
            end=extra.end,
            is_map=extra.is_map,
        )
        for extra, ask, picture in zip(wish.extra_controls, extra_asks, pictures.extras, strict=True)
    ]
    return tuple([await room.ready(control) for control in (*main, *extras)])


def _link(reference: str | None) -> str | None:
    return reference if reference and reference.startswith("https://") else None


def _request(
    wish: Wish, controls: tuple[Control, ...], pictures: _Pictures, frame: Frame, provider: Provider
) -> GenerationRequest:
    return GenerationRequest(
        prompt=wish.prompt,
        controls=controls,
        negative_prompt=wish.negative_prompt,
        init_image=pictures.init,
        init_url=_link(wish.init_image),
        mask_image=pictures.mask,
        mask_url=_link(wish.mask_image),
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


def _options(wish: Wish, provider: Provider) -> dict[str, object]:
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
