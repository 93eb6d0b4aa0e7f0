"""The HTTP server: MCP by Streamable HTTP and by SSE with the same jobs, originals by signed links, and `/health`."""

import dataclasses
import logging
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import mcp_types as types
import uvicorn
from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.decode import Decoder
from controlnet_mcp.images.sandbox import DecodeWorkers
from controlnet_mcp.server import __version__
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.auth.access import Access, base_url, check_host, open_access
from controlnet_mcp.server.auth.file_links import FileLinks, forwarded_prefix, load_secret
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.delivery import SCOPE_KEY, AnswerDelivery, Deliveries, serve_client
from controlnet_mcp.server.mcp.messages import Unreadable, in_one_line_bytes, recovered, well_formed
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.mcp.subscriptions import JobUpdates
from controlnet_mcp.server.settings import Settings, system_variables
from controlnet_mcp.server.transports.shutdown import background, ending_on_signals, leave_soon

_log = logging.getLogger(__name__)
_THREADED_BYTES = 1024 * 1024
"""Bodies from this size on are read in a thread."""
_INVALID = types.INVALID_REQUEST
_COMPRESSED = Unreadable(_INVALID, "The body has a Content-Encoding, and none is read here: send it as it is.")
_NO_REPLAY = Unreadable(_INVALID, "No events are kept here to be sent again: connect without Last-Event-ID.")
_UNSUPPORTED_MEDIA_TYPE, _BAD_REQUEST = 415, 400


@dataclass(frozen=True, slots=True)
class MessageEndpoint:
    """An endpoint that is handed one message by POST: what is none is answered here, and never reaches the SDK.

    Attributes:
        app: The endpoint, for bodies that came whole.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; one that was given up before it was whole has no answer."""
        request, wrong, status = Request(scope), None, _BAD_REQUEST
        kept: list[Message] = []

        async def again() -> Message:
            return kept.pop() if kept else await receive()

        if request.method == "POST":
            message = await receive()
            if message["type"] != "http.request" or message.get("more_body", False):
                _log.info("A request ended before its body did.")
                return
            body: bytes = message.get("body", b"")
            if request.headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
                wrong, status = _COMPRESSED, _UNSUPPORTED_MEDIA_TYPE
            else:
                body, wrong = _read(body) if len(body) < _THREADED_BYTES else await to_thread.run_sync(_read, body)
            kept.append({**message, "body": body})
        elif request.method == "GET" and "last-event-id" in request.headers:
            wrong = _NO_REPLAY
        if wrong is None:
            await self.app(scope, again, send)
            return
        _log.info("A request was refused. %s", wrong.why)
        await Response(wrong.answer, status, media_type="application/json")(scope, receive, send)


def _read(body: bytes) -> tuple[bytes, Unreadable | None]:
    """The body as the SDK can read it, or what is wrong with it (blocks)."""
    if well_formed(body) is not None:
        return body, None
    messages = recovered(body) or [Unreadable(types.PARSE_ERROR, "The body is empty.")]
    if isinstance(messages[0], Unreadable):
        return body, messages[0] if len(messages) == 1 else dataclasses.replace(messages[0], request_id=None)
    return messages[0].model_dump_json(by_alias=True, exclude_unset=True).encode(), None


def _in_one_line(send: Send) -> Send:
    """Send bodies without characters that end a line for some readers of event streams."""

    async def passed(message: Message) -> None:
        if b"\xc2\x85" in (body := message.get("body", b"")) or b"\xe2\x80" in body:
            message = {**message, "body": in_one_line_bytes(body)}
        await send(message)

    return passed


@dataclass(frozen=True, slots=True)
class SseEndpoint:
    """`GET /sse`: one MCP connection per request; jobs outlive it.

    Attributes:
        prefix: The path of this server for others, where no proxy tells it.
    """

    server: Server[dict[str, Any]]
    transport: SseServerTransport
    deliveries: Deliveries
    prefix: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until either side closes it; the path for messages is as the client sees it."""
        seen = {**scope, "root_path": forwarded_prefix(Headers(scope=scope)) or self.prefix}
        async with self.transport.connect_sse(seen, receive, _in_one_line(send)) as (read, write):
            await serve_client(self.server, read, write, self.deliveries)


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """`/mcp`: Streamable HTTP; an answer whose client leaves before all of it is written counts as lost."""

    app: StreamableHTTPASGIApp
    deliveries: Deliveries
    principal: Callable[[], str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        delivery, written, sent = AnswerDelivery(self.principal()), False, _in_one_line(send)
        scope[SCOPE_KEY] = delivery

        async def passed(message: Message) -> None:
            nonlocal written
            await sent(message)
            written = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self.app(scope, receive, passed)
        finally:
            delivery.closed = not written
            for job_id in () if written else delivery.jobs:
                await self.deliveries.mark_lost(job_id)


_DRAIN_SECONDS = 5


def build_app(application: Application, links: FileLinks, access: Access, updates: JobUpdates) -> Starlette:
    """The web application: `/mcp`, `/sse` with `/messages/`, `/files/{name}` for signed links, and `/health`.

    Under the path of the public URL, if it has one, the same is served once more, for proxies that pass it on.
    """
    server = build_server(application, links=links, local=False, principal=access.principal, updates=updates)
    deliveries = Deliveries(application.services.jobs)
    limit = application.settings.max_request_bytes
    prefix = urlsplit(application.settings.public_url or "").path.rstrip("/")
    # names and pages are checked by the access, which says what to set
    sessions = StreamableHTTPSessionManager(server, max_request_body_size=limit)
    sse = SseServerTransport("/messages/", max_request_body_size=limit)
    mcp = McpEndpoint(StreamableHTTPASGIApp(sessions), deliveries, access.principal)

    def messages(app: ASGIApp) -> ASGIApp:
        return access.guarded(RequestBodyLimitMiddleware(MessageEndpoint(app), limit))

    async def original(request: Request) -> Response:
        query, name = request.query_params, str(request.path_params["name"])
        opened = links.opens(name, query.get("expires", ""), query.get("signature", ""))
        if opened is None:
            return PlainTextResponse("There is no such file, or the link has expired.", status_code=404)
        try:
            content = await to_thread.run_sync(application.services.blobs.get, opened[0])
        except ControlNetError as error:
            return PlainTextResponse(str(error), status_code=404)
        headers = {"cache-control": "private, immutable", "x-content-type-options": "nosniff"}
        return Response(content, media_type=opened[1], headers=headers)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    routes: list[BaseRoute] = [
        Route("/mcp", endpoint=messages(mcp)),
        Route("/sse", endpoint=access.guarded(SseEndpoint(server, sse, deliveries, prefix)), methods=["GET"]),
        Mount("/messages/", app=messages(sse.handle_post_message)),
        Route("/files/{name}", endpoint=original, methods=["GET"]),
        Route("/health", endpoint=health, methods=["GET"]),
        *access.routes,
    ]
    if prefix:
        routes.append(Mount(prefix, routes=[*routes]))
    return Starlette(routes=routes, lifespan=lambda _app: sessions.run(), middleware=access.middleware)


class _WebServer(uvicorn.Server):
    """Leaves signals to `ending_on_signals`: the jobs are drained after the connections are closed."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Catch none."""
        yield

    async def end_after(self, asked: anyio.Event, updates: JobUpdates) -> None:
        """Once asked, take no more connections; open ones end, and calls that wait for a job get it as it stands."""
        await asked.wait()
        updates.close()
        updates.jobs.subscriptions.close()
        self.handle_exit(signal.SIGTERM, None)


async def serve(settings: Settings, host: str, port: int, announce: Callable[[], object], decoder: Decoder) -> int:
    """Serve until the process is told to stop; gives the exit code. `announce` is called once nothing is refused."""
    asked = anyio.Event()
    async with ending_on_signals(asked.set) as ending:
        async with open_application(settings, decoder) as application, background() as tasks:
            access = await open_access(settings)
            secret = await to_thread.run_sync(load_secret, settings.data_folder)
            address = settings.public_url or base_url(host, port)
            links = FileLinks(address, secret, time.time, told=settings.public_url is not None)
            updates = JobUpdates(application.services.jobs, application.tasks)
            config = uvicorn.Config(
                build_app(application, links, access, updates),
                host=host,
                port=port,
                log_config=None,  # its records take the way of all others, through the filter of secrets
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
            server = _WebServer(config)
            tasks.start_soon(server.end_after, asked, updates)
            announce()
            await server.serve()
        leave_soon(ending)
    return ending.exit_code


def run(settings: Settings, host: str, port: int, announce: Callable[[], object] = lambda: None) -> None:
    """Block until the process is told to stop; `announce` tells where it serves, after all settings were read."""
    check_host(host, authenticates=settings.authenticates)
    log_to_stderr(settings.log_level, settings.redactor)
    with closing(DecodeWorkers(system_variables())) as workers:
        code = anyio.run(serve, settings, host, port, announce, workers.decode)
    sys.exit(code)
