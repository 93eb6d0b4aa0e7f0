"""From a request to a job that is ready to be driven: provider chosen, pictures read, maps made, settings checked.

`Preparer.prepare` is the way, top down; what it uses stands below it in the order of use. Nothing here knows a provider
by name: everything follows from their capabilities.
"""

import difflib
import re
import secrets
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast, get_args
from urllib.parse import urlsplit

from pydantic import JsonValue, ValidationError

from controlnet_mcp.foundation.arguments import EVERYTHING, USUAL, Fault, loosened, several
from controlnet_mcp.foundation.errors import ControlNetError, RequestError, UnreachedError
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import ReadPicture
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.modalities import Appearance
from controlnet_mcp.images.picture import StoredPicture, Use
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.images.references import EXTRA_CHARACTERS, parse
from controlnet_mcp.images.resize import fit_size
from controlnet_mcp.jobs.preprocess import OutputSize, Preprocessor
from controlnet_mcp.jobs.request import (
    CONTROL,
    MASK,
    PICTURES,
    START,
    GenerateRequest,
    RequestedModality,
    extra_name,
    lone_settings,
    parse_extras,
    parse_modalities,
    reading_notes,
)
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import no_public_url
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.providers.types import Control, RequestWarning, ResolvedRequest, Setting, SizeLimits

_ANY = USUAL | EVERYTHING | {"best"}
"""Words that leave the provider to be chosen."""
_MOST_TOLD = 1000
"""Most characters about options that are not right."""
_CROPPED_ASPECT = 1.02
"""Aspects that differ by more than this factor are worth a warning."""
_SETTINGS: tuple[Setting, ...] = get_args(Setting)


class Read(Protocol):
    """Reads a reference with the rights of whoever asks, see `controlnet_mcp.images.read.PictureReader.read`."""

    async def __call__(self, reference: str, *, use: Use = ..., frame: StoredPicture | None = ...) -> ReadPicture:
        """Read one picture."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent, and what came about on the way.

    Attributes:
        control_map: The first map that was made.
        sources: The pictures that were read, by name.
    """

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
    """Prepares requests; nothing is sent to anybody but reads of the pictures that the caller named.

    Attributes:
        entries: All providers, in the operator's order.
        reachable: Whether providers can fetch pictures from this server.
    """

    entries: Sequence[ProviderEntry]
    reader: PictureReader
    blobs: BlobStore
    map_models: MapModels = NO_MODELS
    reachable: bool = False
    _appearances: dict[str, Appearance] = field(default_factory=dict[str, Appearance], init=False)

    def outline(self, asked: GenerateRequest) -> tuple[list[Provider], ResolvedRequest]:
        """The providers for a request, the first choice first, and what it says of the job before a picture is read.

        Raises:
            RequestError: What is wrong whatever the pictures are.
        """
        modalities, extras = _modalities(asked)
        providers = [provider for provider, _ in select_providers(asked, (*modalities, *extras), self.entries)]
        size, _ = output_size(asked, {}, providers[0].capabilities.sizes)
        return providers, ResolvedRequest(
            prompt=asked.prompt,
            controls=tuple(requested_controls(asked, modalities, extras, {}, {})),
            model=asked.model,
            width=size.width,
            height=size.height,
            num_images=asked.num_images,
            seed=_seed(asked),
        )

    async def prepare(
        self, asked: GenerateRequest, *, local_paths: bool, owner: str, roots: Sequence[Path] = ()
    ) -> Prepared:
        """Prepare a request for the first provider that can do it.

        It may name the owner's `controlnet://` references, and with `local_paths` files of this machine, also below the
        `roots` of the caller's client.

        Raises:
            ControlNetError: What no attempt could make right, before anything is sent.
        """
        modalities, extras = _modalities(asked)
        read = partial(self.reader.read, local_paths=local_paths, owner=owner, roots=roots)
        refusal: ControlNetError | None = None
        for provider, chosen in select_providers(asked, (*modalities, *extras), self.entries):
            if refusal and options_fault(provider.name, asked.provider_options, self.entries):
                continue  # the options were another one's, whose refusal counts
            try:
                prepared = await self._prepare_for(provider, asked, modalities, extras, read)
            except ControlNetError as error:
                if error.code != "unsupported":
                    raise
                refusal = refusal or error
            else:
                notes = reading_notes((*modalities, *extras))
                return replace(prepared, warnings=(*chosen, *notes, *prepared.warnings))
        raise refusal or RequestError("unsupported", "No ready provider can do this.")

    async def _prepare_for(
        self,
        provider: Provider,
        asked: GenerateRequest,
        modalities: Sequence[RequestedModality],
        extras: Sequence[RequestedModality],
        read: Read,
    ) -> Prepared:
        """Prepare a request for one provider."""
        options = options_for(provider, asked.provider_options)
        shared = {
            name: link
            for name, reference in asked.pictures.items()
            if (link := shared_link(reference, self.reader.trusted_hosts))
        }
        passed_on = shared if provider.capabilities.needs_public_url else ()
        pictures = await read_images(read, asked, modalities, extras, passed_on)
        images = {name: row.picture for name, row in pictures.items()}
        # a provider that takes nothing but links and cannot reach this server is handed the link all the same
        only_links = provider.capabilities.needs_public_url and not self.reachable
        changed = [name for name, row in pictures.items() if row.changed and not only_links]
        links = {name: link for name, link in shared.items() if name not in changed}
        size, warnings = output_size(asked, images, provider.capabilities.sizes)
        warnings += reading_warnings(pictures)
        preprocessor = Preprocessor(
            provider, self.blobs, size, asked.model, options, self.map_models, self._appearances
        )
        requested = requested_controls(asked, modalities, extras, images, links)
        controls = tuple([await preprocessor.ready(control) for control in requested])
        request = ResolvedRequest(
            prompt=asked.prompt,
            controls=controls,
            negative_prompt=asked.negative_prompt,
            init_image=images.get(START),
            init_url=links.get(START),
            mask_image=images.get(MASK),
            mask_url=links.get(MASK),
            strength=asked.strength,
            model=asked.model,
            width=size.width,
            height=size.height,
            num_images=min(asked.num_images, provider.capabilities.max_images),
            steps=asked.steps,
            guidance=asked.guidance,
            scheduler=asked.scheduler,
            seed=_seed(asked),
            options=options,
        )
        request, ignored = unsupported_settings(request, asked, provider)
        fitted = provider.fit(request)
        warnings += [*ignored, *preprocessor.warnings, *fitted.warnings]
        if provider.capabilities.needs_public_url:
            sent = [control.source_url for control in fitted.request.controls]
            sent += [links.get(name) for name in (START, MASK) if name in images]
            if only_links and None in sent:
                raise no_public_url(provider.name)
            detail = f"The link could not be read from here; it was passed on to {provider.name} without being checked."
            unread = {_feature(name): None for name in shared if name not in images}
            warnings += [RequestWarning(kind="assumed", feature=feature, detail=detail) for feature in unread]
        return Prepared(provider, fitted.request, tuple(warnings), preprocessor.first_map, images)


def _modalities(asked: GenerateRequest) -> tuple[Sequence[RequestedModality], Sequence[RequestedModality]]:
    """The modalities of the control picture and those of the further ones; what makes no sense alone is an error."""
    for fault in lone_settings({name: getattr(asked, name) for name in (START, MASK, "strength")}):
        raise fault
    return parse_modalities(asked.modality), parse_extras(asked.extra_controls)


def _seed(asked: GenerateRequest) -> int:
    return secrets.randbelow(2**31) if asked.seed is None else asked.seed


def options_for(provider: Provider, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The provider's own options, checked and with their defaults.

    Raises:
        RequestError: `invalid_request` that names every option that is not right.
    """
    try:
        read = provider.options.model_validate(loosened(provider.options, given))
    except ValidationError as error:
        hint = f"{provider.name} knows: {', '.join(provider.options.model_fields) or 'no options'}."
        rows = [("provider_options." + ".".join(map(str, row["loc"])), row["msg"]) for row in error.errors()]
        told = [f"{shortened(where)} is not right for {provider.name}: {why}." for where, why in rows]
        raise several([Fault("", sentence, hint) for sentence in told]) from error
    return read.model_dump(mode="json")


def options_fault(provider: object, options: object, context: object) -> RequestError | None:
    """The refusal of options by the provider that a call names, if it is one of the `context`'s, and ready."""
    entries = cast("Sequence[ProviderEntry]", context or ())
    entry = _entry(provider, entries) if isinstance(provider, str) else None
    if entry is None or entry.provider is None or not isinstance(options, dict):
        return None
    try:
        options_for(entry.provider, cast("dict[str, JsonValue]", options))
    except RequestError as error:
        return error
    return None


def select_providers(
    asked: GenerateRequest, modalities: Sequence[RequestedModality], entries: Sequence[ProviderEntry]
) -> list[tuple[Provider, tuple[RequestWarning, ...]]]:
    """Find the providers for a request, the first choice first, each with the warnings that go with the choice.

    Entries are in the operator's order. Each provider may still find that its models cannot do it.

    Raises:
        RequestError: Nobody of that name, not ready, or nobody can do it; the hint names who can.
    """
    ready = [(entry, entry.provider) for entry in entries if entry.provider]
    able = [(entry, provider) for entry, provider in ready if not obstacles(asked, modalities, provider)]
    if asked.provider != "auto":
        entry = entry_named(asked.provider, entries)
        if entry.provider is None:
            raise RequestError(
                "not_configured",
                f"The provider {entry.name} is not ready.",
                hint=f"Set {' and '.join(entry.missing)} for the server, or use another provider.",
            )
        if reasons := obstacles(asked, modalities, entry.provider):
            others = f"These can: {', '.join(row.name for row, _ in able)}." if able else "No ready provider can."
            raise RequestError("unsupported", f"{entry.name} cannot do this: {', '.join(reasons)}.", hint=others)
        return [(entry.provider, ())]
    sides = [side for side in (asked.width, asked.height) if side]

    def is_adjusted(row: tuple[ProviderEntry, Provider]) -> bool:
        sizes = row[0].capabilities.sizes
        return not all(sizes.minimum <= side <= sizes.maximum for side in sides)

    able.sort(key=is_adjusted)  # stable: the operator's order stays within each half
    models = [provider for _, provider in able if provider.capabilities.ai_generated]
    if models:
        detail = "is the first ready provider, in the operator's order, that can do this."
        return [
            (row, (RequestWarning(kind="assumed", feature="provider", detail=f"{row.name} {detail}"),))
            for row in models
        ]
    if not able or any(provider.capabilities.ai_generated for _, provider in ready):
        reasons = [f"{row.name}: {', '.join(obstacles(asked, modalities, row))}." for _, row in ready]
        hint = " ".join(reasons) or "list_modalities shows who can do what."
        raise RequestError("unsupported", "No ready provider can do this.", hint=hint)
    name = able[0][1].name
    keys = ", ".join(variable for entry in entries for variable in entry.missing[:1])
    to_do = f" Set a key ({keys}) for a real model." if keys else ""
    detail = f"No other provider is ready, so the built-in {name} engine drew this; it is not an AI model.{to_do}"
    return [(able[0][1], (RequestWarning(kind="draft", feature="provider", detail=detail),))]


def obstacles(asked: GenerateRequest, modalities: Sequence[RequestedModality], provider: Provider) -> list[str]:
    """The reasons why a provider cannot do this at all, each in a few words; empty when it can."""
    can = provider.capabilities
    count = len(modalities)
    missing = [row.modality.name for row in modalities if row.modality.name not in can.modalities]
    checks = (
        (bool(missing), f"it has no {' or '.join(missing)}"),
        (count > can.max_controls, f"it takes at most {can.max_controls} control{'s' * (can.max_controls > 1)}"),
        (bool(asked.extra_controls) and not can.picture_per_control, "its controls share one picture"),
        (asked.init_image is not None and "init_image" not in can.settings, "it has no image-to-image"),
        (asked.mask_image is not None and "mask_image" not in can.settings, "it has no inpainting"),
        (asked.asset_id is not None and not can.asset_ids, "it has no asset ids"),
    )
    return [reason for failed, reason in checks if failed]


def is_any(provider: str | None) -> bool:
    """Tell whether a provider is left to be chosen."""
    return provider is None or provider.strip().lower() in _ANY


def entry_named(name: str, entries: Sequence[ProviderEntry]) -> ProviderEntry:
    """Find a provider's row by its name, in any case and also as its web address is written (`fal.ai`).

    Raises:
        RequestError: `invalid_request` when nobody has this name; the nearest is in the hint.
    """
    entry = _entry(name, entries)
    if entry is None:
        names = [row.name for row in entries]
        near = difflib.get_close_matches(name.lower(), names, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise RequestError(
            "invalid_request",
            f"There is no provider called {name[:40]!r}.",
            hint=f"{meant}Known: auto, {', '.join(names)}.",
        )
    return entry


def _entry(name: str, entries: Sequence[ProviderEntry]) -> ProviderEntry | None:
    key = re.sub("[^a-z0-9]", "", name.lower())
    keys = {key, *(key.removesuffix(ending) for ending in ("ai", "com", "api"))}
    return next((entry for entry in entries if entry.name in keys), None)


def reading_warnings(pictures: Mapping[str, ReadPicture]) -> list[RequestWarning]:
    """The warnings about how pictures were taken, by the parameters that name them."""
    return [
        RequestWarning(kind="assumed", feature=_feature(name), detail=note)
        for name, row in pictures.items()
        for note in row.notes
    ]


async def read_images(
    read: Read,
    asked: GenerateRequest,
    modalities: Sequence[RequestedModality],
    extras: Sequence[RequestedModality],
    passed_on: Container[str],
) -> dict[str, ReadPicture]:
    """Read the pictures of a request, by name; without those `passed_on` by link that only the provider can reach.

    What was reached and is no picture is not passed on, nor a link that may not be followed from here (an address
    inside, a password): it is nobody else's to follow either.

    Raises:
        ControlNetError: Those that cannot be read, or may not be read; one that cannot be reached is the last.
    """
    uses: dict[str, Use] = {extra_name(index): row.use for index, row in enumerate(extras)}
    uses |= {CONTROL: "depth" if any(row.use == "depth" for row in modalities) else "picture", MASK: "mask"}
    images: dict[str, ReadPicture] = {}
    faults: dict[str, ControlNetError] = {}
    for name, reference in asked.pictures.items():
        frame = images[START].picture if name == MASK and START in images else None
        try:
            images[name] = await read(reference, use=uses.get(name, "picture"), frame=frame)
        except ControlNetError as error:
            is_unreached = isinstance(error, UnreachedError)
            if not (is_unreached and name in passed_on):
                faults[name] = error
                if is_unreached:
                    break  # nobody waits for the next one, too
    if not faults:
        return images
    first, *others = faults.values()
    if not others:
        raise first
    told = "; ".join(f"{name}: {fault.message.removesuffix('.')}" for name, fault in faults.items())
    hints = dict.fromkeys(fault.hint for fault in faults.values())
    raise ControlNetError(
        first.code,
        f"{len(faults)} pictures cannot be read: {shortened(told, _MOST_TOLD)}.",
        hint=shortened(" ".join(hints), _MOST_TOLD),
        retryable=all(fault.retryable for fault in faults.values()),
    )


def requested_controls(
    asked: GenerateRequest,
    modalities: Sequence[RequestedModality],
    extras: Sequence[RequestedModality],
    images: Mapping[str, StoredPicture],
    links: Mapping[str, str],
) -> list[Control]:
    """The controls as they were asked for: one for each modality of the control picture, then the further ones.

    Their pictures are those that were read, and the links that a provider may follow, by name.
    """
    main = [
        Control(
            modality=row.modality.name,
            word=row.word,
            picture=images.get(CONTROL),
            asset_id=asked.asset_id,
            source_url=links.get(CONTROL),
            weight=row.weight,
            is_map=asked.control_is_map,
        )
        for row in modalities
    ]
    further = [
        Control(
            modality=row.modality.name,
            word=row.word,
            picture=images.get(extra_name(index)),
            source_url=links.get(extra_name(index)),
            weight=row.weight,
            start=extra.start,
            end=extra.end,
            is_map=extra.is_map,
        )
        for index, (extra, row) in enumerate(zip(asked.extra_controls, extras, strict=True))
    ]
    return main + further


def shared_link(reference: str, trusted_hosts: frozenset[str]) -> str | None:
    """The link that a reference names, when a provider may be handed it: https, to a public host.

    A host that the operator vouches for may be inside of their network: its name and paths are nobody's outside.
    """
    named = parse(reference[:EXTRA_CHARACTERS])
    if named.kind not in {"link", "signed"} or not named.text.lower().startswith("https://"):
        return None
    from controlnet_mcp.images.ssrf_guard import is_trusted, looks_public

    try:
        link = urlsplit(named.text)
        host, port = link.hostname or "", link.port or 443
    except ValueError:
        return None
    return named.text if looks_public(host) and not is_trusted(host, port, trusted_hosts) else None


def _feature(name: str) -> str:
    """The parameter that names a picture."""
    return name if name in PICTURES else "extra_controls"


def output_size(
    asked: GenerateRequest, images: Mapping[str, StoredPicture], limits: SizeLimits
) -> tuple[OutputSize, list[RequestWarning]]:
    """Choose the size: what is asked for, the rest by the control picture's aspect, inside the provider's limits."""
    main = images.get(CONTROL)
    aspect = main.width / main.height if main else 1.0
    if asked.width:
        wanted = asked.width, asked.height or max(1, round(asked.width / aspect))
    elif asked.height:
        wanted = max(1, round(asked.height * aspect)), asked.height
    else:
        wanted = max(1, round(limits.preferred * aspect**0.5)), max(1, round(limits.preferred / aspect**0.5))
    width, height = fit_size(*wanted, minimum=limits.minimum, maximum=limits.maximum, multiple=limits.multiple)
    warnings: list[RequestWarning] = []
    named = (asked.width or width, asked.height or height)
    if named != (width, height):
        detail = f"{named[0]}x{named[1]} is outside the provider's limits; {width}x{height} is drawn."
        warnings.append(RequestWarning(kind="adjusted", feature="width and height", detail=detail))
    size = OutputSize(width, height)
    for name, picture in images.items():
        if name not in {START, MASK}:
            warnings.extend(fit_warnings(_feature(name), picture, size, limits))
    return size, warnings


def fit_warnings(feature: str, picture: StoredPicture, output: OutputSize, limits: SizeLimits) -> list[RequestWarning]:
    """The warnings about a picture that does not fit the size: that it is cropped, or enlarged."""
    details: list[str] = []
    size = f"({picture.width}x{picture.height})"
    if not 1 / _CROPPED_ASPECT <= (output.width / output.height) / (picture.width / picture.height) <= _CROPPED_ASPECT:
        details.append(
            f"The control picture {size} is cropped to the aspect of {output.width}x{output.height}. Crop it first, or "
            "give a width and height of its aspect, to choose what stays."
        )
    if min(picture.width, picture.height) < limits.minimum:
        details.append(
            f"The control picture {size} is smaller than the least that the provider draws ({limits.minimum} px a "
            "side): it is enlarged, which adds no structure. Use a larger one if there is one."
        )
    return [RequestWarning(kind="adjusted", feature=feature, detail=detail) for detail in details]


def unsupported_settings(
    request: ResolvedRequest, asked: GenerateRequest, provider: Provider
) -> tuple[ResolvedRequest, list[RequestWarning]]:
    """Leave settings out that the provider has no place for, and say so; never a silent drop."""
    can, controls = provider.capabilities, request.controls
    dropped = [name for name in _SETTINGS if name not in can.settings and getattr(asked, name) is not None]
    features: list[str] = [*dropped]
    if not can.weights and any(control.weight != 1 for control in controls):
        features.append("weight")
    if not can.control_range and any((control.start, control.end) != (0, 1) for control in controls):
        features.append("start and end of extra_controls")
    warnings = [
        RequestWarning(kind="unsupported", feature=name, detail=f"{provider.name} has no {name}; it was left out.")
        for name in features
    ]
    if asked.num_images > can.max_images:
        detail = f"{provider.name} draws at most {can.max_images} pictures at once; {asked.num_images} were asked for."
        warnings.insert(len(dropped), RequestWarning(kind="adjusted", feature="num_images", detail=detail))
    return request.model_copy(update={name: None for name in dropped if name != "seed"}), warnings
