"""The least MCP server that makes pictures: the SDK and `bench.support.crowd`, and nothing that a job needs to survive.

One tool, no argument models, no job, no record: a call submits, looks, downloads, decodes, hashes, forces the file to
disk and answers. After a crash or a timeout of the host the picture is lost, and a repeated call buys it again. It
shows what the SDK takes.
Run: `python -m bench.support.least_server ORIGIN LOOKS FOLDER`; it speaks MCP over stdio.
"""

import sys
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import httpx2
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from bench.support.crowd import client, generate_and_prove, looks_at


class Tool:
    """The one tool."""

    def __init__(self, sender: httpx2.AsyncClient, origin: str, looks: float, folder: Path) -> None:
        """Take the way to the vendor, how often a job is looked at on average, and where pictures go."""
        self._sender = sender
        self._origin = origin
        self._looks = looks
        self._folder = folder
        self._numbers = count()

    async def call(self, _context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Make one picture."""
        number = next(self._numbers)
        seconds = float(str((params.arguments or {})["prompt"]).rsplit(maxsplit=1)[-1])
        picture = self._folder / f"{number}.jpg"
        await generate_and_prove(self._sender, self._origin, seconds, looks_at(number, self._looks), picture)
        text = types.TextContent(type="text", text=picture.as_uri())
        return types.CallToolResult(content=[text], structured_content={"status": "succeeded"})


async def serve(origin: str, looks: float, folder: Path) -> None:
    """Serve until stdin ends."""
    async with client() as sender, stdio_server() as (incoming, outgoing):
        tool = Tool(sender, origin, looks, folder)
        server: Server[dict[str, object]] = Server("least", on_call_tool=tool.call)
        await server.run(incoming, outgoing, server.create_initialization_options())


def main(origin: str, looks: str, folder: str) -> None:
    """Serve as the only thing in this process."""
    anyio.run(partial(serve, origin, float(looks), Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
