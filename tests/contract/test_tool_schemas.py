"""What clients see of the tools: snapshots of every schema, and rules that hold for all of them.

`CONTROLNET_MCP_TEST_REWRITE=1 pytest tests/contract/test_tool_schemas.py` writes the snapshots anew; review the
difference, because every client pays for it on every turn.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import mcp_types as types
import pytest
from pydantic import JsonValue, TypeAdapter

from controlnet_mcp.server.mcp.protocol import INSTRUCTIONS, wire_tool
from controlnet_mcp.tools import TOOLS
from tests.support.mcp_session import Session

SNAPSHOTS = Path(__file__).parents[1] / "snapshots" / "tools"
REWRITE = "CONTROLNET_MCP_TEST_REWRITE"
WIRE: dict[str, types.Tool] = {tool.name: wire_tool(tool) for tool in TOOLS}
TYPED = {"list_modalities", "cancel_job", "list_jobs", "list_models"}
"""Tools that promise structured content: the other three may answer with pictures."""
JSON_TYPES = {"object", "array", "string", "number", "integer", "boolean"}


def written(tool: types.Tool) -> str:
    """A tool as it goes over the wire, laid out for reading."""
    wire = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(wire, indent=2, ensure_ascii=False) + "\n"


def parts(schema: JsonValue, *, of_names: bool = False) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """Every schema inside a schema, with where it stands; a map of property names is no schema itself."""
    match schema:
        case dict() if of_names:
            for name, inner in schema.items():
                yield from ((f"{name}/{where}", part) for where, part in parts(inner))
        case dict():
            yield "", schema
            for key, inner in schema.items():
                if isinstance(inner, dict | list) and key not in {
                    "default",
                    "enum",
                    "required",
                    "additionalProperties",
                }:
                    nested = parts(inner, of_names=key == "properties")
                    yield from ((f"{key}/{where}", part) for where, part in nested)
        case list():
            for inner in schema:
                yield from parts(inner)
        case _:
            return


def schemas(tool: types.Tool) -> list[tuple[str, dict[str, JsonValue]]]:
    """All schemas of a tool, those of its arguments and of its answer."""
    read = TypeAdapter(JsonValue).validate_python
    roots = [read(tool.input_schema), *([read(tool.output_schema)] if tool.output_schema else [])]
    return [found for root in roots for found in parts(root)]


@pytest.mark.parametrize("name", WIRE)
def test_a_tool_looks_to_clients_as_it_did(name: str) -> None:
    """The wire form equals the reviewed file."""
    path = SNAPSHOTS / f"{name}.json"
    if os.environ.get(REWRITE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(WIRE[name]), encoding="utf-8")
    assert path.is_file(), f"{path} is missing; {REWRITE}=1 writes it"
    assert written(WIRE[name]) == path.read_text(encoding="utf-8"), f"{REWRITE}=1 accepts the change"


def test_there_is_a_snapshot_of_nothing_else() -> None:
    """A tool that is gone leaves no file behind."""
    assert {path.stem for path in SNAPSHOTS.iterdir()} == set(WIRE)


@pytest.mark.parametrize("name", WIRE)
def test_schemas_are_flat_and_plain(name: str) -> None:
    """No references, no combinators, no titles, and one plain type on every part: several hosts mangle the rest."""
    for where, part in schemas(WIRE[name]):
        assert part.keys().isdisjoint({"$ref", "$defs", "anyOf", "oneOf", "allOf", "title"}), where
        assert part.get("type") in JSON_TYPES, where


def test_a_reference_deep_inside_is_found() -> None:
    """The walk over a schema itself can fail: it reaches items, combinators, and properties named like keywords."""
    deep: JsonValue = {
        "properties": {"properties": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/X"}, {"type": "null"}]}}}
    }
    assert any("$ref" in part for _, part in parts(deep))
    assert sum("anyOf" in part for _, part in parts(deep)) == 1
    assert [where for where, part in parts({"properties": {"title": {"type": "string"}}}) if "title" in part] == []


@pytest.mark.parametrize("name", WIRE)
def test_no_schema_forbids_further_properties(name: str) -> None:
    """H4: google-genai fails on `additionalProperties: false`, and on true; unknown arguments are refused anyway."""
    for where, part in parts(TypeAdapter(JsonValue).validate_python(WIRE[name].input_schema)):
        assert not isinstance(part.get("additionalProperties"), bool), where


@pytest.mark.parametrize("name", WIRE)
def test_open_objects_say_that_they_are_open(name: str) -> None:
    """H5: one client library empties an object without known properties that does not say so.

    As the empty schema, which is the same as true: google-genai fails on either boolean (H4).
    """
    for where, part in parts(TypeAdapter(JsonValue).validate_python(WIRE[name].input_schema)):
        if part["type"] == "object" and "properties" not in part:
            assert part.get("additionalProperties") == {}, where


@pytest.mark.anyio
@pytest.mark.parametrize("name", WIRE)
async def test_no_argument_is_taken_silently(session: Session, name: str) -> None:
    """H4: an unknown argument is an error with the nearest known one, whatever the listed schema says."""
    known = next(iter(WIRE[name].input_schema["properties"]))
    error = (await session.call(name, **{f"{known}x": "a"})).error
    assert error.code == "invalid_request"
    assert f"{known}x" in error.message
    assert f"Did you mean {known}?" in error.hint


@pytest.mark.parametrize("name", WIRE)
def test_a_tool_says_what_it_is_and_does(name: str) -> None:
    """Name, title and description are there, and every hint that means something for it is set."""
    tool = WIRE[name]
    assert re.fullmatch(r"[a-z_]{1,48}", name)
    assert tool.title
    assert tool.description
    hints = tool.annotations
    assert hints is not None
    assert None not in {hints.read_only_hint, hints.open_world_hint}
    assert hints.read_only_hint or None not in {hints.destructive_hint, hints.idempotent_hint}


def test_the_tools_that_change_something_say_so() -> None:
    """Hosts ask their user before these; they do not before the others."""
    hints = {name: tool.annotations for name, tool in WIRE.items()}
    writing = {name for name, hint in hints.items() if hint and not hint.read_only_hint}
    assert writing == {"controlnet_generate", "cancel_job"}
    assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {"cancel_job"}
    assert {name for name, hint in hints.items() if hint and hint.open_world_hint} >= {
        "controlnet_generate",
        "list_models",
    }


def test_only_tools_without_pictures_promise_structured_content() -> None:
    """One common host shows a model either the structured content or the pictures, never both."""
    assert {name for name, tool in WIRE.items() if tool.output_schema} == TYPED


def test_the_instructions_are_short() -> None:
    """Clients pay for them on every turn, too."""
    assert 0 < len(INSTRUCTIONS) < 500


@pytest.mark.anyio
async def test_tools_are_listed_in_the_same_order_every_time(session: Session) -> None:
    """A prompt cache of the client stays valid."""
    first = await session.client.list_tools(cache_mode="bypass")
    again = await session.client.list_tools(cache_mode="bypass")
    assert [tool.name for tool in first.tools] == [tool.name for tool in again.tools] == [tool.name for tool in TOOLS]
    assert first.next_cursor is None
