"""Serving over stdin and stdout: the way a host on the same machine starts this server."""

import anyio
from mcp.server.stdio import stdio_server

from controlnet_mcp.server.composition import open_application
from controlnet_mcp.server.draining import outlast_termination
from controlnet_mcp.server.protocol import build_server
from controlnet_mcp.server.redaction import log_to_stderr
from controlnet_mcp.server.settings import Settings


async def serve(settings: Settings) -> None:
    """Serve one client until it closes stdin."""
    async with open_application(settings) as application, stdio_server() as (read, write):
        server = build_server(application, local=True)
        await server.run(read, write, server.create_initialization_options())
        outlast_termination()


def run(settings: Settings) -> None:
    """Block until the client is done."""
    log_to_stderr(settings.log_level, settings.redactor)
    anyio.run(serve, settings)
