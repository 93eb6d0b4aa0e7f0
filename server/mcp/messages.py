"""Messages of the protocol: read as far as they can be, refused in a sentence otherwise, and bounded on their way out.

The SDK drops a line that it cannot read, so that a host waits for an answer for ever, and some of its errors repeat all
that was sent.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import methods
from pydantic import JsonValue, ValidationError

from controlnet_mcp.foundation.text import bounded, shortened
from controlnet_mcp.server.mcp.delivery import Context
from controlnet_mcp.server.mcp.rendering import MOST_ANSWER_BYTES

_MOST_CHARACTERS = 1000
"""Longest id, method, progress token and version of the protocol: answers repeat them."""
_MOST_LEVELS = 200
_MOST_BITS = 10_000
"""Longest whole number that is read as one, in bits: about 3000 digits."""
_MOST_ENTRIES = 100
"""Most entries of a batch that are answered one by one."""
_MOST_DATA_BYTES = 1500
_BYTE_ORDER_MARK = "\ufeff"

Message: TypeAlias = types.JSONRPCMessage


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Text that is no message.

    Attributes:
        code: The code of the protocol.
        why: A sentence.
        request_id: The id that an answer bears, where one could be found.
        awaited: Whether its sender waits for an answer: nobody does for a notification or an answer.
    """

    code: int
    why: str
    request_id: JsonValue = None
    awaited: bool = True

    @property
    def answer(self) -> str:
        """The error that answers it, as JSON; its id may be a fraction, although no request may have such a one."""
        found = self.request_id
        repeatable = (
            isinstance(found, str | int | float) and not isinstance(found, bool) and not _too_long({"id": found})
        )
        error: dict[str, JsonValue] = {"code": self.code, "message": self.why}
        try:
            answer = {"jsonrpc": "2.0", "id": found if repeatable else None, "error": error}
            return json.dumps(answer, allow_nan=False)
        except ValueError:
            return json.dumps({"jsonrpc": "2.0", "id": None, "error": error})


def well_formed(content: bytes) -> Message | None:
    """Read text that is one message without a fault."""
    try:
        message = types.jsonrpc_message_adapter.validate_json(content, by_name=False)
    except ValueError:
        return None
    if isinstance(message, types.JSONRPCNotification) and b'"id"' in content:
        return None  # it may be a request whose id is none
    repeated = message.model_dump(include={"id", "method"}) | _repeated(getattr(message, "params", None))
    return None if _too_long(repeated) else message


def recovered(content: bytes) -> Sequence[Message | Unreadable]:
    """Read text in which something is wrong; a blank line holds nothing, a batch one refusal for each request in it."""
    text = content.decode("utf-8", "replace").strip(f"{_BYTE_ORDER_MARK}\0 \t\r\n")
    if not text:
        return ()
    try:
        value: JsonValue = json.loads(text)
    except RecursionError:
        return (Unreadable(types.INVALID_REQUEST, _TOO_DEEP, _id_in(text)),)
    except json.JSONDecodeError as error:
        why = f"This is no JSON: {error.msg.removesuffix(' starting at')}, at character {error.pos}."
        return (Unreadable(types.PARSE_ERROR, why, _id_in(text)),)
    except ValueError:
        return (Unreadable(types.PARSE_ERROR, "A number in this is longer than numbers are read.", _id_in(text)),)
    if not isinstance(value, list):
        return (_read(value),)
    requests = [entry["id"] for entry in value if isinstance(entry, dict) and "id" in entry]
    ids = requests if 0 < len(requests) <= _MOST_ENTRIES else [None]
    return [Unreadable(types.INVALID_REQUEST, "Batches are not taken: send each message alone.", row) for row in ids]


_TOO_DEEP = f"The message is nested deeper than {_MOST_LEVELS} levels."


def _read(value: JsonValue) -> Message | Unreadable:
    """Read one JSON value as a message."""
    if not isinstance(value, dict):
        return Unreadable(types.INVALID_REQUEST, "A message is a JSON object.")
    code, request_id = types.INVALID_REQUEST, value.get("id")
    params, method = value.get("params"), value.get("method")
    notifies = isinstance(method, str) and "id" not in value
    answers = "method" not in value and ("result" in value or "error" in value)
    if _levels(value) > _MOST_LEVELS:
        why = _TOO_DEEP
    elif value.get("jsonrpc") != "2.0":
        why = 'A message has "jsonrpc": "2.0".'
    elif "method" in value and not isinstance(method, str):
        why = "The method of a request is a text."
    elif "id" in value and not answers and (isinstance(request_id, bool) or not isinstance(request_id, str | int)):
        why = "The id of a request is a text or a whole number."
    elif params is not None and not isinstance(params, dict):
        code, why = types.INVALID_PARAMS, "The params of a request are an object, with a name for each."
    elif long := _too_long({"id": request_id, "method": method} | _repeated(params)):
        why = f"The {long} is longer than {_MOST_CHARACTERS} characters."
    else:
        try:
            return types.jsonrpc_message_adapter.validate_python(_readable(value), by_name=False)
        except ValidationError:
            why = "A message has a method and params, or is the answer to one."
    return Unreadable(code, why, request_id, awaited=not (notifies or answers))


def _repeated(params: Mapping[str, Any] | None) -> dict[str, object]:
    """The parameters of any request that answers repeat, by their names."""
    params = params or {}
    meta = params.get("_meta")
    named: dict[str, object] = {"protocolVersion": params.get("protocolVersion")}
    if isinstance(meta, Mapping):
        found = cast("Mapping[str, object]", meta)
        named |= {name: found.get(name) for name in ("progressToken", types.PROTOCOL_VERSION_META_KEY)}
    return named


def _too_long(values: Mapping[str, object]) -> str | None:
    """The name of the first value that is too long to be repeated."""
    for name, value in values.items():
        long = isinstance(value, int) and value.bit_length() > 3 * _MOST_CHARACTERS
        if long or (isinstance(value, str) and len(value) > _MOST_CHARACTERS):
            return name
    return None


_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
"""A text, also one that is cut off, or a bracket."""
_ID = re.compile(r'\s*:\s*("(?:[^"\\]|\\.){0,2000}"|-?\d{1,1000}(?:\.\d{1,1000})?)\s*[,}]', re.DOTALL)
"""An id with the colon before it, which only a name has."""


def _id_in(text: str) -> JsonValue:
    """The id of a message that is no JSON: the one outside of everything inside the message."""
    depth = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
            case '"id"' if depth == 1 and (found := _ID.match(text, token.end())):
                try:
                    return cast("JsonValue", json.loads(found[1]))
                except ValueError:
                    return None
            case _:
                pass
    return None


def _levels(value: JsonValue) -> int:
    """Levels of lists and objects in a JSON value."""
    levels, inside = 0, [value]
    while inside:
        levels += 1
        nested = [row.values() if isinstance(row, dict) else row for row in inside if isinstance(row, dict | list)]
        inside = [row for rows in nested for row in rows]
    return levels


def _readable(value: JsonValue) -> JsonValue:
    """The value with U+FFFD for each half of a character, as hosts leave them where they cut text between the two.

    A whole number of more digits than can be written counts as infinite.
    """
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case int() if value.bit_length() > _MOST_BITS:
            return math.inf if value > 0 else -math.inf
        case list():
            return [_readable(row) for row in value]
        case dict():
            return {str(_readable(name)): _readable(row) for name, row in value.items()}
        case _:
            return value


_LINE_ENDS = {"\u0085": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters that JSON leaves as they are, and that some clients take for the end of a line."""


def in_one_line(text: str) -> str:
    """JSON text without any character that ends a line in some language."""
    for character, escape in _LINE_ENDS.items():
        text = text.replace(character, escape)
    return text


def in_one_line_bytes(content: bytes) -> bytes:
    """The same for JSON in UTF-8, whose characters do not hold one another."""
    for character, escape in _LINE_ENDS.items():
        content = content.replace(character.encode(), escape.encode())
    return content


async def bound(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Middleware: read parameters as they are meant, name what is wrong with them, and bound every answer.

    Raises:
        MCPError: As the handler says, shortened; or invalid parameters, with the name of the first that is not right.
    """
    if ctx.request_id is None:  # a notification: nobody is told what is wrong with it
        return await call_next(ctx)
    ctx = replace(ctx, params=_meant(ctx.method, ctx.params))
    try:
        result = await call_next(ctx)
    except MCPError as error:
        raise MCPError.from_error_data(shortened_error(error.error)) from error
    except ValidationError as error:
        named = _invalid(ctx, error)
        if named is None:
            raise
        raise named from error
    if ctx.method != "tools/call" and len(json.dumps(result)) > MOST_ANSWER_BYTES:  # calls are bounded by `render`
        raise MCPError(types.INTERNAL_ERROR, "The answer is longer than a message may be.")
    return result


def _meant(method: str, params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Parameters without what says nothing, and with arguments as an object where they came as JSON text.

    Raises:
        MCPError: Invalid parameters: one is too long or too deep, or the arguments are no object.
    """
    if params is None:
        return None
    if long := _too_long(_repeated(params)):
        raise MCPError(types.INVALID_PARAMS, f"The parameter {long!r} is longer than {_MOST_CHARACTERS} characters.")
    meant = dict(params)
    meta: object = meant.get("_meta")
    if isinstance(meta, Mapping):
        rows = cast("Mapping[str, object]", meta).items()
        meant["_meta"] = {name: row for name, row in rows if name != "progressToken" or row is not None}
    if method in {"tools/call", "prompts/get"}:
        meant["arguments"] = _arguments(meant.get("arguments"))
    if _levels(meant) > _MOST_LEVELS:
        raise MCPError(types.INVALID_PARAMS, _TOO_DEEP)
    return cast("Mapping[str, Any]", _readable(meant))


def _arguments(given: object) -> object:
    """Arguments as an object, also where they came as JSON text, or as nothing in the form of a list or a text."""
    nothing: dict[str, object] = {}
    if given is None or given == [] or (isinstance(given, str) and not given.strip()):
        return nothing
    if not isinstance(given, str):
        return given
    try:
        read: object = json.loads(given)
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        return cast("dict[str, object]", read)
    raise MCPError(types.INVALID_PARAMS, "The parameter 'arguments' is a text that is no JSON object.")


def _invalid(ctx: Context, error: ValidationError) -> MCPError | None:
    """The first fault of a request's parameters, by its name; `None` where something else than they is not valid."""
    try:
        methods.validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
    except ValidationError as fault:
        error = fault
    else:
        if not error.title.endswith("Params"):
            return None
    first = error.errors(include_url=False, include_context=False)[0]
    name = shortened(".".join(str(part) for part in first["loc"] if part != "params")) or "params"
    said = "is missing" if first["type"] == "missing" else f"is not right: {first['msg']}"
    return MCPError(types.INVALID_PARAMS, f"The parameter {name!r} {bounded(said)}.")


def shortened_error(error: types.ErrorData) -> types.ErrorData:
    """An error of less than 4 kB: what it repeats is cut, in its sentence and in its data."""
    data = _shortened_data(error.data)
    if len(json.dumps(data).encode()) > _MOST_DATA_BYTES:
        data = None
    return error.model_copy(update={"message": bounded(error.message), "data": data})


def _shortened_data(data: JsonValue) -> JsonValue:
    match data:
        case str():
            return bounded(data)
        case list():
            return [_shortened_data(row) for row in data]
        case dict():
            return {bounded(name): _shortened_data(row) for name, row in data.items()}
        case _:
            return data
