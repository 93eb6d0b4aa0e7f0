"""The end of a serving process: submissions in flight are finished and recorded first, within a bounded time.

The first signal means what the end of stdin means: take no more calls, finish submissions, close the record; only that
after the end of stdin, what was asked before is answered first, within three seconds. The signal's handlers stay until
all of that is done, because hosts send SIGTERM two seconds after they closed stdin. A second signal ends the process at
once: the intent of a submission is on record before it leaves, so the next process knows of it.
"""

import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup, TaskStatus


@asynccontextmanager
async def background() -> AsyncGenerator[TaskGroup]:
    """Open a task group that ends with its block; an error of the block stays itself, not part of a group."""
    failure: Exception | SystemExit | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except (Exception, SystemExit) as error:  # noqa: BLE001  # raised again as it is, below
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP")
    if hasattr(signal, name) and sys.platform != "win32"
)
"""Signals that ask a process to end; on Windows an event loop cannot wait for them, and Ctrl-C stays an interrupt."""

_LEAVE_SECONDS = 2.0


@dataclass(slots=True)
class Ending:
    """The end of this process, once it was asked for.

    Attributes:
        exit_code: 0 for the end of stdin, SIGTERM and SIGHUP; 130 for Ctrl-C, as shells expect.
    """

    exit_code: int = 0


@asynccontextmanager
async def ending_on_signals(begin: Callable[[], None]) -> AsyncGenerator[Ending]:
    """Call `begin` on the first signal that asks this process to end; a second one is no longer caught."""
    ending = Ending()

    async def receive(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for caught in signals:
                ending.exit_code = 130 if caught == signal.SIGINT else 0
                break
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        begin()

    async with background() as tasks:
        if SIGNALS and threading.current_thread() is threading.main_thread():
            await tasks.start(receive)
        yield ending


def leave_soon(ending: Ending) -> None:
    """End the process even if a thread never returns, as when its output is not read; all is on record by now."""

    def leave() -> None:
        sys.stderr.flush()
        os._exit(ending.exit_code)

    last = threading.Timer(_LEAVE_SECONDS, leave)
    last.daemon = True
    last.start()
