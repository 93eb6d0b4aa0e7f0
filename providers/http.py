"""Calls with placeholders and replies, as they pass between an adapter and the one sender.

An adapter never touches bytes of pictures or the text of a secret. It puts `PictureData` and `SecretStr` leaves into
its calls; the sender fills them in at the socket, and a dry run shows them abbreviated.
"""

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, RootModel, SecretStr, ValidationError

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError

PictureForm: TypeAlias = Literal["data_url", "base64", "bytes", "public_url"]


@dataclass(frozen=True, slots=True)
class PictureData:
    """Stands for the bytes of a stored picture until the call is sent.

    Attributes:
        picture: The picture in the blob store.
        form: How it is written: a `data:` URL, plain base64, raw bytes (only as a whole body), or a signed link to
            this server's own `/files/`.
    """

    picture: StoredPicture
    form: PictureForm = "data_url"


MAX_JSON_BYTES = 4 * 1024 * 1024
"""Room for the longest list of models that a vendor has."""
MAX_PICTURES_BYTES = 96 * 1024 * 1024
"""Room for four pictures as base64 inside JSON."""

Leaf: TypeAlias = "bool | int | float | str | SecretStr | PictureData | None"
Body: TypeAlias = "list[Body] | dict[str, Body] | Leaf"
"""JSON with placeholders."""


def holds(body: Body, kind: type[SecretStr | PictureData]) -> bool:
    """Tell whether there is a placeholder of a kind anywhere inside."""
    match body:
        case list():
            return any(holds(item, kind) for item in body)
        case dict():
            return any(holds(item, kind) for item in body.values())
        case _:
            return isinstance(body, kind)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request as an adapter wants it sent.

    Attributes:
        url: Absolute URL.
        json: Body to be sent as JSON; `content` is one to be sent as it is.
        timeout_seconds: How long to wait for the reply.
        submits: Whether this call can cost money: it is never repeated unless it provably was not accepted.
        max_reply_bytes: Longest reply that is read: `MAX_JSON_BYTES`, or `MAX_PICTURES_BYTES` where it may hold them.
    """

    method: str
    url: str
    headers: Mapping[str, str | SecretStr] = field(default_factory=dict[str, str | SecretStr])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    json: Body = None
    content: PictureData | None = None
    timeout_seconds: float = 60.0
    submits: bool = False
    max_reply_bytes: int = MAX_JSON_BYTES


class _Json(RootModel[JsonValue]):
    model_config = ConfigDict(defer_build=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply of a provider.

    Attributes:
        headers: Header fields, names in lower case.
        body: Bytes of the body, bounded by the sender.
        title: The provider's name in sentences; empty stands for its short name.
    """

    provider: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    title: str = ""

    def json(self) -> JsonValue:
        """Read the body as JSON of any shape, with the errors of `read`."""
        return self.read(_Json).root

    def read(self, model: type[ModelT]) -> ModelT:
        """Read the body as a model; unknown fields are tolerated, missing ones are not.

        Raises:
            ProviderError: `provider_failed`, delivery unknown, quoting what came.
        """
        try:
            return model.model_validate_json(self.body)
        except ValidationError as error:
            raise ProviderError(
                "provider_failed",
                f"{self.title or self.provider} answered HTTP {self.status} with something that was not expected.",
                provider=self.provider,
                hint="Check the provider's base URL and proxies in between; otherwise try again later.",
                delivery="unknown",
                retryable=True,
                provider_message=self.text,
            ) from error

    def read_if(self, model: type[ModelT]) -> ModelT | None:
        """Read the body as a model; `None` when it is something else."""
        with suppress(ValidationError):
            return model.model_validate_json(self.body)
        return None

    @property
    def text(self) -> str:
        """The start of the body as text, whatever it is."""
        return self.body[:2000].decode("utf-8", "replace")


ResultT = TypeVar("ResultT")
Steps: TypeAlias = Generator[HttpCall, HttpReply, ResultT]
"""A conversation without I/O: the adapter yields calls and is fed replies, and returns what it learned."""
