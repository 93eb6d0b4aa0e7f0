"""One decoding process: started with nothing of ours, asked one picture at a time, believed in nothing.

Raw bytes come back and no pickles: a picture that takes the process over gains nothing in this one.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from typing import TYPE_CHECKING, cast

from controlnet_mcp.images.decode_worker import ANSWERED, ASKED, PIXELS, REFUSED
from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.pictures import Limits

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

PROGRAM = ("-m", "controlnet_mcp.images.decode_worker")
_LONGEST_SENTENCE_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time that one picture may take.

    Attributes:
        cpu_seconds: Of a processor; enforced by the system where it can (POSIX).
        wall_seconds: Until the worker is ended, on every system.
    """

    cpu_seconds: int = 20
    wall_seconds: float = 60.0


class BrokenWorkerError(Exception):
    """The worker ended, or answered with something that it cannot have meant."""


class Worker:
    """One process, used by one thread at a time.

    Attributes:
        process: The process; its standard streams are pipes.
        decoded: How many pictures it was given.
    """

    def __init__(self, environment: Mapping[str, str], program: Sequence[str] = PROGRAM) -> None:
        """Start the process; it is ready when it answers its first picture.

        Args:
            environment: Its variables, besides where Python finds modules.
            program: Arguments of Python.
        """
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

    def decode(self, content: bytes, limits: Limits, allowance: Allowance) -> "Rgb":
        """As `controlnet_mcp.images.pixels.pixels_of`.

        Raises:
            ImageError: The refusal of the decoder.
            BrokenWorkerError: The worker is of no more use.
        """
        self.decoded += 1
        watch = threading.Timer(allowance.wall_seconds, self.process.kill)
        watch.start()
        try:
            self._asks.write(ASKED.pack(len(content), limits.max_bytes, limits.max_pixels, allowance.cpu_seconds))
            self._asks.write(content)
            self._asks.flush()
            return _answer(self._answers, limits)
        except OSError as error:
            raise BrokenWorkerError from error
        finally:
            watch.cancel()

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        for stream in (self._asks, self._answers):
            with suppress(OSError):  # what it did not take any more
                stream.close()
        self.process.wait()


def _answer(stream: BufferedReader, limits: Limits) -> "Rgb":
    """Read an answer, and believe nothing in it that the limits do not allow."""
    import numpy as np

    kind, first, second = ANSWERED.unpack(_exactly(stream, ANSWERED.size))
    if kind == PIXELS:
        if not 0 < first * second <= limits.max_pixels:
            raise BrokenWorkerError
        pixels: Rgb = np.frombuffer(_exactly(stream, first * second * 3), dtype=np.uint8).reshape(first, second, 3)
        pixels.flags.writeable = False
        return pixels
    if kind != REFUSED or max(first, second) > _LONGEST_SENTENCE_BYTES:
        raise BrokenWorkerError
    message, hint = (_exactly(stream, length).decode("utf-8", "replace") for length in (first, second))
    raise ImageError("image_unreadable", message, hint=hint)


def _exactly(stream: BufferedReader, length: int) -> bytearray:
    """So many bytes, without a second copy of them.

    Raises:
        BrokenWorkerError: The stream ended before.
    """
    content = bytearray(length)
    if stream.readinto(content) != length:
        raise BrokenWorkerError
    return content
