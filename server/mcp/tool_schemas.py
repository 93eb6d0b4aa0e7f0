"""Tools as clients see them."""

from functools import cache
from typing import Any

import mcp_types as types

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.tools.registry import TOOLS
from controlnet_mcp.tools.schema import input_schema, output_schema
from controlnet_mcp.tools.spec import Hints, Tool


@cache
def wire_tool(tool: Tool) -> types.Tool:
    """A tool as clients see it; made when it is first asked for."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments),
        output_schema=output_schema(tool.output) if tool.output else None,
        annotations=_annotations(tool.hints),
    )


def _annotations(hints: Hints) -> types.ToolAnnotations:
    """What hosts may assume; whether it destroys or repeats means nothing for a tool that only reads."""
    if hints.read_only:
        return types.ToolAnnotations(read_only_hint=True, open_world_hint=hints.open_world)
    return types.ToolAnnotations(
        read_only_hint=False,
        destructive_hint=hints.destructive,
        idempotent_hint=hints.idempotent,
        open_world_hint=hints.open_world,
    )


def tool_named(name: str) -> Tool:
    """Find a tool.

    Raises:
        RequestError: `invalid_request`, with the names that exist.
    """
    tool = next((tool for tool in TOOLS if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in TOOLS)
        raise RequestError("invalid_request", f"There is no tool {name[:60]!r}.", hint=f"Known: {known}.")
    return tool


def input_schema_of(name: str) -> dict[str, Any] | None:
    """For the SDK's check of HTTP headers, which else asks for the whole list on every call."""
    return next((wire_tool(tool).input_schema for tool in TOOLS if tool.name == name), None)
