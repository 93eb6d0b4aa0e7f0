"""The pictures that a wish hands in, read through the one door before anything else is done with them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.controls import Ask
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.values import Control

Read: TypeAlias = Callable[[str], Awaitable[StoredPicture]]
"""Reads a reference with the rights of whoever asks."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What was read; `main` is `None` when only the provider has the picture or can reach it."""

    main: StoredPicture | None
    asset_id: str | None
    extras: tuple[StoredPicture, ...]
    init: StoredPicture | None
    mask: StoredPicture | None


async def read_pictures(read: Read, wish: Wish, provider: Provider) -> HandedIn:
    """Read all pictures of a wish.

    Raises:
        ControlNetError: One of them cannot be read, or may not be read.
    """
    asset_id = wish.control_image if wish.control_image.startswith("asset_") else None
    links_only = provider.capabilities.needs_public_url
    return HandedIn(
        main=None if asset_id else await _main(read, wish.control_image, passes_on=links_only),
        asset_id=asset_id,
        extras=tuple([await read(extra.image) for extra in wish.extra_controls]),
        init=await read(wish.init_image) if wish.init_image else None,
        mask=await read(wish.mask_image) if wish.mask_image else None,
    )


async def _main(read: Read, reference: str, *, passes_on: bool) -> StoredPicture | None:
    """Read the control picture; a link that only the provider can follow is passed on unseen where it takes links.

    A link that may not be followed from here (an address inside, a password) is nobody else's to follow either.
    """
    try:
        return await read(reference)
    except ImageError as error:
        if passes_on and error.code != "image_blocked" and reference.startswith("https://"):
            return None
        raise


def link_of(reference: str | None) -> str | None:
    """The reference when it is a link that somebody else could follow too."""
    return reference if reference and reference.startswith(("https://", "http://")) else None


def controls_of(
    wish: Wish, asks: tuple[Ask, ...], extra_asks: tuple[Ask, ...], pictures: HandedIn
) -> tuple[Control, ...]:
    """The controls as they were asked for, the main ones first."""
    main = [
        Control(
            modality=ask.modality.name,
            picture=pictures.main,
            asset_id=pictures.asset_id,
            source_url=link_of(wish.control_image),
            weight=ask.weight,
            is_map=wish.control_is_map,
        )
        for ask in asks
    ]
    extras = [
        Control(
            modality=ask.modality.name,
            picture=picture,
            source_url=link_of(extra.image),
            weight=ask.weight,
            start=extra.start,
            end=extra.end,
            is_map=extra.is_map,
        )
        for extra, ask, picture in zip(wish.extra_controls, extra_asks, pictures.extras, strict=True)
    ]
    return (*main, *extras)
