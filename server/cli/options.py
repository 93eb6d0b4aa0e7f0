"""Options made from a tool's arguments, so that the command line cannot forget a parameter."""

import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Literal, TypeVar, Union, cast, get_args, get_origin

import click
from pydantic import JsonValue, ValidationError
from pydantic.fields import FieldInfo

from controlnet_mcp.jobs.request import ExtraControl
from controlnet_mcp.server.cli.output import for_people
from controlnet_mcp.tools.tool import Tool

CommandT = TypeVar("CommandT", bound=Callable[..., object])

WITHOUT_MEANING = frozenset({"previews"})
"""Parameters without a meaning on the command line: pictures come as files."""
_SHORT: dict[str, tuple[str, ...]] = {"wait_seconds": ("--wait",), "like_job": ("--like",)}
_READ_BY_THE_TOOL = frozenset({"seed"})
"""Parameters that are passed on as text, because words may stand for their numbers."""
_METAVARS: dict[object, str] = {list: "CONTROL", dict: "NAME=VALUE"}


def named_value(text: str) -> tuple[str, JsonValue]:
    """Split `NAME=VALUE`; a value that is JSON is read as such, any other is text.

    Raises:
        click.BadParameter: It is not of that form.
    """
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def further_control(text: str) -> ExtraControl:
    """Read `MODALITY=IMAGE`, `MODALITY:WEIGHT=IMAGE` or a JSON object.

    Raises:
        click.BadParameter: It is none of them, or a value is not right.
    """
    name, equals, image = text.partition("=")
    modality, colon, weight = name.partition(":")
    row = {"modality": modality, "image": image} | ({"weight": weight} if colon else {})
    is_json = text.lstrip().startswith("{")
    if not (is_json or equals):
        raise click.BadParameter(f"{text!r} is neither MODALITY=IMAGE, MODALITY:WEIGHT=IMAGE nor JSON.")
    try:
        return ExtraControl.model_validate_json(text) if is_json else ExtraControl.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise click.BadParameter(f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}.") from error


def tool_options(
    tool: Tool, texts: Mapping[str, str], *, positional: tuple[str, ...] = ()
) -> Callable[[CommandT], CommandT]:
    """Add an option for every parameter of a tool.

    Args:
        tool: The tool.
        texts: Help for people; other options have the description for models.
        positional: Parameters that are arguments by position.
    """
    left_out = {*positional, *WITHOUT_MEANING}
    shown = [(name, field) for name, field in tool.arguments.model_fields.items() if name not in left_out]

    def decorate(function: CommandT) -> CommandT:
        for name, field in reversed(shown):
            said = for_people(texts.get(name) or field.description or name.replace("_", " "))
            default = f"  [default: {field.default}]" if field.default else ""
            function = _option(name, field, f"{said}.{default}")(function)
        return function

    return decorate


def _option(name: str, field: FieldInfo, text: str) -> Callable[[CommandT], CommandT]:
    """Make an option for a field: repeated for lists and objects, else with the type and range of the field."""
    kind = field.annotation
    if get_origin(kind) in {Union, UnionType}:
        kind = next(inner for inner in get_args(kind) if inner is not NoneType)
    low, high = (next((getattr(row, end) for row in field.metadata if hasattr(row, end)), None) for end in ("ge", "le"))
    origin = get_origin(kind) or kind
    types: dict[object, object] = {
        bool: None,
        int: click.IntRange(low, high),
        float: click.FloatRange(low, high),
        Literal: click.Choice(get_args(kind), case_sensitive=False),
        list: further_control,
        dict: named_value,
    }
    repeated = origin in {list, dict}
    long = name.removesuffix("s") if repeated else name
    return click.option(
        f"--{long.replace('_', '-')}",
        *_SHORT.get(name, ()),
        name,
        type=str if name in _READ_BY_THE_TOOL else types.get(origin, str),
        multiple=repeated,
        is_flag=origin is bool or None,  # a plain False would let a value that begins with a hyphen be left out
        metavar=_METAVARS.get(origin),
        help=text,
    )


def arguments_of(tool: Tool, values: Mapping[str, object]) -> dict[str, object]:
    """The arguments that were given, as the tool takes them; options that were left out are left out."""
    given: dict[str, object] = {}
    for name in tool.arguments.model_fields:
        value = values.get(name)
        if isinstance(value, tuple):  # of a repeated option
            entries = cast("tuple[object, ...]", value)
            controls = [entry.model_dump(mode="json") for entry in entries if isinstance(entry, ExtraControl)]
            value = controls or dict(cast("tuple[tuple[str, JsonValue], ...]", entries))
        if not (value is None or value is False or value == {}):
            given[name] = value
    return given
