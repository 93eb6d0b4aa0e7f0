"""The least MCP server that makes pictures: the SDK and `bench.crowd`, with nothing that a job needs to survive.

One tool, no argument models, no job, no record: a call submits, looks, downloads, decodes, hashes, forces the file to
disk and answers. After a crash or a timeout of the host the picture is lost, and a repeated call buys it again. It
shows what the SDK takes.
Run: `python -m bench.least_server ORIGIN LOOKS FOLDER`; it speaks MCP over stdio.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeAlias

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from bench.crowd import client, generate_and_prove

Draw: TypeAlias = Callable[[float, int, Path], Awaitable[None]]


class Tool:
    """The one tool."""

    def __init__(self, draw: Draw, looks: float, folder: Path) -> None:
        """Take what draws, how often it looks at a job on average, and where pictures go."""
        self._draw = draw
        self._looks = looks
        self._folder = folder
        self._numbers = count()

    async def call(self, _context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Make one picture."""
        number = next(self._numbers)
        whole = int((number + 1) * self._looks) - int(number * self._looks)
        seconds = float(str((params.arguments or {})["prompt"]).rsplit(maxsplit=1)[-1])
        picture = self._folder / f"{number}.jpg"
        await self._draw(seconds, max(whole, 1), picture)
        text = types.TextContent(type="text", text=picture.as_uri())
        return types.CallToolResult(content=[text], structured_content={"status": "succeeded"})


async def serve(origin: str, looks: float, folder: Path) -> None:
    """Serve until stdin ends."""
    async with client() as sender, stdio_server() as (incoming, outgoing):

        async def draw(seconds: float, looks: int, target: Path) -> None:
            await generate_and_prove(sender, origin, seconds, looks, target)

        server: Server[dict[str, object]] = Server("least", on_call_tool=Tool(draw, looks, folder).call)
        await server.run(incoming, outgoing, server.create_initialization_options())


def main(origin: str, looks: str, folder: str) -> None:
    """Serve as the only thing in this process."""
    anyio.run(partial(serve, origin, float(looks), Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
