"""The MCP server: tools, resources, prompts and completions over one running application.

Built on the SDK's lowlevel server (docs/decisions/2026-11-21-lowlevel-server.md); serves both eras of the protocol.
Users are asked in an answer that wants the call again, or by a request of the server.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.jobs.budget import AskUser
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server import __version__
from controlnet_mcp.server.app import Application
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.auth.principals import local as this_machine
from controlnet_mcp.server.logs import redacted
from controlnet_mcp.server.mcp.delivery import Deliveries
from controlnet_mcp.server.mcp.prompts import PROMPTS, complete, prompt_result
from controlnet_mcp.server.mcp.rendering import render, render_error
from controlnet_mcp.server.mcp.resources import RESOURCES, TEMPLATES, ResourceReader
from controlnet_mcp.server.mcp.subscriptions import Context, JobUpdates
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import Call, Progress, Tool, input_schema, output_schema

_KEY = "confirm"
_ANSWER_SECONDS = 600.0
"""Time that a request of the server stays open; after that the answer is no."""
_NO_FIELDS: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The form of a question that accepting or declining answers."""
_log = logging.getLogger(__name__)


class InputNeededError(Exception):
    """A call cannot go on before the user answered; the client repeats it with the answer.

    Attributes:
        result: The answer to the call until then.
    """

    def __init__(self, question: str) -> None:
        super().__init__(question)
        form = types.ElicitRequestFormParams(message=question, requested_schema=dict(_NO_FIELDS))
        asked = types.ElicitRequest(params=form)
        self.result = types.InputRequiredResult(input_requests={_KEY: asked}, request_state=question)


def ask_user_by(
    context: ServerRequestContext[dict[str, Any], Any], params: types.CallToolRequestParams
) -> AskUser | None:
    """The way to ask the user during a call; `None` where the client has none."""

    async def read_answer(question: str) -> bool:
        """Read the answer that came with a repeated call; it counts only for this question, sealed in its state.

        Raises:
            InputNeededError: It was not asked yet, or the price has changed since.
        """
        answer = (params.input_responses or {}).get(_KEY)
        if not isinstance(answer, types.ElicitResult) or params.request_state != question:
            raise InputNeededError(question)
        return answer.action == "accept"

    async def ask(question: str) -> bool:
        """Ask and wait; a client that fails to ask has not agreed."""
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                answer = await context.session.elicit_form(question, dict(_NO_FIELDS), context.request_id)
        except (MCPError, TimeoutError) as error:
            _log.warning("The user could not be asked: %s", type(error).__name__)
            return False
        return answer.action == "accept"

    declared = context.session.client_capabilities
    forms = declared.elicitation if declared is not None else None
    if forms is None or (forms.form is None and forms.url is not None):  # an empty capability means forms
        return None
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return read_answer
    return ask if context.session.can_send_request else None


INSTRUCTIONS = (
    "ControlNet image generation: redraw a picture (sketch, photo, control map) in a new look, keeping its structure. "
    "Call controlnet_generate with the picture and a prompt. While the job is not finished call job_status; do not "
    "submit it again. Jobs may cost money: dry_run=true shows the price. list_modalities tells structures and "
    "providers; provider draft is free and not AI. Show finished pictures; pass their uri on to build on them."
)
_LIST_TTL_MS = 300_000


def progress_for(context: Context, redactor: Redactor) -> Progress | None:
    """The way to tell a client how far its call is; `None` when the request did not ask for it."""
    if context.meta is None or context.meta.get("progress_token") is None:
        return None

    async def tell(fraction: float, message: str) -> None:
        await context.session.report_progress(fraction, 1.0, redactor.text(message))

    return tell


@dataclass(frozen=True, slots=True)
class Handlers:
    """Answers to the protocol's requests.

    Attributes:
        application: The running process.
        links: Makes links to originals where others can reach this server.
        local: Client and server share a machine.
        updates: Tells of changes of jobs.
        principal: Names the sender of the request at hand.
    """

    application: Application
    links: FileLinks | None
    local: bool
    updates: JobUpdates
    principal: Callable[[], str] = this_machine

    async def list_tools(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """All tools, always in the same order."""
        return types.ListToolsResult(tools=[wire_tool(tool) for tool in TOOLS])

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a tool; a refusal becomes a result that the model reads, and no answer holds a secret."""
        services, redactor = self.application.services, self.application.settings.redactor
        try:
            tool = tool_named(params.name)
            await self.application.table.load()
            caller = dataclasses.replace(self._caller(), ask_user=ask_user_by(context, params))
            answer = await tool.run(services, params.arguments or {}, Call(caller, progress_for(context, redactor)))
            result = await render(answer, services.blobs, self.links, typed=tool.output is not None)
        except InputNeededError as needed:
            return needed.result
        except ControlNetError as error:
            return redacted(render_error(error), redactor)
        except Exception:  # noqa: BLE001  # the client gets a sentence, the log gets the rest
            _log.exception("The tool %s failed.", params.name)
            return render_error(_OUR_FAULT)
        if answer.job_id is not None:  # reached only if the call was neither cancelled nor disconnected
            await Deliveries(services.jobs).mark_delivered(context, answer.job_id)
        return redacted(result, redactor)

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
        reader = ResourceReader(self.application, self.links, self._caller())
        return await reader.read(str(params.uri))

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell of a job's changes from now on, to a client of an earlier revision."""
        return await self.updates.subscribe(context, params, self._caller())

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell of jobs' changes on the stream of this request."""
        return await self.updates.listen(context, params, self._caller())

    async def list_prompts(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """All prompts."""
        return types.ListPromptsResult(prompts=list(PROMPTS))

    async def get_prompt(self, _context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """A prompt with its arguments filled in."""
        return prompt_result(params.name, params.arguments or {})

    async def complete(self, _context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Names that begin with what was typed."""
        return await complete(self.application, params, self._caller())

    def _caller(self) -> Caller:
        """The sender of the request at hand."""
        return Caller(self.principal(), self.local)


def build_server(
    application: Application,
    *,
    links: FileLinks | None = None,
    local: bool,
    principal: Callable[[], str] = this_machine,
    updates: JobUpdates | None = None,
) -> Server[dict[str, Any]]:
    """Make a server for one transport, of the parts of `Handlers`; it has updates of its own unless they are given."""
    updates = updates or JobUpdates(application.services.jobs, application.tasks)
    handlers = Handlers(application, links, local, updates, principal)
    hint = CacheHint(ttl_ms=_LIST_TTL_MS, scope="public")
    server: Server[dict[str, Any]] = Server(
        "controlnet",
        version=__version__,
        title="ControlNet",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=input_schema_of,
        cache_hints={"tools/list": hint, "prompts/list": hint, "resources/templates/list": hint},
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_subscribe_resource=handlers.subscribe,
        on_unsubscribe_resource=updates.unsubscribe,
        on_subscriptions_listen=handlers.listen,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_completion=handlers.complete,
    )
    if application.settings.confirm_above:  # a question comes back with the call: its text is sealed
        server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="controlnet"))
    server.middleware.append(Deliveries(application.services.jobs).handle_late_cancel)

    async def discover(_context: Context, _params: types.RequestParams) -> types.DiscoverResult:
        """Jobs can be subscribed to, and no list ever changes (the SDK would promise changes)."""
        return types.DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=server.get_capabilities(),
            instructions=server.instructions,
        )

    server.add_request_handler("server/discover", types.RequestParams, discover)
    return server


_OUR_FAULT = ControlNetError(
    "provider_failed",
    "The controlnet server itself failed; its log has the details.",
    hint="If a job was submitted, list_jobs shows it.",
    retryable=True,
)


@cache
def wire_tool(tool: Tool) -> types.Tool:
    """A tool as clients see it; whether it destroys or repeats means nothing for one that only reads."""
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments),
        output_schema=output_schema(tool.output) if tool.output else None,
        annotations=types.ToolAnnotations(
            read_only_hint=hints.read_only,
            destructive_hint=None if hints.read_only else hints.destructive,
            idempotent_hint=None if hints.read_only else hints.idempotent,
            open_world_hint=hints.open_world,
        ),
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
    """The schema of a tool, for the SDK's check of HTTP headers; else it asks for the whole list on every call."""
    return next((wire_tool(tool).input_schema for tool in TOOLS if tool.name == name), None)
