"""Decoding in processes that may die of a picture: what HTTP mode uses, where pictures come from strangers.

A worker is this project's own program (`controlnet_mcp.images.decode_worker`) with an empty environment and bounds on
memory, CPU time and files. Workers start when the first picture comes.
"""

import queue
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controlnet_mcp.images.decoders import decoding_by
from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.pictures import Limits, too_large
from controlnet_mcp.server.decode_process import PROGRAM, Allowance, BrokenWorkerError, Worker

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

WORKERS = 2
"""How many pictures are decoded at the same time, and so how often the memory of the largest one is taken."""
PICTURES_PER_WORKER = 200
"""How many pictures a worker decodes before a fresh one takes its place."""


@dataclass(slots=True)
class DecodeWorkers:
    """A few workers, started when there is something for them to do.

    Attributes:
        environment: The only variables that a worker is given.
        allowance: The time that one picture may take.
        program: Arguments of Python that start a worker.
        idle: Those that nobody uses now, the last one used first; `None` where none was started yet.
    """

    environment: Mapping[str, str]
    allowance: Allowance = field(default_factory=Allowance)
    program: Sequence[str] = PROGRAM
    idle: "queue.LifoQueue[Worker | None]" = field(default_factory=queue.LifoQueue[Worker | None], init=False)

    def __post_init__(self) -> None:
        for _ in range(WORKERS):
            self.idle.put(None)

    def decode(self, content: bytes, limits: Limits) -> "Rgb":
        """As `controlnet_mcp.images.pixels.pixels_of`, in a worker (blocks: call it in a thread).

        Raises:
            ImageError: `image_unreadable`: as there, and for a picture that its worker did not survive.
        """
        if len(content) > limits.max_bytes:
            raise too_large(limits.max_bytes)
        worker = self.idle.get()
        try:
            if worker is None or worker.process.poll() is not None:  # somebody may have ended one that was idle
                self._end(worker)
                worker = Worker(self.environment, self.program)
            return worker.decode(content, limits, self.allowance)
        except BrokenWorkerError as error:
            self._end(worker)
            worker = None
            raise _too_much() from error
        finally:
            self.idle.put(self._still_good(worker))

    def close(self) -> None:
        """End all workers, once nobody decodes any more."""
        for worker in [self.idle.get() for _ in range(WORKERS)]:
            self._end(worker)
            self.idle.put(None)

    def _still_good(self, worker: Worker | None) -> Worker | None:
        if worker is None or worker.decoded < PICTURES_PER_WORKER:
            return worker
        self._end(worker)
        return None

    def _end(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.end()


@contextmanager
def decoding_in_workers(environment: Mapping[str, str]) -> Generator[DecodeWorkers]:
    """Decode every picture of this process in workers while the block lasts."""
    workers = DecodeWorkers(environment)
    try:
        with decoding_by(workers.decode):
            yield workers
    finally:
        workers.close()


def _too_much() -> ImageError:
    return ImageError(
        "image_unreadable",
        "The picture could not be decoded within the memory and time that one picture is given.",
        hint="Open it in a picture viewer, save it again as PNG or JPEG with fewer pixels, and pass that.",
    )
