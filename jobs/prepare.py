"""The pictures that a wish hands in, read through the one door before anything else is done with them.

The pictures that were handed in for a job, kept with it under names: so that it can be shown and repeated later.

A path, a link or a `data:` URI says little later: files change and links end. The record therefore keeps the wish with
every picture named by the job's own address of it (`controlnet://jobs/{job_id}/sources/{name}`), which belongs to the
job's caller as the job does. What was never read here (an asset of the provider, a link only it can follow) stays as it
was written.

The size of a generation: what was asked for, or the control picture's aspect, inside the provider's limits.

Settings that a provider cannot honour become warnings, never a silent drop.

Repeating a job with changes: what is not said is as it was, on another provider too.

From a wish to a job that is ready to be driven: provider chosen, pictures read, maps made, settings checked.

Choosing a provider from what they can do; nothing here knows one by name but the engine that `auto` takes last.
"""

import difflib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, get_args

from pydantic import JsonValue, ValidationError

from controlnet_mcp.foundation.errors import ControlNetError, ImageError, RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.modalities import Appearance
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.images.resize import fit_size
from controlnet_mcp.jobs.preprocess import OutputSize, Preprocessor
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import GenerateRequest, RequestedModality, parse_extra, parse_modalities
from controlnet_mcp.jobs.resource_uris import source_uri
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import no_public_url
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.providers.types import Control, RequestWarning, ResolvedRequest, Setting, SizeLimits

Read: TypeAlias = Callable[[str], Awaitable[StoredPicture]]
"""Reads a reference with the rights of whoever asks."""


@dataclass(frozen=True, slots=True)
class InputImages:
    """What was read; `main` is `None` when only the provider has the picture or can reach it."""

    main: StoredPicture | None
    asset_id: str | None
    extras: tuple[StoredPicture, ...]
    init: StoredPicture | None
    mask: StoredPicture | None


async def read_pictures(read: Read, wish: GenerateRequest, provider: Provider) -> InputImages:
    """Read all pictures of a wish.

    Raises:
        ControlNetError: One of them cannot be read, or may not be read.
    """
    asset_id = wish.control_image if wish.control_image.startswith("asset_") else None
    links_only = provider.capabilities.needs_public_url
    return InputImages(
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
    wish: GenerateRequest,
    asks: tuple[RequestedModality, ...],
    extra_asks: tuple[RequestedModality, ...],
    pictures: InputImages,
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


CONTROL, START, MASK = "control_image", "init_image", "mask_image"
"""Names of sources, which are those of the wish's fields."""
PICTURES = frozenset({CONTROL, START, MASK, "extra_controls"})
"""The fields of a wish that name pictures."""


def extra_name(index: int) -> str:
    """The name of the picture of a further control, counted from 0."""
    return f"extra_control_{index}"


def sources_of(pictures: InputImages) -> dict[str, StoredPicture]:
    """What was read, by name."""
    extras = {extra_name(index): picture for index, picture in enumerate(pictures.extras)}
    named = {CONTROL: pictures.main, **extras, START: pictures.init, MASK: pictures.mask}
    return {name: picture for name, picture in named.items() if picture is not None}


def kept_request(wish: GenerateRequest, job_id: str, sources: Mapping[str, StoredPicture]) -> GenerateRequest:
    """The wish as it goes into the record: what was read here is named by the job's own addresses."""
    extras = [
        extra.model_copy(update={"image": source_uri(job_id, extra_name(index))})
        for index, extra in enumerate(wish.extra_controls)
    ]
    named = {name: source_uri(job_id, name) for name in (CONTROL, START, MASK) if name in sources}
    return wish.model_copy(update={**named, "extra_controls": extras})


_CROPPED_ASPECT = 1.02
"""Aspects that differ by more than this factor are worth a warning."""


def frame_of(
    wish: GenerateRequest, main: StoredPicture | None, limits: SizeLimits
) -> tuple[OutputSize, list[RequestWarning]]:
    """Settle the size.

    Args:
        wish: May name a width, a height, both or none.
        main: The control picture, whose aspect fills in what is not named.
        limits: The provider's.
    """
    aspect = main.width / main.height if main else 1.0
    asked = _asked(wish, aspect, limits)
    width, height = fit_size(*asked, minimum=limits.minimum, maximum=limits.maximum, multiple=limits.multiple)
    notices: list[RequestWarning] = []
    named = (wish.width or width, wish.height or height)
    if named != (width, height):
        detail = f"{named[0]}x{named[1]} is outside the provider's limits; {width}x{height} is drawn."
        notices.append(RequestWarning(kind="adjusted", feature="width and height", detail=detail))
    return OutputSize(width, height), [
        *notices,
        *fit_warnings("control_image", main, OutputSize(width, height), limits),
    ]


def fit_warnings(
    feature: str, picture: StoredPicture | None, frame: OutputSize, limits: SizeLimits
) -> list[RequestWarning]:
    """What has to be said of a picture that does not fit the frame: that it is cropped, or enlarged."""
    if picture is None:
        return []
    details: list[str] = []
    size = f"({picture.width}x{picture.height})"
    if not 1 / _CROPPED_ASPECT <= (frame.width / frame.height) / (picture.width / picture.height) <= _CROPPED_ASPECT:
        details.append(
            f"The control picture {size} is cropped to the aspect of {frame.width}x{frame.height}. Crop it first, or "
            "give a width and height of its aspect, to choose what stays."
        )
    if min(picture.width, picture.height) < limits.minimum:
        details.append(
            f"The control picture {size} is smaller than the least that the provider draws ({limits.minimum} px a "
            "side): it is enlarged, which adds no structure. Use a larger one if there is one."
        )
    return [RequestWarning(kind="adjusted", feature=feature, detail=detail) for detail in details]


def _asked(wish: GenerateRequest, aspect: float, limits: SizeLimits) -> tuple[int, int]:
    if wish.width and wish.height:
        return wish.width, wish.height
    if wish.width:
        return wish.width, max(1, round(wish.width / aspect))
    if wish.height:
        return max(1, round(wish.height * aspect)), wish.height
    side = limits.preferred
    return max(1, round(side * aspect**0.5)), max(1, round(side / aspect**0.5))


_SETTINGS: tuple[Setting, ...] = get_args(Setting)


def honour(
    request: ResolvedRequest, wish: GenerateRequest, provider: Provider
) -> tuple[ResolvedRequest, list[RequestWarning]]:
    """Leave out what the provider has no place for, and say so.

    Raises:
        RequestError: `invalid_request` when `strength` or `mask_image` is given without what it acts on.
    """
    _check_companions(wish)
    can = provider.capabilities
    lost = [name for name in _SETTINGS if name not in can.settings and getattr(wish, name) is not None]
    notices = [_ignored(name, provider.name) for name in lost]
    blank: dict[str, None] = {name: None for name in lost if name != "seed"}
    if wish.num_images > can.max_images:
        detail = f"{provider.name} draws at most {can.max_images} pictures at once; {wish.num_images} were asked for."
        notices.append(RequestWarning(kind="adjusted", feature="num_images", detail=detail))
    controls = request.controls
    if not can.weights and any(control.weight != 1 for control in controls):
        notices.append(_ignored("weight", provider.name))
    if not can.control_range and any((control.start, control.end) != (0, 1) for control in controls):
        notices.append(_ignored("start and end of extra_controls", provider.name))
    return request.model_copy(update=blank), notices


def _check_companions(wish: GenerateRequest) -> None:
    if wish.strength is not None and wish.init_image is None:
        raise RequestError(
            "invalid_request",
            "strength says how far to leave init_image, but no init_image is given.",
            hint="Give init_image for image-to-image; for the strength of a control write its weight, as in canny:0.6.",
        )
    if wish.mask_image is not None and wish.init_image is None:
        raise RequestError(
            "invalid_request",
            "mask_image says which part of init_image to repaint, but no init_image is given.",
            hint="Give the picture to be repainted as init_image; it may be the same as control_image.",
        )


def _ignored(feature: str, provider: str) -> RequestWarning:
    return RequestWarning(kind="unsupported", feature=feature, detail=f"{provider} has no {feature}; it was left out.")


_OF_THE_PROVIDER = ("model", "scheduler", "provider_options")
"""What means something to one provider only."""
_OF_THE_PICTURE = "control_is_map"
"""What is said of `control_image`, and of no other picture."""
_REMOVABLE: Mapping[str, tuple[str, ...]] = {
    "init_image": ("init_image", "mask_image", "strength"),
    "mask_image": ("mask_image",),
    "negative_prompt": ("negative_prompt",),
    "model": ("model",),
    "scheduler": ("scheduler",),
}
"""What an empty text takes out, with all that means nothing without it."""


def repeated(
    earlier: JobRecord, changes: Mapping[str, JsonValue], *, by_link: bool = False
) -> tuple[GenerateRequest, tuple[RequestWarning, ...]]:
    """The wish of an earlier job with changes.

    It goes to the provider that drew it and with the seed that was used, unless the changes name others. An empty text
    takes out what the earlier job had (a start image, a negative prompt).

    Args:
        earlier: A job of the same caller.
        changes: Fields of `GenerateRequest`, as far as they were given; checked already.
        by_link: Whether the provider only takes links: then the links that the earlier job was given are used again,
            where there were any, and not the pictures that were read from them.

    Returns:
        The wish, and what of the earlier one could not be taken over.

    Raises:
        RequestError: `unsupported` when the record of the job is too old to be repeated.
    """
    if earlier.asked is None:
        raise RequestError(
            "unsupported",
            f"The job {earlier.job_id} was made by a version that did not keep enough to repeat it.",
            hint="Give prompt and control_image without like_job; job_status shows what it was.",
        )
    seed = earlier.request.seed if earlier.seed is None else earlier.seed
    before = earlier.asked.model_dump(mode="json") | {"provider": earlier.provider, "seed": seed}
    before |= _links(earlier) if by_link else {}
    provider = changes.get("provider", earlier.provider)
    lost = [name for name in _OF_THE_PROVIDER if provider != earlier.provider and name not in changes and before[name]]
    if "control_image" in changes:
        before.pop(_OF_THE_PICTURE)
    removed = {name for field, names in _REMOVABLE.items() if changes.get(field) == "" for name in names}
    kept = {name: value for name, value in before.items() if name not in {*lost, *removed}}
    given = {name: value for name, value in changes.items() if not (name in _REMOVABLE and value == "")}
    return GenerateRequest.model_validate(kept | given), tuple(_lost(name, earlier) for name in lost)


def _links(earlier: JobRecord) -> dict[str, str]:
    """The links that pictures were read from, as far as they went to the provider unchanged."""
    request = earlier.request
    links = {"control_image": request.controls[0].source_url, "init_image": request.init_url}
    return {name: link for name, link in (links | {"mask_image": request.mask_url}).items() if link}


def _lost(name: str, earlier: JobRecord) -> RequestWarning:
    detail = (
        f"{name} of the earlier job means something to {earlier.provider} only and was not taken over; "
        f"give {name} for one of the new provider's."
    )
    return RequestWarning(kind="adjusted", feature=name, detail=detail)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may do it, and what to say if it does."""

    provider: Provider
    notices: tuple[RequestWarning, ...] = ()


def candidates(
    wish: GenerateRequest, asks: Sequence[RequestedModality], entries: Sequence[ProviderEntry]
) -> list[Candidate]:
    """Find the providers for a wish, the first choice first; each may still find that its models cannot.

    Args:
        wish: What is asked for.
        asks: Its modalities.
        entries: All providers, in the operator's order.

    Raises:
        RequestError: Nobody of that name, not ready, or nobody can do it; the hint names who can.
    """
    if wish.provider != "auto":
        return [Candidate(_named(wish, asks, entries))]
    ready = [(entry, entry.provider) for entry in entries if entry.provider]
    able = [(entry, provider) for entry, provider in ready if not obstacles(wish, asks, provider)]
    able.sort(key=lambda row: not _fits(wish, row[0]))  # stable: the operator's order stays within each half
    models = [provider for _, provider in able if provider.capabilities.ai_generated]
    if models:
        return [Candidate(provider, (_chosen(provider.name),)) for provider in models]
    if not able or any(provider.capabilities.ai_generated for _, provider in ready):
        raise RequestError(
            "unsupported",
            "No ready provider can do this.",
            hint=" ".join(_why_not(wish, asks, entries)) or "list_modalities shows who can do what.",
        )
    stand_in = able[0][1]
    return [Candidate(stand_in, (_only_draft(stand_in.name, entries),))]


def obstacles(wish: GenerateRequest, asks: Sequence[RequestedModality], provider: Provider) -> list[str]:
    """What keeps a provider from doing this at all, each in a few words; empty when it can."""
    can = provider.capabilities
    count = len(asks) + len(wish.extra_controls)
    missing = [ask.modality.name for ask in asks if ask.modality.name not in can.modalities]
    checks = (
        (bool(missing), f"it has no {' or '.join(missing)}"),
        (count > can.max_controls, f"it takes at most {can.max_controls} control{'s' * (can.max_controls > 1)}"),
        (bool(wish.extra_controls) and not can.picture_per_control, "its controls share one picture"),
        (wish.init_image is not None and "init_image" not in can.settings, "it has no image-to-image"),
        (wish.mask_image is not None and "mask_image" not in can.settings, "it has no inpainting"),
        (wish.control_image.startswith("asset_") and not can.asset_ids, "it has no asset ids"),
    )
    return [reason for failed, reason in checks if failed]


def entry_named(name: str, entries: Sequence[ProviderEntry]) -> ProviderEntry:
    """Find a provider's row.

    Raises:
        RequestError: `invalid_request` when nobody has this name; the nearest is in the hint.
    """
    entry = next((entry for entry in entries if entry.name == name.strip().lower()), None)
    if entry is None:
        names = [row.name for row in entries]
        near = difflib.get_close_matches(name.lower(), names, n=1)
        wish_text = f"Did you mean {near[0]}? " if near else ""
        raise RequestError(
            "invalid_request",
            f"There is no provider called {name[:40]!r}.",
            hint=f"{wish_text}Known: auto, {', '.join(names)}.",
        )
    return entry


def _fits(wish: GenerateRequest, entry: ProviderEntry) -> bool:
    """Whether the wanted sides are inside the provider's limits, so that nothing has to be adjusted."""
    sizes = entry.capabilities.sizes
    return all(sizes.minimum <= side <= sizes.maximum for side in (wish.width, wish.height) if side)


def _named(wish: GenerateRequest, asks: Sequence[RequestedModality], entries: Sequence[ProviderEntry]) -> Provider:
    entry = entry_named(wish.provider, entries)
    if entry.provider is None:
        raise RequestError(
            "not_configured",
            f"The provider {entry.name} is not ready.",
            hint=f"Set {' and '.join(entry.missing)} for the server, or use another provider.",
        )
    reasons = obstacles(wish, asks, entry.provider)
    if reasons:
        able = [row.name for row in entries if row.provider and not obstacles(wish, asks, row.provider)]
        others = f"These can: {', '.join(able)}." if able else "No ready provider can."
        raise RequestError("unsupported", f"{entry.name} cannot do this: {', '.join(reasons)}.", hint=others)
    return entry.provider


def _why_not(wish: GenerateRequest, asks: Sequence[RequestedModality], entries: Sequence[ProviderEntry]) -> list[str]:
    ready = [entry.provider for entry in entries if entry.provider]
    return [f"{provider.name}: {', '.join(obstacles(wish, asks, provider))}." for provider in ready]


def _chosen(name: str) -> RequestWarning:
    detail = f"{name} is the first ready provider, in the operator's order, that can do this."
    return RequestWarning(kind="assumed", feature="provider", detail=detail)


def _only_draft(name: str, entries: Sequence[ProviderEntry]) -> RequestWarning:
    keys = ", ".join(variable for entry in entries for variable in entry.missing[:1])
    to_do = f" Set a key ({keys}) for a real model." if keys else ""
    detail = f"No other provider is ready, so the built-in {name} engine drew this; it is not an AI model.{to_do}"
    return RequestWarning(kind="draft", feature="provider", detail=detail)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A generation with everything settled, and what had to be said on the way."""

    provider: Provider
    request: ResolvedRequest
    warnings: tuple[RequestWarning, ...]
    control_map: StoredPicture | None
    sources: dict[str, StoredPicture]

    def planned_uploads(self) -> dict[str, str]:
        """Placeholders for pictures that would be uploaded first, in a request that is only shown or priced."""
        pictures = self.provider.uploads(self.request)
        return {
            row.sha256: f"(link of the upload of sha256 {row.sha256[:12]}, {row.size_bytes} bytes)" for row in pictures
        }


@dataclass(frozen=True, slots=True)
class Preparer:
    """Prepares wishes; nothing is sent to anybody but reads of the pictures that the caller named."""

    entries: Sequence[ProviderEntry]
    reader: PictureReader
    blobs: BlobStore
    map_models: MapModels = NO_MODELS
    reachable: bool = False
    _appearances: dict[str, Appearance] = field(default_factory=dict[str, Appearance], init=False)

    async def prepare(self, wish: GenerateRequest, *, local_paths: bool, owner: str) -> Prepared:
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
        self,
        candidate: Candidate,
        wish: GenerateRequest,
        asks: tuple[RequestedModality, ...],
        extra_asks: tuple[RequestedModality, ...],
        read: Read,
    ) -> Prepared:
        provider = candidate.provider
        options = _options(wish, provider)
        pictures = await read_pictures(read, wish, provider)
        frame, fitted = frame_of(wish, pictures.main, provider.capabilities.sizes)
        for extra in pictures.extras:
            fitted.extend(fit_warnings("extra_controls", extra, frame, provider.capabilities.sizes))
        room = Preprocessor(provider, self.blobs, frame, wish.model, options, self.map_models, self._appearances)
        controls = [await room.ready(control) for control in controls_of(wish, asks, extra_asks, pictures)]
        request = _request(wish, tuple(controls), pictures, frame, provider).model_copy(update={"options": options})
        request, dropped = honour(request, wish, provider)
        settled = provider.fit(request)
        said = (*candidate.notices, *fitted, *dropped, *room.notices, *settled.warnings)
        warnings = (*said, *self._links(settled.request, provider))
        return Prepared(provider, settled.request, warnings, room.first_map, sources_of(pictures))

    def _links(self, request: ResolvedRequest, provider: Provider) -> list[RequestWarning]:
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


def _request(
    wish: GenerateRequest, controls: tuple[Control, ...], pictures: InputImages, frame: OutputSize, provider: Provider
) -> ResolvedRequest:
    return ResolvedRequest(
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


def _not_checked(provider: str) -> RequestWarning:
    detail = f"The link could not be read from here; it was passed on to {provider} without being checked."
    return RequestWarning(kind="assumed", feature="control_image", detail=detail)


def _options(wish: GenerateRequest, provider: Provider) -> dict[str, JsonValue]:
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
