"""Watching jobs, whoever drives them: one look at the record for everybody who waits for the same job."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore

OTHER_PROCESS_SECONDS = 0.5
"""How often a job is looked at that another process may drive; nobody tells this one of its changes."""
OWN_SECONDS = 5.0
"""How often a job is looked at that this process drives, and tells of."""
_log = logging.getLogger(__name__)


class JobSubscription:
    """One job as it was last seen, shared by all who watch it."""

    def __init__(self, job: JobRecord) -> None:
        """Take the job as its first watcher knows it."""
        self.job = job
        self.watchers = 0
        self.closed = False
        self.looking = anyio.CancelScope()
        self._moved = anyio.Event()

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
        """Wait until the job is no longer as given, or until the watch is closed; gives it as it is then."""
        while not (self.closed or _differs(self.job, job)):
            await self._moved.wait()
        return self.job

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


class JobSubscriptions:
    """Looks at jobs as long as somebody watches them: one read of the record per change, however many watch."""

    def __init__(self, store: JobStore, runner: JobRunner) -> None:
        """Take where jobs are written down, and who tells of changes made in this process."""
        self._store = store
        self._runner = runner
        self._sights: dict[str, JobSubscription] = {}
        self._closed = False
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Look from now on, in tasks of this group."""
        self._tasks = tasks

    def close(self) -> None:
        """Let nobody wait any longer, because the process ends: callers are given their jobs as they stand."""
        self._closed = True
        for sight in self._sights.values():
            sight.close()

    @property
    def watched(self) -> int:
        """How many jobs are being looked at."""
        return len(self._sights)

    @contextmanager
    def follow(self, job: JobRecord) -> Generator[JobSubscription]:
        """Watch a job for the length of the block; whoever leaves, by whatever way, leaves nothing behind."""
        sight = self._sight_of(job)
        sight.watchers += 1
        try:
            yield sight
        finally:
            sight.watchers -= 1
            if not sight.watchers:
                del self._sights[job.job_id]
                sight.looking.cancel()

    async def announce(
        self, job: JobRecord, tell: Callable[[JobRecord], Awaitable[None]], spacing_seconds: float
    ) -> None:
        """Tell of changes until the job is over, not more often than the spacing; the last state is always told."""
        with self.follow(job) as sight:
            while not (_over(job) or sight.closed):
                before, job = job, await sight.after(job)
                if job is not before:
                    await tell(job)
                    await anyio.sleep(0 if _over(job) else spacing_seconds)

    def _sight_of(self, job: JobRecord) -> JobSubscription:
        sight = self._sights.get(job.job_id)
        if sight is None:
            sight = self._sights[job.job_id] = JobSubscription(job)
            sight.closed = self._closed
            if self._tasks is not None:
                self._tasks.start_soon(self._look, sight)
        elif job.updated_at > sight.job.updated_at:
            sight.show(job)
        return sight

    async def _look(self, sight: JobSubscription) -> None:
        """Read at the beginning and after every change; one that comes during a read is not missed."""
        job_id, principal = sight.job.job_id, sight.job.principal
        with sight.looking:
            while not _over(sight.job):
                change = self._runner.next_change(job_id)
                try:
                    sight.show(self._runner.latest(job_id) or await self._store.get(job_id, principal))
                except RequestError:
                    return  # the job is gone from the record
                except ControlNetError as error:
                    _log.warning("Job %s cannot be looked at: %s", job_id, error)
                with anyio.move_on_after(OWN_SECONDS if self._runner.drives(job_id) else OTHER_PROCESS_SECONDS):
                    await change.wait()


def _differs(one: JobRecord, other: JobRecord) -> bool:
    """Whether there is something to tell; who wanted it stopped and whether it was answered for is not."""
    if one is other or one.updated_at != other.updated_at:  # comparing all that is inside takes long
        return one is not other
    flags = {"cancel_requested": one.cancel_requested, "delivered": one.delivered}
    return one != other.model_copy(update=flags)


def _over(job: JobRecord) -> bool:
    """Whether nothing will change any more; an uncertain job waits for a person's word, or for a late answer."""
    return job.settled and job.state != "uncertain"
