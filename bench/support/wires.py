"""The thinnest MCP clients, so that a bench measures the server: prepared requests over stdio or Streamable HTTP.

They speak the protocol revision 2026-07-28, in which a request needs no handshake.
"""

import json
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.abc import Process, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue, TypeAdapter

HOST = "127.0.0.1"
_VERSION = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
_MOST_BYTES = 2**20
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class Wire(Protocol):
    """One client's connection."""

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> bytes:
        """Call a tool; gives the whole JSON-RPC response."""
        ...


def result_of(response: bytes) -> dict[str, JsonValue]:
    """The result in a response, which must not be an error."""
    result = _OBJECT.validate_python(_OBJECT.validate_json(response)["result"])
    assert not result.get("isError"), result
    return result


def _call(tool: str, arguments: Mapping[str, JsonValue]) -> Mapping[str, object]:
    return {"name": tool, "arguments": arguments, "_meta": _META}


def _request(number: int, method: str, params: Mapping[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


@dataclass(slots=True)
class StdioWire:
    """All callers of one process share its stdin and stdout; answers find their caller by the id."""

    process: Process
    _answers: dict[int, bytes] = field(default_factory=dict[int, bytes])
    _waiting: dict[int, anyio.Event] = field(default_factory=dict[int, anyio.Event])
    _last: int = 0

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> bytes:
        """Call a tool as the stateless era does."""
        return await self.ask("tools/call", _call(tool, arguments))

    async def tell(self, method: str) -> None:
        """Write one line that nobody answers."""
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps({"jsonrpc": "2.0", "method": method}).encode() + b"\n")

    async def ask(self, method: str, params: Mapping[str, object]) -> bytes:
        """Write one line, wait for the line that answers it."""
        self._last += 1
        number, answered = self._last, anyio.Event()
        self._waiting[number] = answered
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(_request(number, method, params) + b"\n")
            await answered.wait()
        finally:  # nobody may want the answer any more
            self._waiting.pop(number, None)
        return self._answers.pop(number)

    async def listen(self) -> None:
        """Hand out answers until stdout ends."""
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                number = int(json.loads(line)["id"])
                if number in self._waiting:
                    self._answers[number] = line
                    self._waiting[number].set()
        assert not self._waiting, "the server ended before it answered"


@dataclass(frozen=True, slots=True)
class HttpWire:
    """One kept-alive connection to `/mcp`."""

    port: int
    stream: SocketStream
    incoming: BufferedByteReceiveStream

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> bytes:
        """Post one request, read the JSON body of its response."""
        body = _request(1, "tools/call", _call(tool, arguments))
        head = (
            f"POST /mcp HTTP/1.1\r\nhost: {HOST}:{self.port}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\nmcp-protocol-version: {_VERSION}\r\n"
            f"mcp-method: tools/call\r\nmcp-name: {tool}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        await self.stream.send(head.encode() + body)
        answer = (await self.incoming.receive_until(b"\r\n\r\n", _MOST_BYTES)).lower()
        assert answer.startswith(b"http/1.1 200"), answer
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
        return await self.incoming.receive_exactly(int(length.partition(b":")[2]))


@asynccontextmanager
async def over_stdio(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> AsyncGenerator[tuple[Process, list[Wire]]]:
    """Start a server; its callers share one wire."""
    command = [sys.executable, *arguments]
    async with await anyio.open_process(command, env=environment, stderr=None) as process:
        wire = StdioWire(process)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.listen)
            yield process, [wire]
            assert process.stdin is not None
            await process.stdin.aclose()


@asynccontextmanager
async def over_http(
    arguments: Sequence[str], environment: Mapping[str, str], port: int, callers: int
) -> AsyncGenerator[tuple[Process, list[Wire]]]:
    """Start a server that listens on a port of this machine; every caller has a wire of its own."""
    command = [sys.executable, *arguments]
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(
            await anyio.open_process(command, env=environment, stdin=None, stdout=None, stderr=None)
        )
        stack.callback(process.terminate)
        wires: list[Wire] = []
        for _ in range(callers):
            stream = await stack.enter_async_context(await _connected(port))
            wires.append(HttpWire(port, stream, BufferedByteReceiveStream(stream)))
        yield process, wires


async def _connected(port: int) -> SocketStream:
    """Connect as soon as the server listens."""
    with anyio.fail_after(30):
        while True:
            try:
                return await anyio.connect_tcp(HOST, port)
            except OSError:
                await anyio.sleep(0.05)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
