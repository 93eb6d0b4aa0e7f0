"""The interface of a provider."""

from typing import Protocol

from controlnet_mcp.providers.capabilities import Capabilities
from controlnet_mcp.providers.values import Cost, Frozen, GenerationRequest, RemoteTask, Report, Submission
from controlnet_mcp.providers.wire import HttpCall, Steps


class Provider(Protocol):
    """An adapter: three pure parts and no I/O. The shared runner (`controlnet_mcp.providers.runner`) sends."""

    @property
    def name(self) -> str:
        """Short lower-case name, as in `provider=`."""
        ...

    @property
    def base_url(self) -> str:
        """Configured origin and path; replies' URLs of the same origin are trusted like it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def options(self) -> type[Frozen]:
        """The model of `provider_options`; unknown names are refused."""
        ...

    def build(self, request: GenerationRequest, reference: str) -> HttpCall:
        """The exact submission; `reference` is ours, unique per job and stored before the call leaves."""
        ...

    def submit(self, request: GenerationRequest, reference: str) -> Steps[Submission]:
        """Submit, uploads included."""
        ...

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask how a task stands."""
        ...

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop a task; `False` when this kind cannot be stopped."""
        ...

    def price(self, request: GenerationRequest) -> Steps[Cost | None]:
        """Ask what a request would cost; `None` when the provider cannot tell."""
        ...
