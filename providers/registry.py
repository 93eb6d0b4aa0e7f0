"""The table of providers: who there is, who is ready, and which variable is missing."""

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from anyio import to_thread
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.base import Provider, Variables
from controlnet_mcp.providers.types import Capabilities

ADAPTERS: dict[str, str] = {
    "scenario": "controlnet_mcp.providers.scenario.adapter:ScenarioProvider",
    "segmind": "controlnet_mcp.providers.segmind.adapter:SegmindProvider",
    "zhiqite": "controlnet_mcp.providers.zhiqite.adapter:ZhiqiteProvider",
    "modelslab": "controlnet_mcp.providers.modelslab.adapter:ModelsLabProvider",
    "wavespeed": "controlnet_mcp.providers.wavespeed.adapter:WaveSpeedProvider",
    "fal": "controlnet_mcp.providers.fal.adapter:FalProvider",
    "draft": "controlnet_mcp.providers.draft.adapter:DraftProvider",
}
"""Every provider, in the default order of `auto`; engines that draw without a model come last."""

NAMES = tuple(ADAPTERS)


def is_provider_variable(name: str) -> bool:
    """Tell whether an environment variable is one of a provider's, by its beginning."""
    return name.startswith(tuple(f"{provider.upper()}_" for provider in ADAPTERS))


def is_secret(name: str) -> bool:
    """Tell whether an environment variable of a provider holds a secret, by its name."""
    return any(word in name for word in ("KEY", "SECRET", "TOKEN"))


def adapter_class(name: str) -> type[Provider]:
    """The class of a provider, imported when it is first asked for."""
    found: type[Provider] = pkgutil.resolve_name(ADAPTERS[name])
    return found


def provider_variables() -> frozenset[str]:
    """The variables of all providers; imports their adapters."""
    return frozenset(variable for name in ADAPTERS for variable in adapter_class(name).settings.variables())


def faults_of(variables: Variables) -> list[tuple[str, str]]:
    """Check what the operator chose beside keys, so that a value without sense is told at the start.

    A provider of which nothing but keys is set is not imported for that.

    Returns:
        The variables that make no sense, each with a sentence of pydantic's.
    """
    faults: list[tuple[str, str]] = []
    others = (name for name in variables if is_provider_variable(name) and not is_secret(name))
    for name in sorted({other.partition("_")[0].lower() for other in others}):
        settings = adapter_class(name).settings
        try:
            settings.read({**dict.fromkeys(settings.missing(variables), "(missing)"), **variables})
        except ValidationError as error:
            faults += [(str(row["loc"][0]), row["msg"]) for row in error.errors(include_input=False)]
    return faults


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """One row of the table.

    Attributes:
        capabilities: What it can do, known even when it is not ready.
        provider: The adapter when everything it needs is set.
        missing: Environment variables that have to be set first.
    """

    name: str
    capabilities: Capabilities
    provider: Provider | None
    missing: tuple[str, ...] = ()


class ProviderTable(Sequence[ProviderEntry]):
    """The rows, each made at the first look at it: a start does not wait for the adapters to be imported."""

    def __init__(self, variables: Variables, names: Sequence[str]) -> None:
        """Take the operator's variables, and the names of the rows in their order."""
        self._variables = variables
        self._names = names
        self._rows: dict[str, ProviderEntry] = {}

    @overload
    def __getitem__(self, index: int) -> ProviderEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ProviderEntry]: ...
    def __getitem__(self, index: int | slice) -> ProviderEntry | Sequence[ProviderEntry]:
        if isinstance(index, slice):
            return [self.row(name) for name in self._names[index]]
        return self.row(self._names[index])

    def __len__(self) -> int:
        return len(self._names)

    async def load(self, *names: str) -> None:
        """Import adapters (all, unless some are named) in a worker thread, so that no look holds up the event loop."""
        absent = [name for name in names or self._names if name in self._names and name not in self._rows]
        if absent:
            await to_thread.run_sync(list, map(self.row, absent))

    def row(self, name: str) -> ProviderEntry:
        """The row of a provider; blocks at the first look at it, unless it was loaded."""
        if name not in self._rows:
            adapter = adapter_class(name)
            missing = adapter.settings.missing(self._variables)
            provider = None if missing else adapter(adapter.settings.read(self._variables))
            self._rows.setdefault(name, ProviderEntry(name, adapter.capabilities, provider, missing))
        return self._rows[name]


def build_table(variables: Variables, order: Sequence[str] = ()) -> ProviderTable:
    """Make the table of all providers; `auto` tries those of `order` first, in this order.

    Raises:
        RequestError: `invalid_request` when the order names an unknown provider.
    """
    unknown = [name for name in order if name not in ADAPTERS]
    if unknown:
        raise RequestError(
            "invalid_request",
            f"CONTROLNET_MCP_PROVIDERS names unknown providers: {', '.join(unknown)}.",
            hint=f"Known: {', '.join(NAMES)}.",
        )
    return ProviderTable(variables, [*order, *(name for name in NAMES if name not in order)])


async def load_adapter(entries: Sequence[ProviderEntry], name: str) -> None:
    """Import the adapter of a provider in a worker thread, unless that was done before."""
    if isinstance(entries, ProviderTable):
        await entries.load(name)


def entry_of(entries: Sequence[ProviderEntry], name: str) -> ProviderEntry | None:
    """The row of a provider; the adapters of others are not imported."""
    if isinstance(entries, ProviderTable):
        return entries.row(name) if name in ADAPTERS else None
    return next((row for row in entries if row.name == name), None)


def ready(entries: Sequence[ProviderEntry], name: str) -> Provider:
    """The adapter of a job's provider.

    Raises:
        RequestError: `not_configured` when it is not ready any more.
    """
    entry = entry_of(entries, name)
    if entry is None or entry.provider is None:
        missing = " and ".join(entry.missing) if entry else "a newer version of this server"
        raise RequestError(
            "not_configured", f"The provider {name} of this job is not ready.", hint=f"It needs {missing}."
        )
    return entry.provider
