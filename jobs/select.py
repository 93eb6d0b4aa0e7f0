"""Choosing a provider from what they can do; nothing here knows one by name but the engine that `auto` takes last."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.request import GenerateRequest, RequestedModality
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.providers.types import RequestWarning


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
