"""One idempotent step of a job's life.

new -> submitting -> running -> fetching -> succeeded
 ^        |  |-> uncertain |-> failed, canceled
 +--------+ refused for now    (a late answer, or a person's word, makes an uncertain job submitting again)

Polling, downloading and storing are safe to repeat; `succeeded` is committed last.

The runner: lives once per process, drives every job that no other process drives, and lets callers wait.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.polling import PollPacer, learned
from controlnet_mcp.jobs.record import JobRecord, State
from controlnet_mcp.jobs.results import Scorer, collect, keep_provenance
from controlnet_mcp.jobs.store import Lease, Leases
from controlnet_mcp.jobs.submission import JobWriter, LeaseLostError, Submitter
from controlnet_mcp.jobs.submission_log import CRASHED, INTERRUPTED
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import RequestWarning

_REPEATABLE: frozenset[State] = frozenset({"running", "fetching"})
"""States whose steps are safe to repeat whatever went wrong in them."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Driver:
    """Takes steps; holds no state of its own, so any process can take the next one."""

    writer: JobWriter
    submitter: Submitter
    pacer: PollPacer
    providers: Callable[[str], Provider]
    runner: Sender
    blobs: BlobStore
    scorer: Scorer

    async def step(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Take one step and commit what came of it.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
            StorageError: The record cannot be written.
        """
        try:
            provider = self.providers(job.provider)
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        try:
            await self.pacer.prepare(job)
            return await self._step(job, lease, provider)
        except (LeaseLostError, StorageError):
            raise
        except Exception:
            if job.state not in _REPEATABLE:
                raise
            _log.exception("A step of job %s failed; it is taken again.", job.job_id)
            return await self.writer.later(job, lease, CRASHED)

    async def _step(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        if job.cancel_requested and not job.cancel_answered and not job.failures and job.state in {"new", "running"}:
            return await self._cancel(job, lease, provider)
        match job.state:
            case "new" | "submitting":
                return await self.submitter.step(job, lease, provider)
            case "running":
                return await self._poll(job, lease, provider)
            case "fetching":
                return await self._fetch(job, lease, provider)
            case _:
                return job

    async def _poll(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        if job.task is None:
            return await self.writer.end(job, lease, "uncertain", INTERRUPTED)
        try:
            report = await self.runner.poll(provider, job.task)
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        answered = job.model_copy(update={"failures": 0, "stage": None}) if job.failures else job
        now = self.writer.clock()
        told = learned(answered, report, now, self.pacer)
        if told.state == "fetching":  # not written down first: after a crash the provider says it again
            self.pacer.learn(told, now)
            return await self._fetch(told, lease, provider)
        return await self.writer.note(told, job, lease)

    async def _fetch(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        try:
            collected = await collect(job, provider, self.runner, self.blobs)
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        if collected.missing is not None and not (collected.images and self.writer.exhausted(job)):
            partly = job.model_copy(update={"outputs": collected.outputs})
            return await self.writer.later(partly, lease, collected.missing)
        warnings = (*job.warnings, *collected.notices)
        done = {"images": collected.images, "warnings": warnings, "progress": 1.0, "stage": None, "failures": 0}
        finished = job.model_copy(update={**done, "measured": not self.scorer.measures(job)})
        await keep_provenance(finished, self.blobs)
        return await self.writer.end(finished, lease, "succeeded")

    async def measure(self, job: JobRecord, lease: Lease, *, again: bool = False) -> JobRecord:
        """Score the pictures of a job that succeeded; nobody who waits for them has to wait for this.

        Args:
            job: The job.
            lease: The right to write it.
            again: Whether another process began it and did not end it. It is tried once more, and not for ever:
                the pictures may be what ended that process.

        Raises:
            StorageError: The record cannot be written.
        """
        if again and job.failures:
            return await self.writer.write(job, lease, measured=True)
        if again:
            job = await self.writer.write(job, lease, failures=1)
        images = await self.scorer.scored(job, job.images)
        measured = job.model_copy(update={"images": images, "measured": True, "failures": 0})
        if images != job.images:
            await keep_provenance(measured, self.blobs)
        return await self.writer.write(measured, lease)

    async def _cancel(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Ask the provider to stop; while it does not answer that, asking and polling take turns."""
        stopped = job.task is None
        if job.task is not None and provider.capabilities.cancels:
            try:
                stopped = await self.runner.run(provider, provider.cancel(job.task))
            except ProviderError as error:
                if error.retryable:
                    return await self.writer.later(job, lease, error)
        if stopped:
            return await self.writer.end(job, lease, "canceled")
        warnings = (*job.warnings, _abandoned(provider.name))
        return await self.writer.write(job, lease, cancel_answered=True, warnings=warnings)


def _abandoned(provider: str) -> RequestWarning:
    detail = f"{provider} cannot stop this job; it goes on, may be charged, and its result is kept if it comes."
    return RequestWarning(kind="unsupported", feature="cancel", detail=detail)


SWEEP_SECONDS = 10.0
WISH_SECONDS = 1.0
"""How often this process looks whether others were told that a job of this one is to be stopped."""
_log_runner = logging.getLogger(__name__)


class JobRunner:
    """Drives jobs in tasks of their own; a caller that gives up never stops one."""

    def __init__(self, leases: Leases, driver: Driver, owner: str, clock: Callable[[], float]) -> None:
        """Take what driving needs.

        Args:
            leases: Where jobs are claimed.
            driver: Takes the steps.
            owner: Name of this process, unique on the data folder.
            clock: Seconds since the epoch.
        """
        self._leases = leases
        self._driver = driver
        self._owner = owner
        self._clock = clock
        self._driving: dict[str, anyio.Event] = {}
        self._latest: dict[str, JobRecord] = {}
        self._changed: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Adopt what earlier processes left behind, and keep looking for it."""
        self._tasks = tasks
        tasks.start_soon(self._sweep)
        tasks.start_soon(self._keep_leases)
        tasks.start_soon(self._hear_wishes)

    def wake(self, job_id: str) -> None:
        """Drive a job now: a new one, or one whose caller wants it stopped."""
        if job_id in self._driving:
            self._driving[job_id].set()
        elif self._tasks is not None:
            self._driving[job_id] = anyio.Event()
            self._tasks.start_soon(self._drive, job_id)

    def drives(self, job_id: str) -> bool:
        """Whether this process drives a job, so that `changed` tells of everything that happens to it."""
        return job_id in self._driving

    def latest(self, job_id: str) -> JobRecord | None:
        """A job as this process knows it while it drives it; not all of that is worth a write to the record."""
        return self._latest.get(job_id)

    async def changed(self, job_id: str, timeout_seconds: float) -> None:
        """Wait until this process changes a job, or until the time is up."""
        event = self.next_change(job_id)
        with anyio.move_on_after(timeout_seconds):
            await event.wait()

    def next_change(self, job_id: str) -> anyio.Event:
        """What is set when this process changes a job the next time; forgotten when nobody holds it any more."""
        return self._changed.setdefault(job_id, anyio.Event())

    async def _sweep(self) -> None:
        while True:
            try:
                for job_id in await self._leases.unowned():
                    self.wake(job_id)
            except ControlNetError as error:
                _log_runner.warning("Jobs of earlier runs cannot be looked up: %s", error)
            await anyio.sleep(min(SWEEP_SECONDS, self._leases.lease_seconds))

    async def _keep_leases(self) -> None:
        while True:
            await anyio.sleep(self._leases.lease_seconds / 3)
            if not self._driving:
                continue
            try:
                await self._leases.renew(self._owner)
            except ControlNetError as error:
                _log_runner.warning("The leases on jobs could not be renewed: %s", error)

    async def _hear_wishes(self) -> None:
        while True:
            await anyio.sleep(WISH_SECONDS)
            if not self._driving:
                continue
            try:
                for job_id in await self._leases.wishes(self._owner):
                    known = self._latest.get(job_id)
                    if known is not None and not known.cancel_requested:
                        self.wake(job_id)
            except ControlNetError as error:
                _log_runner.warning("It cannot be looked up which jobs are to be stopped: %s", error)

    async def _drive(self, job_id: str) -> None:
        try:
            claimed = await self._leases.claim(job_id, self._owner)
            if claimed is not None:
                await self._drive_claimed(*claimed)
        except LeaseLostError:
            _log_runner.info("Job %s is driven by another process.", job_id)
        except ControlNetError as error:
            _log_runner.warning("Job %s is left for the next sweep: %s", job_id, error)
        except Exception:  # noqa: BLE001  # one job's fault must not stop the others
            _log_runner.exception("Job %s is left for the next sweep after a fault of this server.", job_id)
        finally:
            self._driving.pop(job_id, None)
            self._latest.pop(job_id, None)
            self._tell(job_id)

    async def _drive_claimed(self, job: JobRecord, lease: Lease) -> None:
        job = job.model_copy(update={"looked_at": None})  # who drove it before may have looked later than it wrote
        again = job.ended
        try:
            while not job.ended:
                job = self._latest[job.job_id] = await self._driver.step(job, lease)
                self._tell(job.job_id)
                if not job.ended:
                    job = self._latest[job.job_id] = await self._rest(job)
            if not job.settled:
                job = await self._driver.measure(job, lease, again=again)
        finally:
            if not job.settled:  # nobody claims one that is
                with anyio.CancelScope(shield=True):
                    await self._leases.release(lease)

    async def _rest(self, job: JobRecord) -> JobRecord:
        """Sleep until the next step is due or somebody wakes the job, who may want it stopped."""
        woken = self._driving[job.job_id]
        if job.wake_at > self._clock():
            with anyio.move_on_after(job.wake_at - self._clock()):
                await woken.wait()
        if not woken.is_set():
            return job
        self._driving[job.job_id] = anyio.Event()
        unwanted = job.cancel_requested or job.job_id in await self._leases.wishes(self._owner)
        return job.model_copy(update={"cancel_requested": unwanted})

    def _tell(self, job_id: str) -> None:
        event = self._changed.pop(job_id, None)
        if event is not None:
            event.set()
