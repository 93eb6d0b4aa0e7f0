"""JSON schemas that every host takes: flat and inlined, without references, titles, or nulls in unions; and short.

Clients send the whole list to a model on every turn, so lengths, empty defaults and the inside of answers are left
out of it. Arguments are checked against the full model all the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, cast, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

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
        if made.get("additionalProperties") is True:
            del made["additionalProperties"]
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
