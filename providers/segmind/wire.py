"""What Segmind answers: job records, balances, uploads, and finished pictures as bytes, base64 or links.

Every field but the ones that carry the result may be missing, a number may be text, and an id may be a number; none of
that may cost a picture that was paid for.
"""

import base64
import binascii
import math
from collections.abc import Iterator
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.picture import recognise
from controlnet_mcp.providers.types import Cost, Output

UNIT = "credits"
_HOLDERS = ("url", "image", "image_url", "output", "data")
"""Names under which clients in the wild find a picture inside an object (unverified)."""


def number(value: object) -> float | None:
    """A finite number, also when it is written as text; anything else counts as missing."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


Number: TypeAlias = Annotated[float | None, BeforeValidator(number)]
Text: TypeAlias = Annotated[str | None, BeforeValidator(_text)]


class _Wire(BaseModel):
    """Replies may gain fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Answer(_Wire):
    """A submission's receipt, a status, a result, or a v1 answer as JSON; `metrics` holds times and costs."""

    request_id: Text = None
    status: Text = None
    status_url: Text = None
    response_url: Text = None
    error: JsonValue = None
    error_description: Text = None
    message: Text = None
    metrics: JsonValue = None
    images: JsonValue = None
    image: JsonValue = None
    output: JsonValue = None

    @property
    def state(self) -> str:
        """The status in capitals; empty when there is none."""
        return (self.status or "").upper()

    @property
    def said(self) -> str:
        """The vendor's explanation of an error: `error` is a sentence, or a code beside `error_description`."""
        inner = self.error.get("message") if isinstance(self.error, dict) else self.error
        return self.error_description or _text(inner) or self.message or ""

    @property
    def pictures(self) -> tuple[Output, ...]:
        """The finished pictures; `images` comes first because `output` may hold only the first of several."""
        for source in (self.images, self.image, self.output):
            found = tuple(output for text in _leaves(source) if (output := _output(text)))
            if found:
                return found
        return ()

    def metric(self, name: str) -> float | None:
        """One of the metrics as a number."""
        return number(self.metrics.get(name)) if isinstance(self.metrics, dict) else None


class Credits(_Wire):
    """The balance: bought credits and free ones, counted apart."""

    credits: Number = None
    free: Number = Field(default=None, alias="free-credits")


class Uploaded(_Wire):
    """Where uploaded pictures can be referred to."""

    file_urls: tuple[str, ...] = Field(min_length=1)


def cost(amount: float | None) -> Cost | None:
    """What a job cost, where the vendor says so."""
    return None if amount is None else Cost(amount=amount, unit=UNIT)


def is_picture(content: bytes) -> bool:
    """Whether bytes begin as a picture does; the content type is not to be trusted."""
    try:
        recognise(content)
    except ImageError:
        return False
    return True


def _leaves(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _leaves(item)
        case dict():
            for name in _HOLDERS:
                if name in value:
                    yield from _leaves(value[name])
                    return
        case _:
            return


def _output(text: str) -> Output | None:
    if text.startswith(("https://", "http://")):
        return Output(url=text)
    encoded = text.partition("base64,")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Output(content=content) if is_picture(content) else None
