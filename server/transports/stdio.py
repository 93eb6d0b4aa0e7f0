"""The server over stdin and stdout, as a host on the same machine starts it.

The SDK's transport reads stdin in a worker thread that no signal can interrupt: a process that is told to end would
hang until its host wrote another line. Here a daemon thread reads; the event loop waits for a stream, and that can be
closed at any time. The SDK raises when nobody reads stdout any more; here that means that the client has left.
"""

import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeAlias, cast

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.delivery import Deliveries, serve_client
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import ending_on_signals, leave_soon

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_Sender: TypeAlias = MemoryObjectSendStream[str]


class StandardOutput:
    """Lines to stdout, one at a time, until its reader has left."""

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        """Take the descriptor, and a function to call when the reader has left."""
        self._descriptor = descriptor
        self._gone = gone
        self._line = ""
        self._unwritten: list[str] = []
        self._all_written = anyio.Event()
        self._all_written.set()
        self._thread = anyio.CapacityLimiter(1)  # answers do not wait for pictures that are worked on

    async def write(self, line: str) -> None:
        """Take a line."""
        self._line = line

    async def flush(self) -> None:
        """Write the line; what comes after one that could not be written is lost as well."""
        broken = bool(self._unwritten)
        self._unwritten.append(self._line)
        if broken:
            return
        self._all_written = anyio.Event()
        try:
            await to_thread.run_sync(_write_whole, self._descriptor, self._line.encode(), limiter=self._thread)
        except OSError:
            self._gone()
        else:
            self._unwritten.clear()
        self._all_written.set()

    async def unwritten(self, patience_seconds: float) -> Sequence[str]:
        """The lines that were not wholly written, after some patience with a slow reader."""
        with anyio.move_on_after(patience_seconds):
            await self._all_written.wait()
        return self._unwritten


@contextmanager
def standard_streams() -> Generator[tuple[MemoryObjectReceiveStream[str], StandardOutput, Callable[[], None]]]:
    """Talk over stdin and stdout for the length of the block; the function ends the lines as if stdin had ended.

    Meanwhile other code finds stdin empty, and its prints go to stderr, as with the SDK's own streams.
    """
    wire_in, wire_out = os.dup(_STDIN), os.dup(_STDOUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.dup2(_STDERR, _STDOUT)
    os.close(nothing)
    sender, receiver = anyio.create_memory_object_stream[str]()
    source = os.fdopen(wire_in, "rb", closefd=False)  # a thread may wait for it until the process ends
    threading.Thread(target=_read, args=(source, sender, current_token()), name="stdin", daemon=True).start()
    try:
        yield receiver, StandardOutput(wire_out, sender.close), sender.close
    finally:
        sender.close()
        receiver.close()
        os.dup2(wire_in, _STDIN)
        os.dup2(wire_out, _STDOUT)


def _read(source: BinaryIO, sender: _Sender, loop: EventLoopToken) -> None:
    """Pass lines on, each when the one before was taken, until the input or the event loop ends (blocks)."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.RunFinishedError, OSError):
        for line in source:
            from_thread.run(sender.send, line.decode("utf-8", "replace"), token=loop)
        from_thread.run_sync(sender.close, token=loop)


def _write_whole(descriptor: int, content: bytes) -> None:
    """Write to the last byte; a write may take a part only (blocks)."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


_PATIENCE_SECONDS = 1.0
"""Time that a client that has left may take to read the last answer."""


async def serve(settings: Settings) -> int:
    """Serve one client until it closes stdin, or until a signal does; gives the exit code."""
    with standard_streams() as (stdin, stdout, end_input):
        # all that the SDK does with its files is to iterate over the one, and to write and flush the other
        files = cast("anyio.AsyncFile[str]", stdin), cast("anyio.AsyncFile[str]", stdout)
        async with ending_on_signals(end_input) as ending, stdio_server(*files) as (read, write):
            async with open_application(settings) as application:
                deliveries = Deliveries(application.services.jobs)
                answers = await serve_client(build_server(application, local=True), read, write, deliveries)
                await deliveries.mark_lines_lost(answers, await stdout.unwritten(_PATIENCE_SECONDS))
            leave_soon(ending)
    return ending.exit_code


def run(settings: Settings) -> None:
    """Block until the client is done."""
    log_to_stderr(settings.log_level, settings.redactor)
    sys.exit(anyio.run(serve, settings))
