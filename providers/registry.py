"""The table of providers: who there is, who is ready, and which variable is missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from anyio import to_thread

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.configuration import ProviderSettings
from controlnet_mcp.providers.types import Capabilities


@dataclass(frozen=True, slots=True)
class ProviderEntry:
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


def _hosted(
    name: str,
    capabilities: Capabilities,
    make: Callable[[ProviderSettings], Provider],
    settings: ProviderSettings,
    missing: tuple[str, ...],
) -> ProviderEntry:
    return ProviderEntry(name, capabilities, None if missing else make(settings), missing)


def _draft(_settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.draft.adapter import DraftProvider

    return ProviderEntry("draft", DraftProvider.capabilities, DraftProvider())


def _scenario(settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.scenario.adapter import CAPABILITIES, ScenarioProvider, missing

    return _hosted("scenario", CAPABILITIES, ScenarioProvider, settings, missing(settings))


def _segmind(settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.segmind.adapter import CAPABILITIES, SegmindProvider, missing

    return _hosted("segmind", CAPABILITIES, SegmindProvider, settings, missing(settings))


def _zhiqite(settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.zhiqite.adapter import CAPABILITIES, ZhiqiteProvider, missing

    return _hosted("zhiqite", CAPABILITIES, ZhiqiteProvider, settings, missing(settings))


def _modelslab(settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.modelslab.adapter import CAPABILITIES, ModelsLabProvider, missing

    return _hosted("modelslab", CAPABILITIES, ModelsLabProvider, settings, missing(settings))


def _wavespeed(settings: ProviderSettings) -> ProviderEntry:
    from controlnet_mcp.providers.wavespeed.adapter import CAPABILITIES, WaveSpeedProvider, missing

    return _hosted("wavespeed", CAPABILITIES, WaveSpeedProvider, settings, missing(settings))


_FACTORIES: Mapping[str, Callable[[ProviderSettings], ProviderEntry]] = {
    "scenario": _scenario,
    "segmind": _segmind,
    "zhiqite": _zhiqite,
    "modelslab": _modelslab,
    "wavespeed": _wavespeed,
    "draft": _draft,
}
"""Every provider, in the default order of `auto`; engines that draw without a model come last."""

NAMES = tuple(_FACTORIES)


class ProviderTable(Sequence[ProviderEntry]):
    """The rows, made at the first look: a start does not wait for the adapters to be imported."""

    def __init__(self, settings: ProviderSettings, names: Sequence[str]) -> None:
        """Take keys and base URLs, and the names of the rows in their order."""
        self._settings = settings
        self._names = names

    @overload
    def __getitem__(self, index: int) -> ProviderEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ProviderEntry]: ...
    def __getitem__(self, index: int | slice) -> ProviderEntry | Sequence[ProviderEntry]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._names)

    async def load(self) -> None:
        """Import the adapters in a worker thread, so that the first look does not hold up the event loop."""
        if "_rows" not in self.__dict__:
            await to_thread.run_sync(lambda: self._rows)

    @cached_property
    def _rows(self) -> tuple[ProviderEntry, ...]:
        return tuple(_FACTORIES[name](self._settings) for name in self._names)


def build_table(settings: ProviderSettings, order: Sequence[str] = ()) -> ProviderTable:
    """Make the table of all providers.

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
    return ProviderTable(settings, [*order, *(name for name in NAMES if name not in order)])


def ready(entries: Sequence[ProviderEntry], name: str) -> Provider:
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
