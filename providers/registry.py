"""The table of providers: who there is, who is ready, and which variable is missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.capabilities import Capabilities
from controlnet_mcp.providers.configuration import ProviderSettings
from controlnet_mcp.providers.draft.adapter import DraftProvider


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table.

    Attributes:
        name: Short name, as in `provider=`.
        capabilities: What it can do, known even when it is not ready.
        provider: The adapter when everything it needs is set.
        missing: Environment variables that have to be set first.
    """

    name: str
    capabilities: Capabilities
    provider: Provider | None
    missing: tuple[str, ...] = ()


_FACTORIES: Mapping[str, Callable[[ProviderSettings], Entry]] = {
    "draft": lambda _settings: Entry("draft", DraftProvider.capabilities, DraftProvider()),
}
"""Every provider, in the default order of `auto`; engines that draw without a model come last."""

NAMES = tuple(_FACTORIES)


def build_table(settings: ProviderSettings, order: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Make the adapters of all providers.

    Args:
        settings: Keys and base URLs.
        order: Names that `auto` tries first, in this order.

    Raises:
        RequestError: `invalid_request` when the order names an unknown provider.
    """
    unknown = [name for name in order if name not in _FACTORIES]
    if unknown:
        raise RequestError(
            "invalid_request",
            f"CONTROLNET_MCP_PROVIDERS names unknown providers: {', '.join(unknown)}.",
            hint=f"Known: {', '.join(NAMES)}.",
        )
    names = [*order, *(name for name in NAMES if name not in order)]
    return tuple(_FACTORIES[name](settings) for name in names)


def ready(entries: Sequence[Entry], name: str) -> Provider:
    """The adapter of a job's provider.

    Raises:
        RequestError: `not_configured` when it is not ready any more.
    """
    entry = next((row for row in entries if row.name == name), None)
    if entry is None or entry.provider is None:
        missing = " and ".join(entry.missing) if entry else "a newer version of this server"
        raise RequestError(
            "not_configured", f"The provider {name} of this job is not ready.", hint=f"It needs {missing}."
        )
    return entry.provider
