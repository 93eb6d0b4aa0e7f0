"""Clients that leave in the middle of a call without a word, as a process that is killed does."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
import mcp_types as types
from pydantic import JsonValue

from tests.support.server_process import MODERN_META, Era, Transport

HANDSHAKE: dict[str, JsonValue] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
INITIALIZED: dict[str, JsonValue] = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_ACCEPT = {"accept": "application/json, text/event-stream"}


def request(era: Era, number: int, method: str, params: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A JSON-RPC request of an era."""
    meta: dict[str, JsonValue] = {"_meta": MODERN_META} if era == "auto" else {}
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, **meta}}


@asynccontextmanager
async def calling(
    transport: Transport, era: Era, origin: str, arguments: Mapping[str, JsonValue]
) -> AsyncGenerator[None]:
    """Call `controlnet_generate` over a port and hang up when the block ends, whatever has come by then."""
    params: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": dict(arguments)}
    call = request(era, 2, "tools/call", params)
    async with httpx2.AsyncClient(base_url=origin, timeout=30) as client:
        opened = _streamed(client, era, call) if transport == "http" else _over_sse(client, era, call)
        async with opened:
            yield


@asynccontextmanager
async def _streamed(client: httpx2.AsyncClient, era: Era, call: Mapping[str, JsonValue]) -> AsyncGenerator[None]:
    if era == "auto":
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "controlnet_generate"}
    else:
        opening = request(era, 1, "initialize", HANDSHAKE)
        async with client.stream("POST", "/mcp", json=opening, headers=_ACCEPT) as answer:
            headers = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
            await answer.aread()
        await client.post("/mcp", json=INITIALIZED, headers=_ACCEPT | headers)
    async with _sent(client, "/mcp", call, _ACCEPT | headers):
        yield


@asynccontextmanager
async def _sent(
    client: httpx2.AsyncClient, path: str, call: Mapping[str, JsonValue], headers: Mapping[str, str]
) -> AsyncGenerator[None]:
    """Send a call in the background: a server of the current revision says nothing before it is done."""
    from controlnet_mcp.server.transports.shutdown import background

    async def post() -> None:
        async with client.stream("POST", path, json=dict(call), headers=dict(headers)) as answer:
            await answer.aread()

    async with background() as tasks:
        tasks.start_soon(post)
        yield


@asynccontextmanager
async def _over_sse(client: httpx2.AsyncClient, era: Era, call: Mapping[str, JsonValue]) -> AsyncGenerator[None]:
    async with client.stream("GET", "/sse") as stream:
        lines = stream.aiter_lines()
        path = await _data(lines)
        if era == "legacy":
            await client.post(path, json=request(era, 1, "initialize", HANDSHAKE))
            types.jsonrpc_message_adapter.validate_json(await _data(lines))
            await client.post(path, json=INITIALIZED)
        await client.post(path, json=dict(call))
        yield


async def _data(lines: AsyncIterator[str]) -> str:
    """The data of the next event."""
    async for line in lines:
        if line.startswith("data:"):
            return line.removeprefix("data:").strip()
    raise AssertionError("the stream has ended")


def compact(message: Mapping[str, JsonValue]) -> bytes:
    """A message as a line for stdin."""
    return json.dumps(message).encode() + b"\n"
