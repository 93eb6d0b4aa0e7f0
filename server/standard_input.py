"""Stdin as lines for the SDK's stdio transport, read so that nobody has to wait for the next one.

The SDK reads in a worker thread that no signal can interrupt: a process that is told to end would hang until its host
wrote another line. Here a daemon thread reads; the event loop waits for a stream, and that can be closed at any time.
"""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeAlias, cast

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_STDIN = 0
_Sender: TypeAlias = MemoryObjectSendStream[str]


class StandardInput:
    """The lines of stdin until its end, or until it is closed from here."""

    def __init__(self, sender: _Sender, receiver: MemoryObjectReceiveStream[str]) -> None:
        """Take both ends of a stream of lines."""
        self._sender = sender
        self._receiver = receiver

    @property
    def lines(self) -> anyio.AsyncFile[str]:
        """What the SDK takes for a file; all that it does is iterate."""
        return cast("anyio.AsyncFile[str]", self._receiver)

    def close(self) -> None:
        """End the lines, as if stdin had ended."""
        self._sender.close()


@contextmanager
def standard_input() -> Generator[StandardInput]:
    """Read stdin for the length of the block; meanwhile everybody else finds it empty, as with the SDK's own reader."""
    private = os.dup(_STDIN)
    _replace_stdin(os.open(os.devnull, os.O_RDONLY))
    sender, receiver = anyio.create_memory_object_stream[str]()
    source = os.fdopen(private, "rb", closefd=False)  # a thread may wait for it until the process ends
    threading.Thread(target=_read, args=(source, sender, current_token()), name="stdin", daemon=True).start()
    try:
        yield StandardInput(sender, receiver)
    finally:
        sender.close()
        receiver.close()
        os.dup2(private, _STDIN)


def _replace_stdin(descriptor: int) -> None:
    os.dup2(descriptor, _STDIN)
    os.close(descriptor)


def _read(source: BinaryIO, sender: _Sender, loop: EventLoopToken) -> None:
    """Hand over line by line, each when the last was taken; nobody is left to take it once the loop has ended."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.RunFinishedError, OSError):
        for line in source:
            from_thread.run(sender.send, line.decode("utf-8", "replace"), token=loop)
        from_thread.run_sync(sender.close, token=loop)
