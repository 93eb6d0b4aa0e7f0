"""Arguments as hosts and models write them: read as they are meant, and all that is wrong with a call told at once.

Hosts fill in every argument of a tool, some with nulls or empty texts, some with words for nothing; models write
numbers with units, lists as JSON text and words of a closed set in any case.
"""

import difflib
import json
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import shortened

ModelT = TypeVar("ModelT", bound=BaseModel)
ValueT = TypeVar("ValueT")
_NOTHING = frozenset(
    {"", "null", "none", "undefined", "nil", "n/a", "unset", "unspecified", "not specified", "not given", "not set"}
)
EVERYTHING = frozenset({"all", "any", "every", "*"})
"""Words for no choice at all, in the place of one of several."""
USUAL = frozenset({"auto", "automatic", "default"})
"""Words for the default, in the place of a number or a name."""
_WRAPPING = string.whitespace + "\u00a0\u200b\ufeff\"'`<>()[]{}"
_NUMBER = re.compile(r"([-+]?\d*\.?\d+)\s*(px|pixels?|s|secs?|seconds?|steps?|%)", re.IGNORECASE)
_SIZE = re.compile(r"(\d{2,5})\s*(?:px)?\s*(?:[x\u00d7*]|by)\s*(\d{2,5})\s*(?:px|pixels)?", re.IGNORECASE)
_SHOWN_CHARACTERS = 60
_MOST_FAULTS = 16
_TOLD_CHARACTERS, _MOST_CHARACTERS, _MOST_HINT_CHARACTERS = 150, 2200, 1400
"""Faults of one call that are told in full; the others are only named."""


class Arguments(BaseModel):
    """Arguments of a tool: unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def meant(cls, given: Mapping[str, object]) -> dict[str, object]:
        """The arguments of a call as they are meant."""
        return loosened(cls, given)

    @classmethod
    def faults(cls, given: Mapping[str, object], context: object) -> Iterable[RequestError]:  # noqa: ARG003  # for overriding
        """The faults that lie between several arguments of a call, or deeper inside one than its type says."""
        return ()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a call: the argument, what is wrong with it in a sentence, and what is right."""

    where: str
    message: str
    hint: str


class SeveralFaultsError(RequestError):
    """A refusal for several faults of a call, told in one sentence, and their remedies in another.

    Attributes:
        faults: Each of them.
    """

    def __init__(self, faults: Sequence[Fault], names: Iterable[str]) -> None:
        """Take the faults, and the names of all arguments that the call can have."""
        self.faults = tuple(faults)
        shown, further = faults[:_MOST_FAULTS], [fault.where for fault in faults[_MOST_FAULTS:]]
        known = f"Known: {', '.join(names)}."
        told = "; ".join(shortened(fault.message.removesuffix("."), _TOLD_CHARACTERS) for fault in shown)
        hints = [(fault.where, fault.hint.removesuffix(known).strip()) for fault in shown]
        rest = shortened(f"; and {', '.join(further)}", _TOLD_CHARACTERS) if further else ""
        ways = [shortened(f"{where}: {hint}" if where else hint, _TOLD_CHARACTERS) for where, hint in hints if hint]
        ends = [known] if any(fault.hint.endswith(known) for fault in shown) else []
        told_ways = shortened(" ".join(dict.fromkeys(ways)), _MOST_HINT_CHARACTERS - len("".join(ends)))
        said = f"{len(faults)} faults: {shortened(told, _MOST_CHARACTERS)}{rest}."
        super().__init__("invalid_request", said, hint=" ".join([told_ways, *ends]))


def checked(model: type[ModelT], given: Mapping[str, object], context: object = None) -> ModelT:
    """Read arguments as they are meant, and validate them; validators may look at `context`.

    Raises:
        RequestError: `invalid_request` that names every argument that is not right, and what it may be.
    """
    meant = model.meant(given) if issubclass(model, Arguments) else loosened(model, given)
    faults: list[Fault] = []
    made: ModelT | None = None
    try:
        made = model.model_validate(meant, context=context)
    except ValidationError as error:
        faults = [_fault(model, row) for row in error.errors(include_url=False)]
    further = model.faults(meant, context) if issubclass(model, Arguments) else ()
    for refusal in reversed([*further]):
        own = Fault("", refusal.message, refusal.hint)
        faults = [*(refusal.faults if isinstance(refusal, SeveralFaultsError) else [own]), *faults]
    if len(faults) == 1:
        raise RequestError("invalid_request", faults[0].message, hint=faults[0].hint)
    if made is None or faults:
        raise SeveralFaultsError(faults, model.model_fields)
    return made


def says_nothing(value: object) -> bool:
    """Tell whether a value only fills a place: null, something empty, or a word for nothing."""
    if isinstance(value, str):
        return value[: 2 * _SHOWN_CHARACTERS].strip(_WRAPPING).casefold() in _NOTHING
    return value is None or value in ([], {})


def loosened(
    model: type[BaseModel], given: Mapping[str, object], kept: AbstractSet[str] = frozenset()
) -> dict[str, object]:
    """Values as a model's fields want them; an optional one that says nothing is left out, unless it is `kept`."""
    meant: dict[str, object] = {}
    for name, value in given.items():
        field = model.model_fields.get(name)
        if field is None:
            if value is not None:
                meant[name] = value
            continue
        kind: object = field.annotation
        if get_origin(kind) in {Union, UnionType}:  # its value is optional
            kind = next(inner for inner in get_args(kind) if inner is not NoneType)
        if get_origin(kind) is Annotated:  # and has limits
            kind = get_args(kind)[0]
        read = value if name in kept else _as_meant(value, kind)
        is_empty = isinstance(read, str) and not read.strip()
        fills = says_nothing(read) and not (get_origin(kind) is Literal and read in get_args(kind))
        if read is not None and (name in kept or not fills or (field.is_required() and is_empty)):
            meant[name] = read
    return meant


def _model(kind: object) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _as_meant(value: object, kind: object) -> object:
    """A value as a type wants it, where it can be read so; a word for the default of a number becomes `None`."""
    origin = get_origin(kind) or kind
    model = _model(kind)
    if isinstance(value, str) and (model or origin in {list, tuple, dict}):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    match value:
        case [str() as only] if origin in {str, Literal}:
            read = _as_meant(only, kind)
        case str() if origin in {int, float}:
            read = _number(value, whole=origin is int)
        case str() | bool() if origin is Literal:  # in any case, with spaces or hyphens; true and false as yes and no
            key = _bare_word(value if isinstance(value, str) else ("no", "yes")[value])
            read = next((choice for choice in get_args(kind) if _bare_word(str(choice)) == key), value)
        case list() | dict() if origin in {list, tuple}:
            rows = cast("list[object]", value if isinstance(value, list) else [value])
            read = _rows(rows, get_args(kind)[0])
        case dict() if model:
            read = loosened(model, cast("dict[str, object]", value))
        case _:
            read = without_nulls(value)
    return read


def without_nulls(value: object) -> object:
    """A JSON value without the members of objects that are null."""
    match value:
        case dict():
            rows = cast("dict[str, object]", value)
            return {key: without_nulls(inner) for key, inner in rows.items() if inner is not None}
        case list():
            return [without_nulls(inner) for inner in cast("list[object]", value)]
        case _:
            return value


def _rows(rows: Sequence[object], kind: object) -> list[object]:
    """The items of a list, without those that only fill a place."""
    model = _model(kind)
    required = [name for name, field in model.model_fields.items() if field.is_required()] if model else []

    def is_filler(row: object) -> bool:
        if not (required and isinstance(row, dict)):
            return says_nothing(row)
        given = cast("dict[str, object]", row)
        return not given or all(name in given and says_nothing(given[name]) for name in required)

    return [_as_meant(row, kind) for row in rows if not is_filler(row)]


def _number(text: str, *, whole: bool) -> object:
    """The number in a text with a unit, a percent sign or a comma; the text where there is none."""
    text = text.strip().strip("\"'`")
    if text.casefold() in USUAL:
        return None
    text = re.sub(r",(?=\d{3}\b)", "", text) if whole else re.sub(r"^([-+]?\d+),(\d+)\b", r"\1.\2", text)
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(found[1]) / 100 if found[2] == "%" else found[1]


def _bare_word(text: str) -> str:
    """A word of a closed set as it is compared: without case, quotes, spaces and hyphens."""
    return re.sub(r"[\s_\"'`-]+", "", text).casefold()


def size_in(text: object) -> tuple[str, str] | None:
    """Width and height of a text such as `1024x768`."""
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    return (found[1], found[2]) if found else None


def shorter_side(size: object) -> object:
    """A validator: of a text such as `1024x768`, the smaller number."""
    sides = size_in(size)
    return min(sides, key=int) if sides else size


def as_fault(error: RequestError) -> PydanticCustomError:
    """A refusal in the form in which a validator raises it, beside all others."""
    return PydanticCustomError("refused", "{message}", {"message": error.message, "hint": error.hint})


def none_of(words: AbstractSet[str]) -> Callable[[object], object]:
    """A validator that reads some words, in any case, as no value."""
    return lambda value: None if str(value)[:_SHOWN_CHARACTERS].strip().lower() in words else value


def passing(check: Callable[[ValueT], object]) -> Callable[[ValueT | None], ValueT | None]:
    """A validator that leaves a value as it is, where a check of it refuses nothing."""

    def validate(value: ValueT | None) -> ValueT | None:
        try:
            if value is not None:
                check(value)
        except RequestError as error:
            raise as_fault(error) from error
        return value

    return validate


def _fault(model: type[BaseModel], error: ErrorDetails) -> Fault:
    """Say in a sentence which argument is not right, and in the hint what is."""
    place = error["loc"]
    where = shortened(".".join(map(str, place)), _SHOWN_CHARACTERS) or "arguments"
    for part in place[:-1]:  # to the model that the last part is a field of
        outer = model.model_fields.get(str(part))
        kinds = (outer.annotation, *get_args(outer.annotation)) if outer else ()
        model = next(filter(None, map(_model, kinds)), model)
    known = model.model_fields
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(place[-1])[:_SHOWN_CHARACTERS], known, n=1, cutoff=0.4)
            message, hint = f"There is no argument {where!r}.", f"Did you mean {near[0]}? " if near else ""
            hint += f"Known: {', '.join(known)}."
        case "missing":
            message, hint = f"The argument {where!r} is missing.", _meaning(known.get(str(place[-1])))
        case "refused":
            told = cast("dict[str, str]", error.get("ctx", {}))
            message, hint = told["message"], told["hint"]
        case _:
            message = f"{where} = {shortened(str(error['input']), _SHOWN_CHARACTERS)!r} is not right: {error['msg']}."
            hint = _meaning(known.get(str(place[-1])) if place else None)
    return Fault(where, message, hint)


def _meaning(field: FieldInfo | None) -> str:
    if field and field.description:
        return f"It means: {field.description.removesuffix('.')}."
    return "Leave it out for the default." if field and not field.is_required() else "Every call needs it."
