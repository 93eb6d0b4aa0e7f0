"""JSON schemas that every host takes: flat and inlined, without references, titles, or nulls in unions; and short.

Clients send the whole list to a model on every turn, so lengths, empty defaults and the inside of answers are left
out of it. Arguments are checked against the full model all the same.
"""

from datetime import datetime
from typing import Literal, cast, get_origin

from pydantic import BaseModel, JsonValue

Schema = dict[str, JsonValue]
_CUT = frozenset({"title", "$defs", "minLength", "maxLength", "maxItems"})
_SAYS_NOTHING: tuple[JsonValue, ...] = (None, False, [], {})
_NESTED = ("type", "description")
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
"""How the fields of answers are written, nested models apart."""


def input_schema(model: type[BaseModel]) -> Schema:
    """The schema of a tool's arguments."""
    raw = cast("Schema", model.model_json_schema())
    flat = _flat(raw, cast("dict[str, Schema]", raw.get("$defs", {})))
    flat.pop("description", None)
    return flat


def output_schema(model: type[BaseModel]) -> Schema:
    """The schema of a tool's structured answer: the fields that are always there, not the inside of nested objects.

    Read from the annotations: that spares every start the building of models that it does not use (10 ms).
    """
    shallow: Schema = {
        name: {"type": _type_of(field.annotation)} for name, field in model.model_fields.items() if field.is_required()
    }
    return {"type": "object", "properties": shallow}


def _type_of(annotation: object) -> str:
    kind = get_origin(annotation) or annotation
    return "object" if isinstance(kind, type) and issubclass(kind, BaseModel) else _TYPES[kind]


def _flat(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Inline references, and take the one option that is not null."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = dict(definitions[reference.rsplit("/", 1)[-1]])
        target.pop("description", None)
        return _flat(target | {key: value for key, value in schema.items() if key != "$ref"}, definitions)
    options = schema.get("anyOf")
    if isinstance(options, list):
        kept = [cast("Schema", option) for option in options if option != {"type": "null"}]
        if len(kept) == 1:
            return _flat(kept[0] | {key: value for key, value in schema.items() if key != "anyOf"}, definitions)
    return {key: _part(key, value, definitions) for key, value in schema.items() if _says(key, value)}


def _says(key: str, value: JsonValue) -> bool:
    if key == "additionalProperties":
        return value is False
    return key not in _CUT and not (key == "default" and value in _SAYS_NOTHING)


def _nested(schema: Schema) -> Schema:
    """The fields of a list's items, without ranges: the list's own description has them."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return schema
    rows = cast("dict[str, Schema]", properties)
    short: Schema = {name: {key: row[key] for key in _NESTED if key in row} for name, row in rows.items()}
    return {**schema, "properties": short}


def _part(key: str, value: JsonValue, definitions: dict[str, Schema]) -> JsonValue:
    if key == "properties" and isinstance(value, dict):
        return {name: _flat(cast("Schema", inner), definitions) for name, inner in value.items()}
    if key == "items" and isinstance(value, dict):
        return _nested(_flat(value, definitions))
    whole = isinstance(value, float) and value.is_integer()
    return int(cast("float", value)) if whole else value
