"""The MCP server: tools, resources, prompts and completions over one running application.

Built on the SDK's lowlevel server (docs/decisions/2026-11-21-lowlevel-server.md); serves both eras of the protocol.
Users are asked in an answer that wants the call again, or by a request of the server.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.foundation.text import bounded, shortened
from controlnet_mcp.images.references import path_spellings
from controlnet_mcp.jobs.budget import AskUser
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server import __version__
from controlnet_mcp.server.app import Application
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.auth.principals import local as this_machine
from controlnet_mcp.server.logs import redacted
from controlnet_mcp.server.mcp.delivery import Context, Deliveries
from controlnet_mcp.server.mcp.messages import bound
from controlnet_mcp.server.mcp.prompts import PROMPTS, complete, get_prompt
from controlnet_mcp.server.mcp.rendering import render, render_error
from controlnet_mcp.server.mcp.resources import RESOURCES, TEMPLATES, ResourceReader
from controlnet_mcp.server.mcp.subscriptions import JobUpdates
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import AskRoots, Call, Progress, Tool, input_schema, output_schema

_KEY = "confirm"
_ROOTS_KEY = "roots"
_ROOTS_SECONDS = 2.0
_MOST_ROOTS = 50
_ANSWER_SECONDS = 600.0
"""Time that a request of the server stays open; after that the answer is no."""
_NO_FIELDS: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The form of a question that accepting or declining answers."""
_log = logging.getLogger(__name__)
AskT = TypeVar("AskT", AskUser, AskRoots)


class InputNeededError(Exception):
    """A call cannot go on before the user answered; the client repeats it with the answer.

    Attributes:
        result: The answer to the call until then.
    """

    def __init__(self, requests: Mapping[str, types.InputRequest], state: str | None = None) -> None:
        super().__init__(*requests)
        self.result = types.InputRequiredResult(input_requests=dict(requests), request_state=state)


def ask_user_by(context: Context, params: types.CallToolRequestParams) -> AskUser | None:
    """The way to ask the user during a call; `None` where the client has none."""

    async def read_answer(question: str) -> bool:
        """Read the answer that came with a repeated call; it counts only for this question, sealed in its state.

        Raises:
            InputNeededError: It was not asked yet, or the price has changed since.
        """
        answers = params.input_responses or {}
        answer = answers.get(_KEY)
        if not isinstance(answer, types.ElicitResult) or params.request_state != question:
            form = types.ElicitRequestFormParams(message=question, requested_schema=dict(_NO_FIELDS))
            again = {_ROOTS_KEY: types.ListRootsRequest()} if _ROOTS_KEY in answers else {}
            raise InputNeededError({_KEY: types.ElicitRequest(params=form), **again}, question)
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
    return _of_its_era(context, read_answer, ask)


def ask_roots_by(context: Context, params: types.CallToolRequestParams) -> AskRoots | None:
    """The way to ask a client for the folders that it works in; `None` where it declares none."""

    async def read_answer() -> Sequence[Path]:
        """Read the answer that came with a repeated call.

        Raises:
            InputNeededError: It was not asked yet.
        """
        answer = (params.input_responses or {}).get(_ROOTS_KEY)
        if not isinstance(answer, types.ListRootsResult):
            raise InputNeededError({_ROOTS_KEY: types.ListRootsRequest()})
        return _folders(answer)

    async def ask() -> Sequence[Path]:
        """Ask and wait a moment; a client that fails to answer has none."""
        try:
            with anyio.fail_after(_ROOTS_SECONDS):
                return _folders(await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult))
        except (MCPError, ValueError, TimeoutError) as error:
            _log.warning("The client was asked for its roots and gave none: %s", type(error).__name__)
            return ()

    declared = context.session.client_capabilities
    if declared is None or declared.roots is None:
        return None
    return _of_its_era(context, read_answer, ask)


def _of_its_era(context: Context, read_answer: AskT, ask: AskT) -> AskT | None:
    """The way to ask that a client's era of the protocol has: by a repeated call, or by a request of the server."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return read_answer
    return ask if context.session.can_send_request else None


def _folders(answer: types.ListRootsResult) -> Sequence[Path]:
    """The folders of this machine among the roots of a client."""
    folders: list[Path] = []
    for root in answer.roots[:_MOST_ROOTS]:
        with suppress(RequestError):  # a folder of another machine
            folders += [Path(spelling) for spelling in path_spellings(str(root.uri))[:1]]
    return [folder for folder in folders if folder.is_absolute()]


INSTRUCTIONS = (
    "ControlNet image generation: redraw a picture (sketch, photo, control map) in a new look, keeping its structure. "
    "Call controlnet_generate with the picture and a prompt. While the job is not finished call job_status; do not "
    "submit it again. Jobs may cost money: dry_run=true shows the price. list_modalities tells structures and "
    "providers; provider draft is free and not AI. Show finished pictures; pass their uri on to build on them."
)
_LIST_TTL_MS = 300_000
_TOOLS = {tool.name: tool for tool in TOOLS}
ResultT = TypeVar("ResultT", bound=types.Result)


def progress_for(context: Context, redactor: Redactor) -> Progress | None:
    """The way to tell a client how far its call is; `None` when the request did not ask for it."""
    if context.meta is None or context.meta.get("progress_token") is None:
        return None

    async def tell(fraction: float, message: str) -> None:
        await context.session.report_progress(fraction, 1.0, bounded(redactor.text(message)))

    return tell


@dataclass(frozen=True, slots=True)
class Handlers:
    """Calls of tools, and their callers.

    Attributes:
        application: The running process.
        links: Makes links to originals where others can reach this server.
        local: Client and server share a machine.
        principal: Names the sender of the request at hand.
    """

    application: Application
    links: FileLinks | None
    local: bool
    principal: Callable[[], str]

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a tool; a refusal becomes a result that the model reads, and no answer holds a secret."""
        services, settings = self.application.services, self.application.settings
        redactor = settings.redactor
        try:
            tool = tool_named(params.name)
            await self.application.table.load()
            ask_roots = ask_roots_by(context, params) if self.local else None  # else its folders are elsewhere
            call = Call(self.caller(ask_user_by(context, params)), progress_for(context, redactor), ask_roots)
            answer = await tool.run(services, params.arguments or {}, call)
            links = self.links and self.links.seen_by(context.request)
            typed, linked = tool.output is not None, settings.resource_links
            result = await render(answer, services.blobs, links, typed=typed, linked=linked)
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

    def caller(self, ask_user: AskUser | None = None) -> Caller:
        """The sender of the request at hand."""
        return Caller(self.principal(), self.local, ask_user)


def fixed(answer: Callable[[], ResultT]) -> Callable[[Context, object], Awaitable[ResultT]]:
    """A handler that gives everybody the same answer, whole, made anew each time: most are never asked for."""

    async def handle(_context: Context, params: object) -> ResultT:
        if isinstance(params, types.PaginatedRequestParams) and params.cursor:
            said = f"The cursor {shortened(params.cursor)!r} is of no list here: all have one page."
            raise MCPError(code=types.INVALID_PARAMS, message=said, data={"cursor": params.cursor})
        return answer()

    return handle


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
    handlers = Handlers(application, links, local, principal)
    hint = CacheHint(ttl_ms=_LIST_TTL_MS, scope="public")
    server: Server[dict[str, Any]] = Server(
        "controlnet",
        version=__version__,
        title="ControlNet",
        instructions=INSTRUCTIONS,
        # for the SDK's check of HTTP headers; else it asks for the whole list on every call
        get_tool_input_schema=lambda name: wire_tool(_TOOLS[name]).input_schema if name in _TOOLS else None,
        cache_hints={"tools/list": hint, "prompts/list": hint, "resources/templates/list": hint},
        on_list_tools=fixed(lambda: types.ListToolsResult(tools=[wire_tool(tool) for tool in TOOLS])),
        on_call_tool=handlers.call_tool,
        on_list_resources=fixed(lambda: types.ListResourcesResult(resources=list(RESOURCES))),
        on_list_resource_templates=fixed(lambda: types.ListResourceTemplatesResult(resource_templates=list(TEMPLATES))),
        on_read_resource=lambda context, params: ResourceReader(
            application, links and links.seen_by(context.request), handlers.caller()
        ).read(params.uri),
        on_subscribe_resource=lambda context, params: updates.subscribe(context, params, handlers.caller()),
        on_unsubscribe_resource=updates.unsubscribe,
        on_subscriptions_listen=lambda context, params: updates.listen(context, params, handlers.caller()),
        on_list_prompts=fixed(lambda: types.ListPromptsResult(prompts=list(PROMPTS))),
        on_get_prompt=get_prompt,
        on_completion=lambda _, params: complete(application, params, handlers.caller()),
    )
    server.middleware.append(bound)
    if application.settings.confirm_above:  # a question comes back with the call: its text is sealed
        server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="controlnet"))
    server.middleware.append(Deliveries(application.services.jobs).handle_late_cancel)
    # jobs can be subscribed to, and no list ever changes: the SDK's own answer would promise changes
    discover = fixed(
        lambda: types.DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=server.get_capabilities(),
            instructions=server.instructions,
        )
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
    if name not in _TOOLS:
        raise RequestError("invalid_request", f"There is no tool {name[:60]!r}.", hint=f"Known: {', '.join(_TOOLS)}.")
    return _TOOLS[name]
