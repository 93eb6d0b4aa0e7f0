"""Serving over HTTP: Streamable HTTP and SSE with the same jobs, the originals under `/files/`, and `/health`.

Imported only when HTTP is served: it brings starlette and uvicorn.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn
from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.server import __version__
from controlnet_mcp.server.access import Access, check_host, open_access
from controlnet_mcp.server.composition import Application, open_application
from controlnet_mcp.server.draining import outlast_termination
from controlnet_mcp.server.file_links import FileLinks, load_secret
from controlnet_mcp.server.protocol import build_server
from controlnet_mcp.server.redaction import log_to_stderr
from controlnet_mcp.server.settings import Settings

_DRAIN_SECONDS = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SseEndpoint:
    """`GET /sse`: one MCP connection per request; jobs outlive it."""

    server: Server[dict[str, Any]]
    transport: SseServerTransport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until either side closes it; the SDK answers pages of others by itself, and raises."""
        async with AsyncExitStack() as stack:
            try:
                read, write = await stack.enter_async_context(self.transport.connect_sse(scope, receive, send))
            except ValueError as error:
                _log.info("An SSE connection was refused: %s", error)
                return
            await self.server.run(read, write, self.server.create_initialization_options())


@dataclass(frozen=True, slots=True)
class FileEndpoint:
    """`GET /files/{name}`: an original, for whoever holds a signed link that has not expired."""

    blobs: BlobStore
    links: FileLinks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the picture, or 404 for any link that opens nothing."""
        await (await self._answer(Request(scope)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        query = request.query_params
        name = str(request.path_params["name"])
        opened = self.links.opens(name, query.get("expires", ""), query.get("signature", ""))
        if opened is None:
            return PlainTextResponse("There is no such file, or the link has expired.", status_code=404)
        try:
            content = await to_thread.run_sync(self.blobs.get, opened[0])
        except ControlNetError as error:
            return PlainTextResponse(str(error), status_code=404)
        headers = {"cache-control": "private, immutable", "x-content-type-options": "nosniff"}
        return Response(content, media_type=opened[1], headers=headers)


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


def build_app(application: Application, links: FileLinks, access: Access) -> Starlette:
    """The web application: `/mcp`, `/sse` with `/messages/`, `/files/{name}` and `/health`."""
    settings = application.settings
    server = build_server(application, links=links, local=False, principal=access.principal)
    limit = settings.max_request_bytes
    sessions = StreamableHTTPSessionManager(server, security_settings=access.security, max_request_body_size=limit)
    sse = SseServerTransport("/messages/", security_settings=access.security, max_request_body_size=limit)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with sessions.run():
            yield

    routes: list[BaseRoute] = [
        Route("/mcp", endpoint=access.guarded(StreamableHTTPASGIApp(sessions))),
        Route("/sse", endpoint=access.guarded(SseEndpoint(server, sse)), methods=["GET"]),
        Mount("/messages/", app=access.guarded(sse.handle_post_message)),
        Route("/files/{name}", endpoint=FileEndpoint(application.services.blobs, links), methods=["GET"]),
        Route("/health", endpoint=_health, methods=["GET"]),
        *access.routes,
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=access.middleware)


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until the process is told to stop."""
    async with open_application(settings) as application:
        access = await open_access(settings)
        secret = await to_thread.run_sync(load_secret, settings.data_folder)
        base_url = settings.public_url or f"http://{host}:{port}"
        app = build_app(application, FileLinks(base_url, secret, time.time), access)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,  # its records take the way of all others, through the filter of secrets
            access_log=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        outlast_termination()  # uvicorn handles the signal from here on
        await uvicorn.Server(config).serve()


def run(settings: Settings, host: str, port: int) -> None:
    """Block until the process is told to stop."""
    check_host(host, authenticates=settings.authenticates)
    log_to_stderr(settings.log_level, settings.redactor)
    anyio.run(serve, settings, host, port)
