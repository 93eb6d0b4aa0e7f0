"""Requests as they are, to a server in memory: without the checks and courtesies of a client library."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import mcp_types as types
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from pydantic import JsonValue

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from tests.support.disconnecting_clients import HANDSHAKE
from tests.support.server_process import MODERN_META, Era

Answer = types.JSONRPCResponse | types.JSONRPCError


@dataclass(slots=True)
class Wire:
    """A connection to a server.

    Attributes:
        era: The era of the protocol that it was opened in.
        longest_bytes: The longest message of the server so far, as JSON.
        number: The id of the latest request.
    """

    era: Era
    read: ReadStream[SessionMessage | Exception]
    write: WriteStream[SessionMessage]
    longest_bytes: int = 0
    number: int = 0

    async def ask(self, method: str, params: Mapping[str, JsonValue] | None = None) -> Answer:
        """Send a request, and give its answer; a modern one has the envelope, unless it has another one."""
        self.number += 1
        meta: dict[str, JsonValue] = {"_meta": MODERN_META} if self.era == "auto" else {}
        if isinstance(given := (params or {}).get("_meta"), dict):
            meta = {"_meta": (MODERN_META if self.era == "auto" else {}) | given}
        request = types.JSONRPCRequest(jsonrpc="2.0", id=self.number, method=method, params={**(params or {}), **meta})
        await self.write.send(SessionMessage(request))
        with anyio.fail_after(30):
            while True:
                item = await self.read.receive()
                assert isinstance(item, SessionMessage)
                self.longest_bytes = max(self.longest_bytes, len(item.message.model_dump_json().encode()))
                if isinstance(item.message, Answer) and item.message.id == self.number:
                    return item.message

    async def result(self, method: str, params: Mapping[str, JsonValue] | None = None) -> dict[str, JsonValue]:
        """The result of a request that is not refused."""
        answer = await self.ask(method, params)
        assert isinstance(answer, types.JSONRPCResponse), answer
        return answer.result

    async def error(self, method: str, params: Mapping[str, JsonValue] | None = None) -> types.ErrorData:
        """The error of a request that is refused."""
        answer = await self.ask(method, params)
        assert isinstance(answer, types.JSONRPCError), answer
        return answer.error


@asynccontextmanager
async def open_wire(settings: Settings, era: Era) -> AsyncGenerator[Wire]:
    """Open a server in memory and a connection to it, ready for requests of an era."""
    async with (
        open_application(settings) as application,
        create_client_server_memory_streams() as (client_side, (read, write)),
        anyio.create_task_group() as tasks,
    ):
        server = build_server(application, local=True)
        tasks.start_soon(server.run, read, write, server.create_initialization_options())
        wire = Wire(era, *client_side)
        if era == "legacy":
            await wire.result("initialize", HANDSHAKE)
            done = types.JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
            await client_side[1].send(SessionMessage(done))
        yield wire
        await client_side[1].aclose()
