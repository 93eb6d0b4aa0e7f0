"""The program as hosts start it: a process of its own, spoken to over pipes or over a port of this machine."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
import mcp_types as types
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from pydantic import JsonValue, TypeAdapter

import controlnet_mcp
from controlnet_mcp.providers.registry import provider_variables

Transport: TypeAlias = Literal["stdio", "http", "sse"]
Era: TypeAlias = Literal["auto", "legacy"]
"""`auto` asks for the current revision of the protocol, `legacy` for the newest of the handshake ones."""

STDIO = (
    "from controlnet_mcp.server.transports.stdio import run; "
    "from controlnet_mcp.server.settings import Settings; run(Settings())"
)
_HTTP = (
    "from controlnet_mcp.server.transports.http import run; from controlnet_mcp.server.settings import Settings; "
    "run(Settings(), '127.0.0.1', {port})"
)
MODERN_META: dict[str, JsonValue] = {
    types.PROTOCOL_VERSION_META_KEY: "2026-07-28",
    types.CLIENT_CAPABILITIES_META_KEY: {},
    types.CLIENT_INFO_META_KEY: {"name": "tests", "version": "1"},
}
"""What every request of the current revision carries."""
_JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_LONGEST_LINE_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server keeps its data, and the folder that it may read pictures from."""

    data_dir: Path
    pictures: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a server without keys that runs the same code as this process."""
        keys = provider_variables()
        roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
        ours = {
            "PYTHONPATH": roots,
            "CONTROLNET_MCP_DATA_DIR": str(self.data_dir),
            "CONTROLNET_MCP_ALLOWED_DIRS": str(self.pictures),
        }
        return {name: value for name, value in os.environ.items() if name not in keys} | ours | more


@dataclass(slots=True)
class Web:
    """A server that listens on a port.

    Attributes:
        process: Its process.
        origin: `http://127.0.0.1:port`.
        place: Its data and pictures.
        variables: Its environment beside the usual.
        log: The lines that it wrote to stderr, so far.
    """

    process: subprocess.Popen[str]
    origin: str
    place: Place
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    log: list[str] = field(default_factory=list[str])


@contextmanager
def serving_http(place: Place, port: int, **variables: str) -> Generator[Web]:
    """Start a server and stop it with a signal; it has to end by itself then."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HTTP.format(port=port)],
        env=place.environment(CONTROLNET_MCP_LOG_LEVEL="INFO", **variables),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    web = Web(process, f"http://127.0.0.1:{port}", place, variables)
    with process, process.stderr as lines:
        for line in lines:
            web.log.append(line)
            if re.search("Uvicorn running on", line):
                break
        reader = threading.Thread(target=web.log.extend, args=(lines,), daemon=True)
        reader.start()
        try:
            yield web
        finally:
            process.terminate()
            process.wait(120)
            reader.join(120)


@asynccontextmanager
async def connected(
    transport: Transport, era: Era, web: Web, log: Path, hear: MessageHandlerFnT | None = None
) -> AsyncGenerator[Client]:
    """Connect a client of the SDK: to a process of its own over stdio, else to the server that runs already.

    Args:
        transport: How to speak.
        era: Which revision of the protocol to ask for.
        web: The server that runs already, whose place a process of its own shares.
        log: File for the stderr of a process of its own.
        hear: Told of every notification.
    """
    match transport:
        case "stdio":
            server = StdioServerParameters(
                command=sys.executable, args=["-c", STDIO], env=web.place.environment(**web.variables)
            )
            with log.open("w", encoding="utf-8") as errors:
                async with Client(stdio_client(server, errlog=errors), mode=era, message_handler=hear) as client:
                    yield client
        case "http":
            async with Client(f"{web.origin}/mcp", mode=era, message_handler=hear) as client:
                yield client
        case "sse":
            async with Client(sse_client(f"{web.origin}/sse"), mode=era, message_handler=hear) as client:
                yield client


@dataclass(slots=True)
class Pipe:
    """A server over stdio, line by line.

    Attributes:
        process: Its process.
        lines: Its stdout.
        longest_bytes: The longest line so far.
        number: The id of the latest request.
    """

    process: Process
    lines: BufferedByteReceiveStream
    longest_bytes: int = 0
    number: int = 0

    async def ask(self, method: str, **params: JsonValue) -> tuple[dict[str, JsonValue], int]:
        """Send a request of the current revision and give its result, and the length of its line in bytes."""
        return await self.request(method, params | {"_meta": MODERN_META})

    async def request(self, method: str, params: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], int]:
        """Send a request as it is."""
        self.number += 1
        await self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": dict(params)})
        while True:
            line = await self.lines.receive_until(b"\n", _LONGEST_LINE_BYTES)
            self.longest_bytes = max(self.longest_bytes, len(line) + 1)
            message = _JSON.validate_json(line)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return _JSON.validate_python(message["result"]), len(line) + 1

    async def send(self, message: Mapping[str, JsonValue]) -> None:
        """Send one message."""
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def piped(place: Place, log: Path, **variables: str) -> AsyncGenerator[Pipe]:
    """Start a server over stdio; it is killed if the test leaves it running."""
    with log.open("wb") as errors:
        async with await anyio.open_process(
            [sys.executable, "-c", STDIO], env=place.environment(**variables), stderr=errors
        ) as process:
            assert process.stdout is not None
            try:
                yield Pipe(process, BufferedByteReceiveStream(process.stdout))
            finally:
                if process.returncode is None:
                    process.kill()
