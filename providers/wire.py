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
"""Fields of an error that may hold its sentence."""
_LARGEST_COUNT = 1_000_000


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
    """A whole number, in the same way; seeds of 64 bits keep every digit."""
    read = number(value)
    if read is None:
        return None
    return value if isinstance(value, int) else int(read)


def count(value: object) -> int | None:
    """A number of things, in the same way; one that is negative or beyond a million counts as not told."""
    read = whole(value)
    return read if read is not None and 0 <= read <= _LARGEST_COUNT else None


def text_of(value: JsonValue) -> str:
    """A sentence, also when it stands inside an object; other objects as JSON, anything else as nothing.

    An objection of FastAPI (`loc`, `msg`, `type`) is told with its field and its kind, without the input it repeats.
    """
    if isinstance(value, dict):
        sentence = next((told for name in _SENTENCES if isinstance(told := value.get(name), str) and told), None)
        if isinstance(place := value.get("loc"), list):
            field = ".".join(map(text_of, place[1:]))
            return f"{': '.join(filter(None, (field, sentence)))} ({text_of(value.get('type'))})"
        return sentence or (json.dumps(value, ensure_ascii=False) if value else "")
    if isinstance(value, list):
        return "; ".join(filter(None, map(text_of, value)))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _strings(value: JsonValue) -> tuple[str, ...]:
    rows = value if isinstance(value, list) else [value]
    return tuple(row for row in rows if isinstance(row, str) and row)


Number: TypeAlias = Annotated[float | None, BeforeValidator(number)]
Whole: TypeAlias = Annotated[int | None, BeforeValidator(whole)]
Count: TypeAlias = Annotated[int | None, BeforeValidator(count)]
Text: TypeAlias = Annotated[str, BeforeValidator(text_of)]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]
Strings: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_strings)]
"""Texts in a list, alone, or not at all."""


class Wire(BaseModel):
    """A part of a reply: it may gain fields, and ids may come as numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


def is_picture(content: bytes) -> bool:
    """Tell whether bytes begin as a picture does; content types are not to be trusted."""
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


def pictures_in(pictures: JsonValue, flags: JsonValue = None) -> tuple[Output, ...]:
    """The pictures of a list in order, plain or each as `url` of an object; what is none is passed over.

    `flags` are the safety filter's word on each of them; a missing one means that nothing was found.
    """
    rows = [row.get("url") if isinstance(row, dict) else row for row in pictures] if isinstance(pictures, list) else []
    marks = [flag is True for flag in flags] if isinstance(flags, list) else []
    pairs = zip(rows, [*marks, *[False] * len(rows)], strict=False)
    return tuple(picture for row, flagged in pairs if (picture := picture_in(row, flagged=flagged)))
