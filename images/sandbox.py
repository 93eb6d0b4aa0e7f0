"""Decoding in processes of their own, which a picture may crash: for HTTP mode, where pictures are untrusted.

A worker is this project's own program (`controlnet_mcp.images.sandbox_worker`) with an empty environment and bounds on
memory, CPU time and files; it is given one picture at a time, and its answers are checked. Raw bytes come back and no
pickles: a picture that takes over the worker gains nothing in this process. Workers start with the first picture.
"""

import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader, BufferedWriter
from typing import TYPE_CHECKING, cast

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.picture import too_large
from controlnet_mcp.images.sandbox_worker import ANSWERED, ASKED, FORMS, REFUSED

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Pixels

PROGRAM = ("-m", "controlnet_mcp.images.sandbox_worker")
_LONGEST_SENTENCE_BYTES = 2000
WORKERS = 2
"""Pictures that are decoded at the same time; each may take the memory of the largest one."""
PICTURES_PER_WORKER = 200
"""Pictures that a worker decodes before a new one replaces it."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time that one picture may take: of a processor, which only POSIX systems enforce, and by the clock."""

    cpu_seconds: int = 20
    wall_seconds: float = 60.0


class BrokenWorkerError(Exception):
    """The worker ended, or its answer is not one of the protocol."""


class Worker:
    """One process, used by one thread at a time.

    Attributes:
        process: The process; its standard streams are pipes.
        decoded: How many pictures it was given.
    """

    def __init__(self, environment: Mapping[str, str], program: Sequence[str] = PROGRAM) -> None:
        """Start the process, with these variables and those by which Python finds modules."""
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-P", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
        )
        self.decoded = 0
        self._asks = cast("BufferedWriter", self.process.stdin)
        self._answers = cast("BufferedReader", self.process.stdout)

    def decode(self, content: bytes, limits: Limits, allowance: Allowance) -> "Pixels":
        """Decode as `controlnet_mcp.images.decode.decode_channels` does; no answer beyond the limits is accepted.

        Raises:
            ImageError: The refusal of the decoder.
            BrokenWorkerError: The worker is of no more use.
        """
        import numpy as np

        self.decoded += 1
        watch = threading.Timer(allowance.wall_seconds, self.process.kill)
        watch.start()
        try:
            self._asks.write(ASKED.pack(len(content), limits.max_bytes, limits.max_pixels, allowance.cpu_seconds))
            self._asks.write(content)
            self._asks.flush()
            kind, first, second = ANSWERED.unpack(self._exactly(ANSWERED.size))
            if kind in FORMS and 0 < first * second <= limits.max_pixels:
                shape, form = (first, second, *FORMS[kind][0]), np.dtype(FORMS[kind][1])
                values: Pixels = np.frombuffer(self._exactly(math.prod(shape) * form.itemsize), dtype=form)
                values.flags.writeable = False
                return values.reshape(shape)
            if kind != REFUSED or max(first, second) > _LONGEST_SENTENCE_BYTES:
                raise BrokenWorkerError
            message, hint = (self._exactly(length).decode("utf-8", "replace") for length in (first, second))
        except OSError as error:
            raise BrokenWorkerError from error
        finally:
            watch.cancel()
        raise ImageError("image_unreadable", message, hint=hint)

    def _exactly(self, length: int) -> bytearray:
        """Read so many bytes of the answer, without a second copy of them.

        Raises:
            BrokenWorkerError: The stream ended before.
        """
        content = bytearray(length)
        if self._answers.readinto(content) != length:
            raise BrokenWorkerError
        return content

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        for stream in (self._asks, self._answers):
            with suppress(OSError):  # what it did not take any more
                stream.close()
        self.process.wait()


@dataclass(slots=True)
class DecodeWorkers:
    """A pool of workers, each started when it is needed.

    Attributes:
        environment: The only variables that a worker is given.
        allowance: The time that one picture may take.
        program: Arguments of Python that start a worker.
        idle: Those that are not in use, the last one used first, ended ones too; `None` where none was started yet.
    """

    environment: Mapping[str, str]
    allowance: Allowance = field(default_factory=Allowance)
    program: Sequence[str] = PROGRAM
    idle: "queue.LifoQueue[Worker | None]" = field(default_factory=queue.LifoQueue[Worker | None], init=False)

    def __post_init__(self) -> None:
        for _ in range(WORKERS):
            self.idle.put(None)

    def decode(self, content: bytes, limits: Limits) -> "Pixels":
        """Decode a picture in a worker (blocks: call it in a thread).

        Raises:
            ImageError: `image_unreadable`: the refusal of the decoder, or its worker did not survive the picture.
        """
        if len(content) > limits.max_bytes:
            raise too_large(limits.max_bytes)
        worker = self.idle.get()
        try:
            if worker is not None and worker.process.poll() is not None:  # ended by us or by the system
                worker.end()
                worker = None
            worker = worker or Worker(self.environment, self.program)
            return worker.decode(content, limits, self.allowance)
        except BrokenWorkerError as error:
            if worker is not None:
                worker.end()
            raise ImageError(
                "image_unreadable",
                "The picture could not be decoded within the memory and time that one picture is given.",
                hint="Open it in a picture viewer, save it again as PNG or JPEG with fewer pixels, and pass that.",
            ) from error
        finally:
            if worker is not None and worker.decoded >= PICTURES_PER_WORKER:
                worker.end()
            self.idle.put(worker)

    def close(self) -> None:
        """End all workers; call it when no picture is being decoded."""
        for worker in [self.idle.get() for _ in range(WORKERS)]:
            if worker is not None:
                worker.end()
            self.idle.put(None)
