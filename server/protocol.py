"""The MCP server object: tools, resources, prompts and completions over one running application.

Built on the SDK's lowlevel server (docs/decisions/2026-11-21-lowlevel-server.md); serves both protocol eras.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from controlnet_mcp.images.errors import ControlNetError, RequestError
from controlnet_mcp.jobs.desk import Caller
from controlnet_mcp.server import __version__
from controlnet_mcp.server.completions import complete
from controlnet_mcp.server.composition import PRINCIPAL, Application
from controlnet_mcp.server.file_links import FileLinks
from controlnet_mcp.server.prompts import PROMPTS, prompt_result
from controlnet_mcp.server.rendering import render, render_error
from controlnet_mcp.server.resources import RESOURCES, TEMPLATES, ResourceReader
from controlnet_mcp.tools.registry import TOOLS
from controlnet_mcp.tools.schema import input_schema, output_schema
from controlnet_mcp.tools.spec import Call, Hints, Progress, Tool

INSTRUCTIONS = (
    "ControlNet image generation: redraw a picture (sketch, photo, control map) in a new look, keeping its structure. "
    "Call controlnet_generate with the picture and a prompt. While the job is not finished call job_status; do not "
    "submit it again. Jobs may cost money: dry_run=true shows the price. list_modalities tells structures and "
    "providers; provider draft is free and not AI. Show finished pictures; pass their uri on to build on them."
)
_LIST_TTL_MS = 300_000
_log = logging.getLogger(__name__)

Context: TypeAlias = ServerRequestContext[dict[str, Any], Any]
"""The SDK's request context; what the lifespan and the transport put into it is not used."""


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


@dataclass(frozen=True, slots=True)
class Handlers:
    """The answers to the protocol's requests.

    Attributes:
        application: What is behind them.
        links: Makes links to originals where others can reach this server.
        local: Whether client and server share a machine.
    """

    application: Application
    links: FileLinks | None
    local: bool

    async def list_tools(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """All tools, always in the same order."""
        return types.ListToolsResult(tools=[wire_tool(tool) for tool in TOOLS])

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Run a tool; what it refuses becomes a result that the model reads."""
        services = self.application.services
        try:
            tool = _tool_named(params.name)
            await self.application.table.load()
            call = Call(Caller(PRINCIPAL, self.local), _progress(context))
            answer = await tool.run(services, params.arguments or {}, call)
            result = await render(answer, services.blobs, self.links, typed=tool.output is not None)
        except ControlNetError as error:
            return render_error(error)
        except Exception:  # noqa: BLE001  # the client gets a sentence, the log gets the rest
            _log.exception("The tool %s failed.", params.name)
            return render_error(_OUR_FAULT)
        if answer.job_id is not None:  # reached only if the call was neither cancelled nor disconnected
            await self._delivered(answer.job_id)
        return result

    async def _delivered(self, job_id: str) -> None:
        """Note that a job was named; where that fails, the same call later is given the same job."""
        try:
            await self.application.services.desk.delivered(job_id)
        except ControlNetError as error:
            _log.warning("It could not be noted that job %s was answered for: %s", job_id, error)

    async def list_resources(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """The fixed resources; jobs and pictures are templates."""
        return types.ListResourcesResult(resources=list(RESOURCES))

    async def list_templates(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """The shapes of job and picture URIs."""
        return types.ListResourceTemplatesResult(resource_templates=list(TEMPLATES))

    async def read_resource(
        self, _context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Read one resource."""
        reader = ResourceReader(self.application, self.links, local=self.local)
        return await reader.read(str(params.uri))

    async def list_prompts(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """The common wishes."""
        return types.ListPromptsResult(prompts=list(PROMPTS))

    async def get_prompt(self, _context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """One wish, worded for a model."""
        return prompt_result(params.name, params.arguments or {})

    async def complete(self, _context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Names that begin like what was typed."""
        return await complete(self.application, params)


def build_server(application: Application, *, links: FileLinks | None = None, local: bool) -> Server[dict[str, Any]]:
    """Make a server for one transport."""
    handlers = Handlers(application, links, local)
    hint = CacheHint(ttl_ms=_LIST_TTL_MS, scope="public")
    return Server(
        "controlnet",
        version=__version__,
        title="ControlNet",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=_input_schema_of,
        cache_hints={"tools/list": hint, "prompts/list": hint, "resources/templates/list": hint},
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_completion=handlers.complete,
    )


_OUR_FAULT = ControlNetError(
    "provider_failed",
    "The controlnet server itself failed; its log has the details.",
    hint="If a job was submitted, list_jobs shows it.",
    retryable=True,
)


def _tool_named(name: str) -> Tool:
    tool = next((tool for tool in TOOLS if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in TOOLS)
        raise RequestError("invalid_request", f"There is no tool {name[:60]!r}.", hint=f"Known: {known}.")
    return tool


def _input_schema_of(name: str) -> dict[str, Any] | None:
    """For the SDK's check of HTTP headers, which else asks for the whole list on every call."""
    return next((wire_tool(tool).input_schema for tool in TOOLS if tool.name == name), None)


def _progress(context: Context) -> Progress | None:
    """How to tell progress, when the request asked for it."""
    if context.meta is None or context.meta.get("progress_token") is None:
        return None

    async def tell(fraction: float, message: str) -> None:
        await context.session.report_progress(fraction, 1.0, message)

    return tell
