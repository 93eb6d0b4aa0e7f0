"""Serving over stdin and stdout: the way a host on the same machine starts this server."""

import sys

import anyio
from mcp.server.stdio import stdio_server

from controlnet_mcp.server.composition import open_application
from controlnet_mcp.server.connections import serve_client
from controlnet_mcp.server.draining import ending_on_signals, leave_soon
from controlnet_mcp.server.protocol import build_server
from controlnet_mcp.server.receipts import Receipts
from controlnet_mcp.server.redaction import log_to_stderr
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.standard_streams import standard_streams

_PATIENCE_SECONDS = 1.0
"""How long a client that has left may take to read the last answer."""


async def serve(settings: Settings) -> int:
    """Serve one client until it closes stdin, or until a signal does; gives the exit code."""
    with standard_streams() as (stdin, stdout):
        async with (
            ending_on_signals(stdin.close) as ending,
            stdio_server(stdin.file, stdout.file) as (read, write),
        ):
            async with open_application(settings) as application:
                receipts = Receipts(application.services.desk)
                answers = await serve_client(build_server(application, local=True), read, write, receipts)
                await receipts.lost_lines(answers, await stdout.unwritten(_PATIENCE_SECONDS))
            leave_soon(ending)
    return ending.exit_code


def run(settings: Settings) -> None:
    """Block until the client is done."""
    log_to_stderr(settings.log_level, settings.redactor)
    sys.exit(anyio.run(serve, settings))
