"""Serving over HTTP: Streamable HTTP and SSE with the same jobs, the originals under `/files/`, and `/health`.

Imported only when HTTP is served: it brings starlette and uvicorn.
"""

import signal
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from anyio import to_thread
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from controlnet_mcp.server import __version__
from controlnet_mcp.server.access import Access, check_host, open_access
from controlnet_mcp.server.background import background
from controlnet_mcp.server.composition import Application, open_application
from controlnet_mcp.server.decode_workers import decoding_in_workers
from controlnet_mcp.server.draining import ending_on_signals, leave_soon
from controlnet_mcp.server.endpoints import FileEndpoint, McpEndpoint, SseEndpoint
from controlnet_mcp.server.file_links import FileLinks, load_secret
from controlnet_mcp.server.protocol import build_server
from controlnet_mcp.server.receipts import Receipts
from controlnet_mcp.server.redaction import log_to_stderr
from controlnet_mcp.server.settings import Settings, system_variables
from controlnet_mcp.server.updates import JobUpdates

_DRAIN_SECONDS = 5


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


def build_app(application: Application, links: FileLinks, access: Access, updates: JobUpdates) -> Starlette:
    """The web application: `/mcp`, `/sse` with `/messages/`, `/files/{name}` and `/health`."""
    server = build_server(application, links=links, local=False, principal=access.principal, updates=updates)
    receipts = Receipts(application.services.desk)
    limit = application.settings.max_request_bytes
    sessions = StreamableHTTPSessionManager(server, security_settings=access.security, max_request_body_size=limit)
    sse = SseServerTransport("/messages/", security_settings=access.security, max_request_body_size=limit)
    mcp = McpEndpoint(StreamableHTTPASGIApp(sessions), receipts, access.principal)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with sessions.run():
            yield

    routes: list[BaseRoute] = [
        Route("/mcp", endpoint=access.guarded(mcp)),
        Route("/sse", endpoint=access.guarded(SseEndpoint(server, sse, receipts)), methods=["GET"]),
        Mount("/messages/", app=access.guarded(sse.handle_post_message)),
        Route("/files/{name}", endpoint=FileEndpoint(application.services.blobs, links), methods=["GET"]),
        Route("/health", endpoint=_health, methods=["GET"]),
        *access.routes,
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=access.middleware)


class _WebServer(uvicorn.Server):
    """Leaves signals to `ending_on_signals`: the jobs are drained after the connections are closed."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Catch none."""
        yield

    async def end_after(self, asked: anyio.Event, updates: JobUpdates) -> None:
        """Once asked, take no more connections; open ones end, and who waits for a job is given it as it stands."""
        await asked.wait()
        updates.close()
        updates.desk.watch.close()
        self.handle_exit(signal.SIGTERM, None)


async def serve(settings: Settings, host: str, port: int) -> int:
    """Serve until the process is told to stop; gives the exit code."""
    asked = anyio.Event()
    async with ending_on_signals(asked.set) as ending:
        async with open_application(settings) as application, background() as tasks:
            access = await open_access(settings)
            secret = await to_thread.run_sync(load_secret, settings.data_folder)
            base_url = settings.public_url or f"http://{host}:{port}"
            updates = JobUpdates(application.services.desk, application.tasks)
            config = uvicorn.Config(
                build_app(application, FileLinks(base_url, secret, time.time), access, updates),
                host=host,
                port=port,
                log_config=None,  # its records take the way of all others, through the filter of secrets
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
            server = _WebServer(config)
            tasks.start_soon(server.end_after, asked, updates)
            await server.serve()
        leave_soon(ending)
    return ending.exit_code


def run(settings: Settings, host: str, port: int) -> None:
    """Block until the process is told to stop."""
    check_host(host, authenticates=settings.authenticates)
    log_to_stderr(settings.log_level, settings.redactor)
    with decoding_in_workers(system_variables()):
        code = anyio.run(serve, settings, host, port)
    sys.exit(code)
