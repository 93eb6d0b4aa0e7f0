"""The web application in this process, with callers who have tokens of their own: requests without sockets."""

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.types import Message

from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.auth.access import Access, open_access
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.auth.principals import local
from controlnet_mcp.server.mcp.subscriptions import JobUpdates
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.http import build_app
from tests.support.mcp_session import SIDE, WAIT_SECONDS, Reply

ORIGIN = "http://127.0.0.1"
ALICE = "alice-" + "a" * 40
BOB = "bob-" + "b" * 40
INITIALIZE: dict[str, JsonValue] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
"""The first message of a client of the handshake era."""
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def write_tokens(path: Path, *lines: str) -> Path:
    """Write a file of tokens that only its owner can read; Alice and Bob are in it unless told otherwise."""
    path.touch(mode=0o600)
    path.write_text("\n".join(lines or (f"alice: {ALICE}", f"bob: {BOB}")) + "\n", encoding="utf-8")
    return path


def bearing(token: str | None) -> dict[str, str]:
    """The header field of a token."""
    return {"authorization": f"Bearer {token}"} if token else {}


@dataclass(frozen=True, slots=True)
class Gate:
    """A running web application."""

    app: Starlette
    application: Application

    def browser(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """Something that sends requests, as the bearer of a token."""
        transport = httpx2.ASGITransport(app=self.app)
        return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, headers=bearing(token) | headers)

    @asynccontextmanager
    async def client(self, token: str | None = None, mode: str = "auto") -> AsyncGenerator["Caller"]:
        """Connect an MCP client."""
        async with (
            self.browser(token) as browser,
            Client(streamable_http_client(f"{ORIGIN}/mcp", http_client=browser), mode=mode) as client,
        ):
            yield Caller(client, self.application.settings.allowed_folders[0] / "photo.png")

    @asynccontextmanager
    async def sse(self, path: str = "/sse", **headers: str) -> AsyncGenerator[str]:
        """Hold an SSE connection of Alice open; gives the address for messages that it announces."""
        told, ended = anyio.Event(), anyio.Event()
        sent: list[str] = []

        async def receive() -> Message:
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message.get("body", b"").decode())
            if "session_id=" in sent[-1]:
                told.set()

        fields = {"host": "127.0.0.1", **bearing(ALICE), **headers}
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": "", "scheme": "http"}
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.app, {**scope, "headers": raw}, receive, send)
                await told.wait()
                yield next(row for row in sent if "session_id=" in row).partition("data: ")[2].split()[0]
                ended.set()


@dataclass(frozen=True, slots=True)
class Caller:
    """A connected client, and the photo that it hands in."""

    client: Client
    photo: Path

    async def call(self, tool: str, /, **arguments: JsonValue) -> Reply:
        """Call a tool."""
        return Reply(await self.client.call_tool(tool, arguments))

    async def generate(self, /, **arguments: JsonValue) -> Reply:
        """Call `controlnet_generate` with a photo, a prompt and a small size, unless told otherwise."""
        content = base64.b64encode(self.photo.read_bytes()).decode()
        usual: dict[str, JsonValue] = {
            "prompt": "an oil painting",
            "control_image": f"data:image/png;base64,{content}",
            "width": SIDE,
            "height": SIDE,
            "wait_seconds": WAIT_SECONDS,
        }
        return await self.call("controlnet_generate", **(usual | arguments))


def unnamed(access: Access) -> Access:
    """The gate without telling callers apart: everybody is one and the same."""

    class Nameless(Access):
        @property
        def principal(self) -> Callable[[], str]:
            return local

    return Nameless(access.requests_per_minute, access.security, access.verifier, access.oauth)


@asynccontextmanager
async def open_gate(
    settings: Settings, change: Callable[[Access], Access] | None = None, links: FileLinks | None = None
) -> AsyncGenerator[Gate]:
    """Open the web application as `serve` does.

    Args:
        settings: Of the server.
        change: Takes a control away from the gate, to show what it is for.
        links: Makes the links to files; without them they lead to this application.
    """
    access = await open_access(settings)
    async with open_application(settings) as application:
        links = links or FileLinks(ORIGIN, b"secret", lambda: 0.0)
        updates = JobUpdates(application.services.jobs, application.tasks)
        app = build_app(application, links, change(access) if change else access, updates)
        async with app.router.lifespan_context(app):
            yield Gate(app, application)
