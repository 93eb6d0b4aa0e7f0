"""Options made from a tool's schema: the one that clients see, so the command line cannot forget a parameter."""

import json
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import click
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from controlnet_mcp.jobs.request import ExtraControl
from controlnet_mcp.server.cli.output import for_people
from controlnet_mcp.tools.schema import input_schema
from controlnet_mcp.tools.tool import Tool

CommandT = TypeVar("CommandT", bound=Callable[..., object])

WITHOUT_MEANING = frozenset({"previews"})
"""Parameters that mean nothing by hand: pictures come as files."""

_SHORT: dict[str, tuple[str, ...]] = {"wait_seconds": ("--wait",), "like_job": ("--like",)}
_INSTEAD: dict[str, str] = {
    "wait_seconds": "How many seconds to wait for the end",
    "extra_controls": "A further control: MODALITY:WEIGHT=IMAGE, or JSON with start, end, is_map (repeatable)",
    "provider_options": "One of the provider's own knobs (repeatable; see list_models)",
    "parameters": "One of the map's knobs (repeatable): low_threshold, sigma_pixels, factor, invert, seed and others",
    "dry_run": "Submit nothing, show the request, the price and the warnings",
    "request_key": "The same key gives the same job instead of a new one",
    "cursor": "Where the last page ended",
    "like_job": "Repeat this job: PROMPT, IMAGE and all that is not given are as they were, pictures and seed too",
    "control_is_map": "IMAGE already is a control map: do not preprocess it",
}
"""Words for people, where those of the schema are for a model."""
_BESIDES: dict[str, str] = {
    "negative_prompt": "What to leave out of the picture",
    "height": "Pixels",
    "num_images": "How many pictures",
    "steps": "Denoising steps",
    "guidance": "How closely to follow the prompt (classifier-free guidance scale)",
    "scheduler": "From list_models",
    "seed": "The same seed gives the same picture, where the provider has seeds",
    "status": "Only jobs that stand like this",
    "provider": "Only this provider",
    "modality": "Only this structure",
    "limit": "Most jobs",
}
"""Words where the schema has none: a model knows what is meant."""


class Parameter(BaseModel):
    """One parameter in a tool's schema, as far as an option needs it."""

    type: Literal["string", "number", "integer", "boolean", "array", "object"]
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    default: JsonValue = None
    enum: tuple[str, ...] = ()


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


def parameters_of(tool: Tool) -> dict[str, Parameter]:
    """The parameters of a tool, in the order of its schema."""
    return TypeAdapter(dict[str, Parameter]).validate_python(input_schema(tool.arguments)["properties"])


def tool_options(tool: Tool, *, positional: tuple[str, ...] = ()) -> Callable[[CommandT], CommandT]:
    """Add an option for every parameter that is not an argument by position."""
    left_out = {*positional, *WITHOUT_MEANING}
    shown = [(name, parameter) for name, parameter in parameters_of(tool).items() if name not in left_out]

    def decorate(function: CommandT) -> CommandT:
        for name, parameter in reversed(shown):
            function = _option(name, parameter)(function)
        return function

    return decorate


def _option(name: str, parameter: Parameter) -> Callable[[CommandT], CommandT]:
    repeated = parameter.type in {"array", "object"}
    flag = parameter.type == "boolean"
    long = name.removesuffix("s") if repeated else name
    return click.option(
        f"--{long.replace('_', '-')}",
        *_SHORT.get(name, ()),
        name,
        type=None if flag else _type_of(parameter),
        multiple=repeated,
        callback=_READERS.get(parameter.type),
        is_flag=flag,
        metavar=_METAVARS.get(parameter.type),
        help=_help_of(name, parameter),
    )


def _type_of(parameter: Parameter) -> object:
    low, high = parameter.minimum, parameter.maximum
    match parameter.type:
        case "integer":
            return click.IntRange(None if low is None else int(low), None if high is None else int(high))
        case "number":
            return click.FloatRange(low, high)
        case _:
            return click.Choice(parameter.enum) if parameter.enum else str


def _help_of(name: str, parameter: Parameter) -> str:
    said = _INSTEAD.get(name) or parameter.description or _BESIDES.get(name, name.replace("_", " "))
    default = "" if parameter.default in (None, "", 0) else f"  [default: {parameter.default}]"
    return f"{for_people(said)}.{default}"


def _read_controls(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[JsonValue]:
    return [further_control(text).model_dump(mode="json") for text in texts]


def _read_values(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, JsonValue]:
    return dict(map(named_value, texts))


_READERS = {"array": _read_controls, "object": _read_values}
_METAVARS = {"array": "CONTROL", "object": "NAME=VALUE"}


def arguments_of(tool: Tool, values: Mapping[str, object]) -> dict[str, object]:
    """The arguments that were given, as the tool takes them; options that were left out are left out."""
    given = {name: values.get(name) for name in parameters_of(tool)}
    return {name: value for name, value in given.items() if not (value is None or value is False or value in ([], {}))}
