"""What is served over HTTP: MCP by Streamable HTTP and by SSE, and originals by signed links."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.server.connections import serve_client
from controlnet_mcp.server.file_links import FileLinks
from controlnet_mcp.server.receipts import Posting, Receipts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SseEndpoint:
    """`GET /sse`: one MCP connection per request; jobs outlive it."""

    server: Server[dict[str, Any]]
    transport: SseServerTransport
    receipts: Receipts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until either side closes it; the SDK answers pages of others by itself, and raises."""
        async with AsyncExitStack() as stack:
            try:
                read, write = await stack.enter_async_context(self.transport.connect_sse(scope, receive, send))
            except ValueError as error:
                _log.info("An SSE connection was refused: %s", error)
                return
            await serve_client(self.server, read, write, self.receipts)


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """`/mcp`: Streamable HTTP; an answer whose client leaves before all of it is written counts as lost.

    Attributes:
        app: The SDK's endpoint.
        receipts: Takes back what did not arrive.
        principal: Tells who sent the request at hand.
    """

    app: StreamableHTTPASGIApp
    receipts: Receipts
    principal: Callable[[], str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        posting, written = Posting(self.principal()), False
        posting.attach(scope)

        async def passed(message: Message) -> None:
            nonlocal written
            await send(message)
            written = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self.app(scope, receive, passed)
        finally:
            posting.closed = not written
            for job_id in () if written else posting.jobs:
                await self.receipts.lost(job_id)


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
