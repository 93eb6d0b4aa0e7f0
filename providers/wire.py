"""Tolerant types for replies: what stands beside a picture that was paid for must not cost the picture.

Numbers may come as text and ids as numbers; a value that makes no sense counts as not told.
"""

import base64
import binascii
import json
import math
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.picture import recognise
from controlnet_mcp.providers.types import Output

_SENTENCES = ("message", "reason", "msg", "error", "detail", "code", "hint")
"""Where the sentence of an error that comes as an object stands."""


def number(value: object) -> float | None:
    """A finite number, also when it is written as text; anything else counts as not told."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def whole(value: object) -> int | None:
    """Likewise, a whole number."""
    read = number(value)
    return None if read is None else int(read)


def text_of(value: JsonValue) -> str:
    """A sentence, also when it stands inside an object; other objects as JSON, anything else as nothing."""
    if isinstance(value, dict):
        sentence = next((told for name in _SENTENCES if isinstance(told := value.get(name), str) and told), None)
        return sentence or (json.dumps(value, ensure_ascii=False) if value else "")
    if isinstance(value, list):
        return "; ".join(filter(None, map(text_of, value)))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _strings(value: JsonValue) -> tuple[str, ...]:
    rows = value if isinstance(value, list) else [value]
    return tuple(row for row in rows if isinstance(row, str) and row)


Number: TypeAlias = Annotated[float | None, BeforeValidator(number)]
Whole: TypeAlias = Annotated[int | None, BeforeValidator(whole)]
Text: TypeAlias = Annotated[str, BeforeValidator(text_of)]
Id: TypeAlias = Annotated[str, Field(min_length=1)]
Strings: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_strings)]
"""Texts in a list, alone, or not at all."""


class Wire(BaseModel):
    """A part of a reply: it may gain fields, and ids may come as numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True, populate_by_name=True)


def is_picture(content: bytes) -> bool:
    """Whether bytes begin as a picture does; content types are not to be trusted."""
    try:
        recognise(content)
    except ImageError:
        return False
    return True


def picture_in(value: JsonValue, *, flagged: bool = False) -> Output | None:
    """A finished picture out of a link, plain base64 or a `data:` URL; `None` for anything else."""
    if not isinstance(value, str):
        return None
    if value.startswith(("https://", "http://")):
        return Output(url=value, flagged=flagged)
    encoded = value.partition("base64,")[2] if value.startswith("data:") else value
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Output(content=content, flagged=flagged) if is_picture(content) else None
