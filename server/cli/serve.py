"""The command `serve`: the server, until its client or the operator ends it. stdout belongs to the protocol."""

import gc
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Literal, TypeAlias

import click
from click.core import ParameterSource
from pydantic import BaseModel

from controlnet_mcp.server.cli import interruptible

Transport: TypeAlias = Literal["stdio", "streamable-http", "sse"]
_PATHS: dict[str, tuple[str, str]] = {"streamable-http": ("mcp", "sse"), "sse": ("sse", "mcp")}


@contextmanager
def _quick_imports() -> Generator[None]:
    """Import without looking for garbage meanwhile (measured: 12 to 23 % faster), and never look at it again.

    Models, those of the SDK included, build their validators when they are first used: most never are.
    """
    gc.disable()
    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]
        gc.enable()
        gc.freeze()


def serve_stdio() -> None:
    """Serve one host over stdin and stdout until it closes stdin."""
    if sys.stdin.isatty():
        said = "Serving MCP over stdin and stdout, for a host program to talk to. Ctrl-C ends it; try also --help."
        click.echo(said, err=True)
    with interruptible():
        with _quick_imports():
            from controlnet_mcp.server.cli.session import load_settings, told
            from controlnet_mcp.server.transports import stdio
        with told():
            stdio.run(load_settings())


def serve_http(transport: Transport, host: str, port: int) -> None:
    """Serve Streamable HTTP and SSE; the URL goes to stderr.

    Raises:
        click.ClickException: The port cannot be used.
    """
    with interruptible():
        with _quick_imports():
            from controlnet_mcp.server.auth import access
            from controlnet_mcp.server.cli.session import load_settings, told
            from controlnet_mcp.server.transports import http
        with told():
            settings = load_settings()
            access.check_host(host, authenticates=settings.authenticates)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.create_server((host, port), family=family).close()
            except OSError as error:
                reason = str(error.strerror or error).partition(" (")[0]
                said = f"Port {port} of {host} cannot be used: {reason}. Choose another one with --port."
                raise click.ClickException(said) from error
            url, other = (f"{access.base_url(host, port)}/{path}" for path in _PATHS[transport])
            said = f"Serving MCP at {url} (also at {other}). Ctrl-C ends it."
            http.run(settings, host, port, partial(click.echo, said, err=True))


@click.command()
@click.option(
    "--transport",
    type=click.Choice(["stdio", "streamable-http", "sse"]),
    default="stdio",
    show_default=True,
    help="Either HTTP transport starts both.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="HTTP: others than loopback need authentication.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="HTTP: the port.")
@click.pass_context
def serve(context: click.Context, transport: Transport, host: str, port: int) -> None:
    """Serve MCP to a host, over stdio or HTTP."""
    if transport == "stdio":
        given = [
            f"--{name}"
            for name in ("host", "port")
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if given:
            raise click.UsageError(
                f"Over stdio nothing listens: with {' and '.join(given)} goes --transport streamable-http (or sse)."
            )
        serve_stdio()
    else:
        serve_http(transport, host, port)
