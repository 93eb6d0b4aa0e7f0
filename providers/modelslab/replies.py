"""What ModelsLab answers, as tolerant models of its replies.

Numbers come as text or as numbers, ids as integers or text, and a message under `message` or `messege`. No live reply
was ever recorded: the shapes are from the vendor's pages and schemas.
"""

import base64
import json
import math
from http import HTTPStatus
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import Output


def accepted(reply: HttpReply) -> bool:
    """Whether the HTTP status says yes; the body may still say no."""
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


def words_of(*spellings: JsonValue) -> str:
    """The vendor's words in whichever spelling they came; errors by field come as an object."""
    words = next((row for row in spellings if row), "")
    return words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)


def _number(value: JsonValue) -> float | None:
    """A number that may be written as text; anything else counts as not told."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _links(value: JsonValue) -> tuple[str, ...]:
    """Links in a list, alone, or not at all."""
    rows = value if isinstance(value, list) else [value]
    return tuple(row for row in rows if isinstance(row, str) and row)


def _seed(value: JsonValue) -> int | None:
    """The seed inside `meta`, which may also be a list or missing."""
    told = _number(value.get("seed")) if isinstance(value, dict) else None
    return None if told is None else int(told)


def _flags(value: JsonValue) -> tuple[bool, ...]:
    """One flag for all pictures, or one for each."""
    rows = value if isinstance(value, list) else [value]
    return tuple(str(row).lower() in {"true", "1", "yes"} for row in rows)


Number: TypeAlias = Annotated[float | None, BeforeValidator(_number)]
Links: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_links)]


class Answer(BaseModel):
    """A reply to a submission, a fetch or an upload; every field but the status may be missing."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    status: str
    id: str | None = None
    eta: Number = None
    fetch_result: str | None = None
    output: Links = ()
    proxy_links: Links = ()
    future_links: Links = ()
    nsfw_content_detected: Annotated[tuple[bool, ...], BeforeValidator(_flags)] = (False,)
    meta: Annotated[int | None, BeforeValidator(_seed)] = None
    message: JsonValue = None
    messege: JsonValue = None

    @property
    def said(self) -> str:
        """The vendor's words."""
        return words_of(self.message, self.messege)

    @property
    def failed(self) -> bool:
        """Whether this is an error, whatever the HTTP status was; `failed` is the webhook's word."""
        return self.status in {"error", "failed"}

    def outputs(self, promised: tuple[str, ...]) -> tuple[Output, ...]:
        """The finished pictures; `promised` are the future links of an earlier reply, valid once it is done."""
        found = self.output or self.proxy_links or self.future_links or promised
        flags = self.nsfw_content_detected
        each = flags if len(flags) == len(found) else (any(flags),) * len(found)
        return tuple(_output(row, flagged=flag) for row, flag in zip(found, each, strict=True))


class Balance(BaseModel):
    """The amount in a reply to `wallet_balance`."""

    model_config = ConfigDict(extra="ignore")

    balance: Number = None


class Wallet(BaseModel):
    """A reply to `wallet_balance`."""

    model_config = ConfigDict(extra="ignore")

    data: Balance = Balance()


def _output(row: str, *, flagged: bool) -> Output:
    """A link, or a picture in base64 when `base64` was asked for."""
    if row.startswith(("https://", "http://")):
        return Output(url=row, flagged=flagged)
    try:
        content = base64.b64decode(row.partition("base64,")[2] if row.startswith("data:") else row, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return Output(url=row, flagged=flagged)
    return Output(content=content, flagged=flagged)
