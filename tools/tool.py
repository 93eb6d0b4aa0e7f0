"""A tool as data: a name, typed arguments, hints for hosts, and a handler.

Arguments come as loose JSON and are checked by `controlnet_mcp.foundation.arguments`. JSON schemas are such that every
host takes them: flat and inlined, without references, titles, or nulls in unions; and short, because clients send the
whole list to a model on every turn. Lengths, empty defaults, the ban on other arguments and the inside of answers are
left out of them; arguments are checked against the full model all the same.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, cast, get_origin

from pydantic import BaseModel, JsonValue, ValidationInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from controlnet_mcp.foundation.arguments import Arguments, as_fault, checked
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.prepare import entry_named, is_any
from controlnet_mcp.jobs.service import Caller, JobService
from controlnet_mcp.providers.registry import ProviderEntry

ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


Progress: TypeAlias = Callable[[float, str], Awaitable[None]]
"""Tells a waiting caller how far a job is: fraction 0 to 1, and what is being done."""


AskRoots: TypeAlias = Callable[[], Awaitable[Sequence[Path]]]
"""Asks the caller's client for the folders that it works in."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        progress: Tells progress, where the request asked for it.
        ask_roots: Asks for folders, where the client shares this machine and has some.
    """

    caller: Caller
    progress: Progress | None = None
    ask_roots: AskRoots | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that handlers work with; lives once per process.

    Attributes:
        wait_seconds: Default wait of a call that asks for progress.
        wait_seconds_without_progress: Default wait of any other call.
        previews: Answers may hold small inline pictures.
    """

    jobs: JobService
    entries: Sequence[ProviderEntry]
    reader: PictureReader
    blobs: BlobStore
    wait_seconds: float
    wait_seconds_without_progress: float
    previews: bool
    map_models: MapModels = NO_MODELS


async def with_roots(services: Services, call: Call, references: Sequence[str]) -> Caller:
    """The caller with the folders of their client, which is asked where a path leads to no file that may be read."""
    if call.ask_roots is None or not await services.reader.is_elsewhere(references):
        return call.caller
    return replace(call.caller, roots=tuple(await call.ask_roots()))


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that an answer shows: a small preview inside, and a link to the original."""

    uri: str
    name: str
    picture: StoredPicture


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a tool.

    Attributes:
        body: The typed facts; nulls are left out when they are written.
        pictures: Pictures to link to.
        previews: Small previews of them go inside the answer.
        job_id: The job that the answer is the first to name: once it went out, the same arguments mean a new job.
    """

    body: BaseModel
    pictures: tuple[Shown, ...] = ()
    previews: bool = False
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """Assumptions that hosts may make of a tool, as in the protocol's annotations."""

    read_only: bool
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, made by `tool`.

    Attributes:
        title: For people.
        description: For models; clients pay for it on every turn.
        output: Type of the structured answer, for tools that always give one.
        run: Checks the arguments and calls the handler; raises `ControlNetError` with a sentence for the caller.
    """

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    hints: Hints
    output: type[BaseModel] | None
    run: Callable[[Services, Mapping[str, object], Call], Awaitable[Answer]]


def tool(  # noqa: PLR0913  # a tool is these seven facts, and all are named
    *,
    name: str,
    title: str,
    description: str,
    arguments: type[ArgumentsT],
    hints: Hints,
    handler: Callable[[Services, ArgumentsT, Call], Awaitable[Answer]],
    output: type[BaseModel] | None = None,
) -> Tool:
    """Make a tool of a handler that takes checked arguments."""

    async def run(services: Services, given: Mapping[str, object], call: Call) -> Answer:
        return await handler(services, checked(arguments, given, services.entries), call)

    return Tool(name, title, description, arguments, hints, output, run)


def known_provider(name: str | None, info: ValidationInfo) -> str | None:
    """A validator: the name of a provider, or `auto`; the providers are those of the validation's context."""
    entries: Sequence[ProviderEntry] | None = info.context
    if is_any(name):
        return "auto"
    try:
        return entry_named(name, entries).name if name and entries else name
    except RequestError as error:
        raise as_fault(error) from error


def one_or_all(name: str | None, info: ValidationInfo) -> str | None:
    """A validator: the name of a provider, or `None` for all of them."""
    return None if is_any(name) else known_provider(name, info)


Schema = dict[str, JsonValue]
_TYPES: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "string",
    Literal: "string",
    tuple: "array",
    dict: "object",
}
"""JSON type of a field of an answer; nested models are objects."""


class ShortSchema(GenerateJsonSchema):
    """Writes types in place, and leaves out whatever a language model does not need to read."""

    _named: dict[str, CoreSchema]

    def generate_inner(self, schema: Mapping[str, object]) -> JsonSchemaValue:
        """Write a schema in place, without a title or lengths, and whole numbers as such."""
        inlined = {key: value for key, value in schema.items() if key != "ref"}
        made = super().generate_inner(cast("CoreSchema", inlined))
        for key in ("title", "minLength", "maxLength", "maxItems"):
            made.pop(key, None)
        if made.get("additionalProperties") is False:
            del made["additionalProperties"]
        elif made.get("additionalProperties") is True:
            made["additionalProperties"] = {}  # the same as true, on which one client library fails as on false
        whole = {key: int(value) for key, value in made.items() if isinstance(value, float) and value.is_integer()}
        return made | whole

    def definitions_schema(self, schema: core_schema.DefinitionsSchema) -> JsonSchemaValue:
        """Remember what is named, and write it where its name stands."""
        self._named = {str(inner.get("ref")): inner for inner in schema["definitions"]}
        return self.generate_inner(schema["schema"])

    def definition_ref_schema(self, schema: core_schema.DefinitionReferenceSchema) -> JsonSchemaValue:
        """Write what a name stands for."""
        return self.generate_inner(self._named[schema["schema_ref"]])

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Write the type alone: an argument without a value is left out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out a default that says nothing."""
        made = super().default_schema(schema)
        if made.get("default") in (None, False, [], {}):
            made.pop("default", None)
        return made

    def list_schema(self, schema: core_schema.ListSchema) -> JsonSchemaValue:
        """Describe the fields of a list's items without ranges: the list's own description has them."""
        made = super().list_schema(schema)
        items = cast("Schema", made["items"])
        items.pop("description", None)
        rows = cast("dict[str, Schema]", items.get("properties", {}))
        for row in rows.values():
            for key in row.keys() - {"type", "description"}:
                del row[key]
        return made

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic asks for each
        """Give no field a title."""
        return False


def input_schema(model: type[BaseModel]) -> Schema:
    """The schema of a tool's arguments."""
    made = model.model_json_schema(schema_generator=ShortSchema)
    made.pop("description", None)
    for name, field in model.model_fields.items():
        row = made["properties"][name]
        if field.default is None and field.description:  # same bytes as in earlier versions: hosts cache by them
            row["description"] = row.pop("description")
    return made


def output_schema(model: type[BaseModel]) -> Schema:
    """The schema of a tool's structured answer: the fields that are always there, not the inside of nested objects.

    Read from the annotations: that spares every start the building of models that it does not use (10 ms).
    """
    shallow: Schema = {}
    for name, field in model.model_fields.items():
        kind = get_origin(field.annotation) or field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        if field.is_required():
            shallow[name] = {"type": "object" if nested else _TYPES[kind]}
    return {"type": "object", "properties": shallow}
