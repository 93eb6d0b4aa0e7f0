"""The interface of a provider, and of its settings."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr

from controlnet_mcp.images.picture import StoredPicture
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

Variables: TypeAlias = Mapping[str, str | SecretStr]
"""The operator's environment as far as it is about providers: variable to text, empty ones left out."""


class ProviderSettings(BaseModel):
    """Keys, addresses and choices of one provider; a field without a default has to be set first.

    The alias of a field is its environment variable. A secret has KEY, SECRET or TOKEN in its name (the contract suite
    holds that), so that secrets can be told apart before an adapter is imported.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The environment variables, in order."""
        return tuple(field.alias or name.upper() for name, field in cls.model_fields.items())

    @classmethod
    def missing(cls, variables: Variables) -> tuple[str, ...]:
        """The variables that have to be set first."""
        rows = zip(cls.variables(), cls.model_fields.values(), strict=True)
        return tuple(name for name, row in rows if row.is_required() and not revealed(variables.get(name, "")))

    @classmethod
    def read(cls, variables: Variables) -> Self:
        """Take the values of the variables.

        Raises:
            ValidationError: A value that makes no sense; it is located by its variable.
        """
        return cls.model_validate({name: revealed(variables[name]) for name in cls.variables() if name in variables})

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The keys."""
        return tuple(value for value in dict(self).values() if isinstance(value, SecretStr))


def prefixed(prefix: str) -> ConfigDict:
    """The configuration of settings whose variables are `PREFIX_FIELD`."""
    return ConfigDict(alias_generator=lambda field: f"{prefix}_{field}".upper())


def revealed(value: str | SecretStr) -> str:
    """The text of a value."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class Provider(ABC):
    """An adapter: pure parts without I/O. The shared sender (`controlnet_mcp.providers.sender`) sends.

    A submission is: uploads (free and safe to repeat, remembered by content), then exactly one call that can cost
    money (`build`), whose reply `read` understands. The other conversations are generators that yield calls and are
    fed replies. Adapters inherit from this class for the defaults of what their provider does not have.
    """

    name: str
    title: str = "The provider"
    """The name that sentences use."""
    settings: type[ProviderSettings] = ProviderSettings
    base_url: str
    capabilities: Capabilities
    options: type[Frozen]
    secrets: tuple[SecretStr, ...] = ()
    further_urls: tuple[str, ...] = ()
    """Places beside `base_url` that the operator configured; every other one is known from a reply only."""

    def __init__(self, settings: ProviderSettings) -> None:  # noqa: B027  # for overriding
        """Take keys and addresses."""

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose what depends on model and modality together, before anything is sent.

        Raises:
            ControlNetError: `unsupported` or `invalid_request` when this provider cannot do it at all.
        """
        return FittedRequest(request=request)

    def takes(self, modality: str, model: str | None, options: Mapping[str, JsonValue]) -> Takes:  # noqa: ARG002  # for overriding
        """Tell whether a modality wants a ready map or a picture, where that depends on the model."""
        return self.capabilities.modalities[modality].takes

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:  # noqa: ARG002  # for overriding
        """The pictures that have to be uploaded before `build`."""
        return ()

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Upload one picture; gives its URL or asset id. Only asked for those of `uploads`."""
        raise NotImplementedError
        yield HttpCall("PUT", picture.sha256)

    @abstractmethod
    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:
        """The exact call that submits; `reference` is ours, unique per job and stored before the call leaves."""

    @abstractmethod
    def read(self, reply: HttpReply) -> Submission:
        """Understand the reply to `build`.

        Raises:
            ProviderError: The provider refused or failed; `delivery` says whether it may have accepted.
        """

    @abstractmethod
    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask how a task stands."""

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Ask whether a submission with our reference was accepted; `None`, which proves nothing, when it is unknown.

        Only asked where `Capabilities.deduplication` is `lookup`.
        """
        return None
        yield HttpCall("GET", reference)

    def locate(self, output: Output) -> Steps[Output]:
        """A finished picture that has no link, with a URL from which it can be fetched now."""
        return output
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
