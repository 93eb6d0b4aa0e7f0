"""From loose JSON to typed arguments, with errors in sentences that name the way out."""

import difflib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar, cast, get_args

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from controlnet_mcp.foundation.errors import RequestError

ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)
_SHOWN_CHARACTERS = 60


def checked(model: type[ArgumentsT], arguments: Mapping[str, object]) -> ArgumentsT:
    """Validate arguments.

    Explicit nulls mean "not given", and text that holds JSON is read where a list or an object is wanted: several
    hosts send both.

    Raises:
        RequestError: `invalid_request` that names the argument and what it may be.
    """
    try:
        return model.model_validate(_lenient(model, arguments))
    except ValidationError as error:
        raise _told(model, error.errors(include_url=False)[0]) from error


def _lenient(model: type[BaseModel], arguments: Mapping[str, object]) -> dict[str, object]:
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        field = model.model_fields.get(name)
        if isinstance(value, str) and field is not None and isinstance(field.default, list | dict):
            with suppress(ValueError):
                value = json.loads(value)  # noqa: PLW2901  # the value as it was meant
        given[name] = _without_nulls(cast("JsonValue", value))
    return given


def _without_nulls(value: JsonValue) -> JsonValue:
    match value:
        case dict():
            return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_without_nulls(inner) for inner in value]
        case _:
            return value


def _told(model: type[BaseModel], error: ErrorDetails) -> RequestError:
    where = _short(".".join(str(part) for part in error["loc"])) or "arguments"
    inner = _model_of(model, error["loc"])
    field = inner.model_fields.get(str(error["loc"][-1])) if error["loc"] else None
    match error["type"]:
        case "extra_forbidden":
            name, known = str(error["loc"][-1])[:_SHOWN_CHARACTERS], list(inner.model_fields)
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            wish = f"Did you mean {near[0]}? " if near else ""
            return RequestError(
                "invalid_request", f"There is no argument {where!r}.", hint=f"{wish}Known: {', '.join(known)}."
            )
        case "missing":
            return RequestError("invalid_request", f"The argument {where!r} is missing.", hint=_meaning(field))
        case _:
            shown = _short(str(error["input"]))
            return RequestError(
                "invalid_request", f"{where} = {shown!r} is not right: {error['msg']}.", hint=_meaning(field)
            )


def _model_of(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """The model that the last part of an error's place is a field of."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return model


def _meaning(field: FieldInfo | None) -> str:
    if field and field.description:
        return f"It means: {field.description.removesuffix('.')}."
    return "Leave it out for the default." if field and not field.is_required() else "Every call needs it."


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
