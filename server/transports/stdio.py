"""The server over stdin and stdout, as a host on the same machine starts it.

The SDK's transport reads stdin in a worker thread that no signal can interrupt: a process that is told to end would
hang until its host wrote another line. Here a daemon thread reads; the event loop waits for a stream, and that can be
closed at any time. The SDK drops a line that it cannot read, so that its sender waits for ever, and raises when nobody
reads stdout any more; here such a line is answered with an error, and a reader who is gone is a client that has left.
What was asked before the end of stdin is answered, as in `echo REQUEST | controlnet-mcp`.
"""

import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import mcp_types as types
from anyio import from_thread, to_thread
from anyio.lowlevel import current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.delivery import Deliveries, serve_client
from controlnet_mcp.server.mcp.messages import Message, Unreadable, in_one_line, recovered, well_formed
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import ending_on_signals, leave_soon

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_Sender: TypeAlias = MemoryObjectSendStream[Message | Unreadable]
_Receiver: TypeAlias = MemoryObjectReceiveStream[Message | Unreadable]
_log = logging.getLogger(__name__)


_STREAM = "subscriptions/listen"  # a request that is answered when the server ends
_PATIENT_SECONDS, _HURRIED_SECONDS = 2.0, 1.0
"""Time for the answers to what was asked before the end of stdin, before and after calls are told not to wait for their
jobs any longer; hosts in a hurry send a signal after two seconds."""


@dataclass(slots=True)
class StandardInput:
    """The messages of the client, until the end of stdin or until they are ended from here.

    Attributes:
        ended: The client has closed stdin: it may have left, and not read what is answered from here on.
        hurry: Lets calls that wait for a job answer at once.
    """

    sender: _Sender
    receiver: _Receiver
    ended: bool = False
    hurry: Callable[[], None] = lambda: None
    _asked: set[str] = field(default_factory=set[str])
    _all_answered: anyio.Event = field(default_factory=anyio.Event)

    def close(self) -> None:
        """End the messages as if stdin had ended, and wait for no answer."""
        self._all_answered.set()
        self.sender.close()

    def take(self, message: Message) -> None:
        """Take note of a message of the client: a request waits for its answer, unless it is cancelled."""
        if isinstance(message, types.JSONRPCRequest) and message.method != _STREAM:
            self._asked.add(str(message.id))
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._asked.discard(str((message.params or {}).get("requestId")))

    def answered(self, message: Message) -> None:
        """Take note of a message to the client that was written."""
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._asked.discard(str(message.id))
        if self.ended and not self._asked:
            self._all_answered.set()

    async def drain(self) -> None:
        """After the end of stdin, wait for the answers to what was asked, within three seconds."""
        self.ended = True
        if self._asked:
            with anyio.move_on_after(_PATIENT_SECONDS):
                await self._all_answered.wait()
        if self._asked:
            self.hurry()
            with anyio.move_on_after(_HURRIED_SECONDS):
                await self._all_answered.wait()


class StandardOutput:
    """Lines to stdout, one at a time, until its reader has left."""

    def __init__(self, descriptor: int, stdin: StandardInput) -> None:
        """Take the descriptor, and the input, which is ended when the reader has left."""
        self._descriptor = descriptor
        self._stdin = stdin
        self._unread: list[str] = []
        self._unwritten: list[str] = []
        self._broken = False
        self._done = anyio.Event()
        self._done.set()
        self._turn = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)  # answers do not wait for pictures that are worked on

    async def write(self, line: str) -> None:
        """Write a line after all earlier ones; what comes after one that could not be written is lost as well."""
        if self._done.is_set() and not self._broken:
            self._done = anyio.Event()
        self._unwritten.append(line)
        async with self._turn:
            if self._broken:
                return
            try:
                await to_thread.run_sync(_write_whole, self._descriptor, line.encode(), limiter=self._thread)
            except OSError:
                self._broken = True
                self._stdin.close()
            else:
                self._unwritten.remove(line)
                if self._stdin.ended:
                    self._unread.append(line)
            if self._broken or not self._unwritten:
                self._done.set()

    async def unread(self, patience_seconds: float) -> Sequence[str]:
        """The lines that may not have been read: written after the end of stdin, or not wholly, after some patience."""
        with anyio.move_on_after(patience_seconds):
            await self._done.wait()
        return (*self._unread, *self._unwritten)


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
    sender, receiver = anyio.create_memory_object_stream[Message | Unreadable]()
    source = os.fdopen(wire_in, "rb", closefd=False)  # a thread may wait for it until the process ends
    loop = current_token()

    def read() -> None:
        """Pass messages on, each when the one before was taken, until the input or the event loop ends (blocks)."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.RunFinishedError, OSError):
            for line in source:
                message = well_formed(line)
                messages = recovered(line) if message is None else [message]
                if messages and isinstance(messages[0], Unreadable):
                    _log.warning("A line on stdin was no message. %s", messages[0].why)
                for found in messages:
                    from_thread.run(sender.send, found, token=loop)
            from_thread.run_sync(sender.close, token=loop)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    stdin = StandardInput(sender, receiver)
    try:
        yield stdin, StandardOutput(wire_out, stdin)
    finally:
        sender.close()
        receiver.close()
        os.dup2(wire_in, _STDIN)
        os.dup2(wire_out, _STDOUT)


def _write_whole(descriptor: int, content: bytes) -> None:
    """Write to the last byte; a write may take a part only (blocks)."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


_PATIENCE_SECONDS = 1.0
"""Time that a client that has left may take to read the last answer."""


@asynccontextmanager
async def exchange(
    stdin: StandardInput, output: StandardOutput
) -> AsyncGenerator[
    tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
]:
    """Exchange messages as the SDK's sessions do, for the length of the block; what is no message is answered here."""
    to_session, read = anyio.create_memory_object_stream[SessionMessage | Exception]()
    write, from_session = anyio.create_memory_object_stream[SessionMessage]()

    async def receive() -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with to_session:
                async for message in stdin.receiver:
                    if not isinstance(message, Unreadable):
                        stdin.take(message)
                        await to_session.send(SessionMessage(message))
                    elif message.awaited:
                        tasks.start_soon(output.write, f"{message.answer}\n")  # stdin may end while nobody reads it
                await stdin.drain()  # the session cancels what is in flight when its input ends

    async def send() -> None:
        async with from_session:
            async for item in from_session:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await output.write(f"{in_one_line(text)}\n")
                stdin.answered(item.message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        yield read, write


async def serve(settings: Settings) -> int:
    """Serve one client until it closes stdin, or until a signal does; gives the exit code."""
    with standard_streams() as (stdin, stdout):
        async with ending_on_signals(stdin.close) as ending, exchange(stdin, stdout) as (read, write):
            async with open_application(settings) as application:
                stdin.hurry = application.services.jobs.subscriptions.close
                deliveries = Deliveries(application.services.jobs)
                answers = await serve_client(build_server(application, local=True), read, write, deliveries)
                await deliveries.mark_lines_lost(answers, await stdout.unread(_PATIENCE_SECONDS))
            leave_soon(ending)
    return ending.exit_code


def run(settings: Settings) -> None:
    """Block until the client is done."""
    log_to_stderr(settings.log_level, settings.redactor)
    sys.exit(anyio.run(serve, settings))
