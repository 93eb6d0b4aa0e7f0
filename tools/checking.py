"""From loose JSON to typed arguments, with errors in sentences that name the way out."""

import difflib
import json
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controlnet_mcp.images.errors import RequestError

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
            try:
                given[name] = json.loads(value)
            except ValueError:
                continue
    return given


def _told(model: type[BaseModel], error: ErrorDetails) -> RequestError:
    where = ".".join(str(part) for part in error["loc"]) or "arguments"
    known = list(model.model_fields)
    match error["type"]:
        case "extra_forbidden":
            name = str(error["loc"][-1])
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            wish = f"Did you mean {near[0]}? " if near else ""
            return RequestError(
                "invalid_request", f"There is no argument {where!r}.", hint=f"{wish}Known: {', '.join(known)}."
            )
        case "missing":
            return RequestError("invalid_request", f"The argument {where!r} is missing.", hint=_meaning(model, where))
        case _:
            shown = str(error["input"])[:_SHOWN_CHARACTERS]
            return RequestError(
                "invalid_request", f"{where} = {shown!r} is not right: {error['msg']}.", hint=_meaning(model, where)
            )


def _meaning(model: type[BaseModel], where: str) -> str:
    field = model.model_fields.get(where.partition(".")[0])
    return f"It means: {field.description}." if field and field.description else ""
