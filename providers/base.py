"""The interface of a provider."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue, SecretStr

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall, HttpReply, Steps
from controlnet_mcp.providers.types import (
    Capabilities,
    Cost,
    FittedRequest,
    Frozen,
    ModelInfo,
    Output,
    RemoteTask,
    Report,
    ResolvedRequest,
    Submission,
    Takes,
)

Uploaded = Mapping[str, str]
"""SHA-256 of a picture to what the provider calls it after its upload: a URL or an asset id."""


class Provider(Protocol):
    """An adapter: pure parts without I/O. The shared runner (`controlnet_mcp.providers.sender`) sends.

    A submission is: uploads (free and safe to repeat, remembered by content), then exactly one call that can cost
    money (`build`), whose reply `read` understands. The other conversations are generators that yield calls and are
    fed replies. Adapters inherit from this class for the defaults of what their provider does not have.
    """

    name: str
    base_url: str
    capabilities: Capabilities
    options: type[Frozen]
    secrets: tuple[SecretStr, ...] = ()
    further_urls: tuple[str, ...] = ()
    """Places beside `base_url` that the operator configured; every other one is known from a reply only."""

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose what depends on model and modality together, before anything is sent.

        Raises:
            ControlNetError: `unsupported` or `invalid_request` when this provider cannot do it at all.
        """
        return FittedRequest(request=request)

    def takes(self, modality: str, model: str | None, options: Mapping[str, JsonValue]) -> Takes:  # noqa: ARG002  # for overriding
        """Whether a modality wants a ready map or a picture, where that depends on the model."""
        return self.capabilities.modalities[modality].takes

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:  # noqa: ARG002  # for overriding
        """The pictures that have to be uploaded before `build`."""
        return ()

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Upload one picture; gives its URL or asset id."""
        raise self.lacks("uploads")
        yield HttpCall("PUT", picture.sha256)

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:
        """The exact call that submits; `reference` is ours, unique per job and stored before the call leaves."""
        ...

    def read(self, reply: HttpReply) -> Submission:
        """Understand the reply to `build`.

        Raises:
            ProviderError: The provider refused or failed; `delivery` says whether it may have accepted.
        """
        ...

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask how a task stands."""
        ...

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Ask whether a submission with our reference was accepted; `None`, which proves nothing, when it is unknown.

        Only asked where `Capabilities.deduplication` is `lookup`.
        """
        return None
        yield HttpCall("GET", reference)

    def locate(self, output: Output) -> Steps[str]:
        """The URL from which a finished picture can be fetched now."""
        return output.url or ""
        yield HttpCall("GET", "")

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop a task; `False` when this kind cannot be stopped."""
        return False
        yield HttpCall("POST", task.remote_id)

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Ask what a request would cost; `None` when the provider cannot tell."""
        return None
        yield self.build(request, "", uploaded)

    def balance(self) -> Steps[float | None]:
        """Ask for the credits that are left, by a call that costs nothing; `None` when there is no such call."""
        return None
        yield HttpCall("GET", self.base_url)

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The models that can be asked for now; by default the documented ones."""
        return self.capabilities.models
        yield HttpCall("GET", self.base_url)

    def lacks(self, feature: str) -> ProviderError:
        """The error of a feature that the provider does not have."""
        return ProviderError(
            "unsupported",
            f"{self.name} has no {feature}.",
            provider=self.name,
            hint="list_modalities shows which providers can do what.",
        )
