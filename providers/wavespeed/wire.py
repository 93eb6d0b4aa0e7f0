"""What WaveSpeed answers: an envelope with a code of its own, around predictions, tickets, prices and balances.

Only an id and a status are needed to understand a prediction; a field that comes in another type counts as missing,
because none of that may cost a picture that was paid for.
"""

import base64
import binascii
import math
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.picture import recognise
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import Output

SYNC_WAIT_ENDED = 5004
"""`data.code` of a submission that was held open too long: the task goes on (wavespeed 2.0.5, api/client.py)."""


def _number(value: object) -> float | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _whole(value: object) -> int | None:
    read = _number(value)
    return None if read is None else int(read)


def _text(value: JsonValue) -> str:
    """A sentence, also when it stands inside an object; anything else counts as nothing said."""
    if isinstance(value, dict):
        return next((told for name in ("message", "error", "detail") if isinstance(told := value.get(name), str)), "")
    return value if isinstance(value, str) else ""


Number: TypeAlias = Annotated[float | None, BeforeValidator(_number)]
Whole: TypeAlias = Annotated[int | None, BeforeValidator(_whole)]
Text: TypeAlias = Annotated[str, BeforeValidator(_text)]


class _Wire(BaseModel):
    """Replies may gain fields, and ids may come as numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Envelope(_Wire):
    """What is around every answer; `code` repeats the HTTP status, or contradicts it."""

    code: Whole = None
    error_code: Whole = None
    message: Text = ""


class Prediction(_Wire):
    """A task: `code` and `error` say why it failed."""

    id: str = Field(min_length=1)
    status: Text = ""
    outputs: JsonValue = None
    has_nsfw_contents: JsonValue = None
    error: Text = ""
    code: Whole = None

    @property
    def sync_wait_ended(self) -> bool:
        """Whether only the waiting inside the submission ended, while the task goes on."""
        return self.code == SYNC_WAIT_ENDED or "sync mode timed out" in self.error.lower()

    @property
    def pictures(self) -> tuple[Output, ...]:
        """The finished pictures in order, each with what the safety filter says of it."""
        outputs = self.outputs if isinstance(self.outputs, list) else []
        flags = self.has_nsfw_contents if isinstance(self.has_nsfw_contents, list) else []
        marked = (index < len(flags) and flags[index] is True for index in range(len(outputs)))
        pairs = zip(outputs, marked, strict=True)
        return tuple(picture for output, flagged in pairs if (picture := _output(output, flagged=flagged)))


class PredictionReply(Envelope):
    """A submission's receipt, or how a task stands."""

    data: Prediction


class UploadInstruction(_Wire):
    """Where the bytes of an upload go, and with which header fields."""

    method: str
    url: str
    headers: dict[str, str] = {}


class Ticket(_Wire):
    """Leave to upload one file, and the link under which it can then be used."""

    upload: UploadInstruction
    download_url: str


class TicketReply(Envelope):
    """The answer to the wish to upload."""

    data: Ticket


class Price(_Wire):
    """What a request would cost, as either path tells it, in US dollars unless it names a currency (unverified)."""

    discounted_price: Number = None
    price: Number = None
    unit_price: Number = None
    currency: Text = ""

    @property
    def amount(self) -> float | None:
        """The price that will be charged, as far as it is told: after discounts, before them, or per run."""
        told = (self.discounted_price, self.price, self.unit_price)
        return next((amount for amount in told if amount is not None), None)


class PriceReply(Envelope):
    """The answer to the question for a price."""

    data: Price


class Balance(_Wire):
    """What the account has, in US dollars."""

    balance: Number = None


class BalanceReply(Envelope):
    """The answer to the question for the balance."""

    data: Balance


class ModelRow(_Wire):
    """One model of the list."""

    model_id: Text = ""
    name: Text = ""
    base_price: Number = None


class ModelsReply(Envelope):
    """The list of models."""

    data: tuple[ModelRow, ...] = ()


def prediction_in(reply: HttpReply) -> Prediction | None:
    """The task that a reply tells of, whatever its status: a task with an id exists."""
    try:
        return PredictionReply.model_validate_json(reply.body).data
    except ValidationError:
        return None


def _output(value: JsonValue, *, flagged: bool) -> Output | None:
    """A link, or with `enable_base64_output` the picture itself as base64 or as a `data:` URL."""
    if not isinstance(value, str):
        return None
    if value.startswith(("https://", "http://")):
        return Output(url=value, flagged=flagged)
    encoded = value.partition("base64,")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
        recognise(content)
    except (binascii.Error, ValueError, ImageError):
        return None
    return Output(content=content, flagged=flagged)
