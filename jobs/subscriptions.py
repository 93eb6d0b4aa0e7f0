"""Following jobs, whoever drives them: this process is told of its own jobs, and reads the record for all others.

However many follow a job, there is one reading of the record for all of them.
"""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore

READ_SECONDS = 0.5
"""Pause between two reads of a job that another process may drive; nobody tells this one of its changes."""
_log = logging.getLogger(__name__)


class JobSubscription:
    """One job as it was last seen, shared by all who follow it."""

    def __init__(self, job: JobRecord) -> None:
        self.job = job
        self.followers = 0
        self.closed = False
        self.reading: anyio.CancelScope | None = None
        self._changed = anyio.Event()

    def show(self, job: JobRecord) -> None:
        """Take a newer state of the job, and wake those who have not seen it."""
        if _differs(job, self.job):
            self.job = job
            self._wake()

    def close(self) -> None:
        """Let nobody wait any longer."""
        self.closed = True
        self._wake()

    async def after(self, job: JobRecord) -> JobRecord:
        """Wait until the job is no longer as given, or until the subscription is closed; returns it as it is then."""
        while not (self.closed or _differs(self.job, job)):
            await self._changed.wait()
        return self.job

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class JobSubscriptions:
    """The jobs that are followed in this process, and those that it drives, as far as it knows them."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._followed: dict[str, JobSubscription] = {}
        self._driven: dict[str, JobRecord | None] = {}
        self._closed = False
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Read the record from now on, in tasks of this group."""
        self._tasks = tasks

    def close(self) -> None:
        """Let nobody wait any longer, because the process ends: callers are given their jobs as they stand."""
        self._closed = True
        for followed in self._followed.values():
            followed.close()

    @property
    def followed(self) -> int:
        """The number of jobs that are followed."""
        return len(self._followed)

    def latest(self, job_id: str) -> JobRecord | None:
        """A job as this process knows it while it drives it; not all of that is worth a write to the record."""
        return self._driven.get(job_id)

    def drives(self, job_id: str) -> bool:
        """True while this process drives a job, so that it tells of all changes."""
        return job_id in self._driven

    def begin_driving(self, job_id: str) -> None:
        """Tell that this process drives a job from now on."""
        self._driven[job_id] = None

    def publish(self, job: JobRecord) -> None:
        """Tell of a change of a job that this process drives."""
        self._driven[job.job_id] = job
        if followed := self._followed.get(job.job_id):
            followed.show(job)

    def end_driving(self, job_id: str) -> None:
        """Tell that this process drives a job no longer; if it is not over, another one may."""
        self._driven.pop(job_id, None)
        if followed := self._followed.get(job_id):
            self._start_reading(followed)

    @contextmanager
    def follow(self, job: JobRecord) -> Generator[JobSubscription]:
        """Follow a job for the length of the block; whoever leaves, by whatever way, leaves nothing behind."""
        followed = self._followed.get(job.job_id)
        if followed is None:
            followed = self._followed[job.job_id] = JobSubscription(self.latest(job.job_id) or job)
            followed.closed = self._closed
            self._start_reading(followed)
        elif job.updated_at > followed.job.updated_at:
            followed.show(job)
            self._start_reading(followed)  # a job that was over may be driven again
        followed.followers += 1
        try:
            yield followed
        finally:
            followed.followers -= 1
            if not followed.followers:
                del self._followed[job.job_id]
                if followed.reading is not None:
                    followed.reading.cancel()

    async def announce(
        self, job: JobRecord, tell: Callable[[JobRecord], Awaitable[None]], spacing_seconds: float
    ) -> None:
        """Tell of changes until the job is over, not more often than the spacing; the last state is always told."""
        with self.follow(job) as followed:
            while not (_over(job) or followed.closed):
                before, job = job, await followed.after(job)
                if job is not before:
                    await tell(job)
                    await anyio.sleep(0 if _over(job) else spacing_seconds)

    def _start_reading(self, followed: JobSubscription) -> None:
        """Read a job again and again until it is over or this process drives it, unless that is done already."""
        job_id, principal = followed.job.job_id, followed.job.principal
        scope = anyio.CancelScope()

        async def read_until_over() -> None:
            with scope:
                while not (self.drives(job_id) or _over(followed.job)):
                    try:
                        read = await self._store.get(job_id, principal)
                        if not self.drives(job_id):
                            followed.show(read)
                    except RequestError:
                        break  # the job is gone from the record
                    except ControlNetError as error:
                        _log.warning("Job %s cannot be read: %s", job_id, error)
                    await anyio.sleep(READ_SECONDS)
            followed.reading = None

        idle = followed.reading is None and not self.drives(job_id)
        if self._tasks is not None and idle and not _over(followed.job):
            followed.reading = scope
            self._tasks.start_soon(read_until_over)


def _differs(one: JobRecord, other: JobRecord) -> bool:
    """True when there is something to tell; flags that others than its driver set are not."""
    if one is other or one.updated_at != other.updated_at:  # comparing all that is inside takes long
        return one is not other
    flags = {"cancel_requested": one.cancel_requested, "delivered": one.delivered}
    return one != other.model_copy(update=flags)


def _over(job: JobRecord) -> bool:
    """True when nothing will change any more; an uncertain job waits for a person, or for a late acceptance."""
    return job.settled and job.state != "uncertain"
