"""The HTTP server: MCP by Streamable HTTP and by SSE with the same jobs, originals by signed links, and `/health`."""

import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.decode import Decoder
from controlnet_mcp.images.sandbox import DecodeWorkers
from controlnet_mcp.server import __version__
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.auth.access import Access, check_host, open_access
from controlnet_mcp.server.auth.file_links import FileLinks, forwarded_prefix, load_secret
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.delivery import SCOPE_KEY, AnswerDelivery, Deliveries, serve_client
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.mcp.subscriptions import JobUpdates
from controlnet_mcp.server.settings import Settings, system_variables
from controlnet_mcp.server.transports.shutdown import background, ending_on_signals, leave_soon


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
        prefix = forwarded_prefix(Headers(scope=scope)) or self.prefix
        async with self.transport.connect_sse({**scope, "root_path": prefix}, receive, send) as (read, write):
            await serve_client(self.server, read, write, self.deliveries)


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """`/mcp`: Streamable HTTP; an answer whose client leaves before all of it is written counts as lost."""

    app: StreamableHTTPASGIApp
    deliveries: Deliveries
    principal: Callable[[], str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        delivery, written = AnswerDelivery(self.principal()), False
        scope[SCOPE_KEY] = delivery

        async def passed(message: Message) -> None:
            nonlocal written
            await send(message)
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
        Route("/mcp", endpoint=access.guarded(mcp)),
        Route("/sse", endpoint=access.guarded(SseEndpoint(server, sse, deliveries, prefix)), methods=["GET"]),
        Mount("/messages/", app=access.guarded(sse.handle_post_message)),
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
            listening = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            links = FileLinks(settings.public_url or listening, secret, time.time, told=settings.public_url is not None)
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
