"""The server over stdin and stdout, as a host on the same machine starts it.

The SDK's transport reads stdin in a worker thread that no signal can interrupt: a process that is told to end would
hang until its host wrote another line. Here a daemon thread reads; the event loop waits for a stream, and that can be
closed at any time. What was asked before the end of stdin is answered, as in `echo REQUEST | controlnet-mcp`. The SDK
raises when nobody reads stdout any more; here that means that the client has left.
"""

import os
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias, cast

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from pydantic import ValidationError

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.delivery import Deliveries, Envelope, serve_client
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import ending_on_signals, leave_soon

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_Sender: TypeAlias = MemoryObjectSendStream[str]
_STREAM = "subscriptions/listen"  # a request that is answered when the server ends
_ANSWER_SECONDS = 3.0
"""Time for the answers to what was asked before the end of stdin; hosts in a hurry send a signal after two seconds."""


@dataclass(slots=True)
class StandardInput:
    """The lines of stdin until its end, or until it is closed from here.

    Attributes:
        ended: The client has closed stdin: it may have left, and not read what is answered from here on.
    """

    _sender: _Sender
    _receiver: MemoryObjectReceiveStream[str]
    ended: bool = False
    _asked: set[str] = field(default_factory=set[str])
    _all_answered: anyio.Event = field(default_factory=anyio.Event)

    @property
    def file(self) -> anyio.AsyncFile[str]:
        """The stream as a file for the SDK, which only iterates over it."""
        return cast("anyio.AsyncFile[str]", self._lines())

    async def _lines(self) -> AsyncGenerator[str]:
        """The lines; their end waits for answers, because the SDK cancels what is in flight when its input ends."""
        async for line in self._receiver:
            with suppress(ValidationError):  # the SDK answers what is no message
                envelope = Envelope.model_validate_json(line)
                if envelope.method == "notifications/cancelled":
                    self._asked.discard(str(envelope.params.request_id))
                elif envelope.id is not None and envelope.method not in {None, _STREAM}:
                    self._asked.add(str(envelope.id))
            yield line
        self.ended = True
        if self._asked:
            with anyio.move_on_after(_ANSWER_SECONDS):
                await self._all_answered.wait()

    def take_answer(self, line: str) -> None:
        """Take note of a message to the client."""
        envelope = Envelope.model_validate_json(line)
        if envelope.method is None:
            self._asked.discard(str(envelope.id))
        if self.ended and not self._asked:
            self._all_answered.set()

    def close(self) -> None:
        """End the lines, as if stdin had ended, and wait for no answer."""
        self._all_answered.set()
        self._sender.close()


class StandardOutput:
    """Lines to stdout, one at a time, until its reader has left."""

    def __init__(self, descriptor: int, stdin: StandardInput) -> None:
        """Take the descriptor, and the input, which ends when the reader has left."""
        self._descriptor = descriptor
        self._stdin = stdin
        self._line = ""
        self._broken = False
        self._unread: list[str] = []
        self._all_written = anyio.Event()
        self._all_written.set()
        self._thread = anyio.CapacityLimiter(1)  # answers do not wait for pictures that are worked on

    @property
    def file(self) -> anyio.AsyncFile[str]:
        """The stream as a file for the SDK, which only writes and flushes."""
        return cast("anyio.AsyncFile[str]", self)

    async def write(self, line: str) -> None:
        """Take a line."""
        self._line = line

    async def flush(self) -> None:
        """Write the line; what comes after one that could not be written is lost as well."""
        self._unread.append(self._line)
        if self._broken:
            return
        self._broken, self._all_written = True, anyio.Event()
        try:
            await to_thread.run_sync(_write_whole, self._descriptor, self._line.encode(), limiter=self._thread)
        except OSError:
            self._stdin.close()
        else:
            self._broken = False
            if not self._stdin.ended:
                self._unread.clear()
            self._stdin.take_answer(self._line)
        self._all_written.set()

    async def unread(self, patience_seconds: float) -> Sequence[str]:
        """The lines that were not wholly written, after some patience with a slow reader, or after stdin had ended."""
        with anyio.move_on_after(patience_seconds):
            await self._all_written.wait()
        return self._unread


@contextmanager
def standard_streams() -> Generator[tuple[StandardInput, StandardOutput]]:
    """Talk over stdin and stdout for the length of the block.

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
    stdin = StandardInput(sender, receiver)
    try:
        yield stdin, StandardOutput(wire_out, stdin)
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
    with standard_streams() as (stdin, stdout):
        async with (
            ending_on_signals(stdin.close) as ending,
            stdio_server(stdin.file, stdout.file) as (read, write),
        ):
            async with open_application(settings) as application:
                deliveries = Deliveries(application.services.jobs)
                answers = await serve_client(build_server(application, local=True), read, write, deliveries)
                await deliveries.mark_lines_lost(answers, await stdout.unread(_PATIENCE_SECONDS))
            leave_soon(ending)
    return ending.exit_code


def run(settings: Settings) -> None:
    """Block until the client is done."""
    log_to_stderr(settings.log_level, settings.redactor)
    sys.exit(anyio.run(serve, settings))
