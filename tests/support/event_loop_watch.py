"""Noticing when code of the project blocks the event loop."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import blockbuster.blockbuster as library
import pytest

_SCANNED = [f"controlnet_mcp.{layer}" for layer in ("foundation", "images", "providers", "jobs", "tools", "server")]


@dataclass(frozen=True, slots=True)
class LoopWatch:
    """What was found so far: the names of blocking functions that were called from the event loop."""

    findings: list[str] = field(default_factory=list[str])


@contextmanager
def watch_event_loop() -> Generator[LoopWatch]:
    """Raise in code of the project that blocks the event loop, and remember it: a server may swallow the error.

    What the SDK, anyio and the tests do is their own affair: only stacks with a frame of the project count. An import
    may read files, because it happens once, and a log may be written.
    """
    watch = LoopWatch()

    class Remembered(library.BlockingError):
        """The library's error, remembered when it is made."""

        def __init__(self, func: str) -> None:
            watch.findings.append(func)
            super().__init__(func)

    with pytest.MonkeyPatch.context() as patch, library.blockbuster_ctx(_SCANNED) as watcher:
        for function in watcher.functions.values():
            function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
            function.can_block_in("logging/__init__.py", "emit")
        patch.setattr(library, "BlockingError", Remembered)
        yield watch
