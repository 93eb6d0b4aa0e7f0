"""Driving jobs: one idempotent step after another, each under a lease, in one task per job.

preparing -> new -> submitting -> running -> fetching -> succeeded
 |            ^        |  |-> uncertain |-> failed, canceled
 |            +--------+ refused for now    (a late acceptance, or a person, makes an uncertain job submitting again)
 +-> failed, canceled          (a job that is prepared before its call has to answer begins as new)

Polling, downloading and storing are safe to repeat; `succeeded` is committed last. Nothing is sent and nothing is paid
for while a job is prepared, so what is interrupted then has cost nothing.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import ControlNetError, RequestError, StorageError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.polling import UNKNOWN_PROVIDER, PollPacer, after_failure, apply_report
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.results import SOME_MISSING, Scorer, download_results, keep_provenance
from controlnet_mcp.jobs.store import Admit, JobStore, Lease, LeaseLostError
from controlnet_mcp.jobs.submission import Submitter
from controlnet_mcp.jobs.submission_log import INTERRUPTED, Decide, fault_of, next_action
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.registry import ProviderEntry, entry_of, load_adapter, ready
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Capabilities, Fault, RequestWarning

SWEEP_SECONDS = 10.0
"""Pause between two looks for jobs that nobody drives."""
CANCEL_SECONDS = 1.0
"""Pause between two looks for jobs of this process that another one was told to stop."""

_LONGEST_UNWRITTEN_SECONDS = 5.0
"""A process that only reads the record sees at least this often that a job is being looked at."""
_CRASHED = ControlNetError(
    "provider_failed",
    "This server failed while driving the job; its log has the details.",
    hint="The job is kept and tried again until its deadline.",
    retryable=True,
)
_AGAIN = "Call controlnet_generate again if it is still wanted."
_UNPREPARED = Fault(
    code="provider_failed",
    message="The server stopped while it prepared the pictures of this job. Nothing was sent and nothing was bought.",
    hint=_AGAIN,
    retryable=True,
)
_TOO_SLOW = Fault(
    code="timed_out",
    message="The pictures of this job could not be prepared in time. Nothing was sent and nothing was bought.",
    hint=_AGAIN,
    retryable=True,
)
_FAULTY = Fault(
    code="provider_failed",
    message="This server failed while it prepared the job; its log has the details. Nothing was sent or bought.",
    hint=_AGAIN,
)
_NO_TROUBLE = {"failures": 0, "lasting_since": None, "stage": None}
"""Fields of a job whose provider answered as it should."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that is driven as soon as the rules on new jobs admit it."""

    record: JobRecord
    admit: Admit


@dataclass(slots=True, eq=False)
class Preparation:
    """One request that this process prepares.

    Attributes:
        work: Reads its pictures and agrees on its price.
        ended: Set when there is an outcome.
    """

    work: Callable[[], Awaitable[PreparedJob]]
    ended: anyio.Event = field(default_factory=anyio.Event, init=False)
    _outcome: PreparedJob | Exception | Fault = field(default=_UNPREPARED, init=False)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, init=False)

    async def run(self) -> None:
        """Prepare it, once."""
        try:
            with self._scope:
                self._outcome = await self.work()
        except Exception as error:  # noqa: BLE001  # raised for whoever asks for the job
            self._outcome = error
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Prepare it no further: nobody wants it any more."""
        self._scope.cancel()

    def job(self) -> PreparedJob:
        """The job that came of it, once it has ended; raises whatever went wrong."""
        match self._outcome:
            case Exception() as error:
                raise error
            case Fault() as fault:
                raise RequestError(fault.code, fault.message, hint=fault.hint, retryable=fault.retryable)
            case prepared:
                return prepared


@dataclass(frozen=True, slots=True)
class Preparations:
    """The jobs that are on record while this process still prepares them."""

    store: JobStore
    clock: Callable[[], float]
    running: dict[str, Preparation] = field(default_factory=dict[str, Preparation])

    async def step(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Write what became of a job's preparation; while that goes on the job rests, and its end wakes it.

        A job that no process prepares any more fails, and so does one whose time is over.

        Raises:
            LeaseLostError: Another process drives the job; nothing was written.
            StorageError: The record cannot be written.
        """
        now, preparation = self.clock(), self.running.get(job.job_id)
        goes_on = preparation is not None and not preparation.ended.is_set()
        if goes_on and not job.cancel_requested and now < job.deadline_at:
            return job.model_copy(update={"wake_at": job.deadline_at})
        self.running.pop(job.job_id, None)
        if preparation is not None:
            preparation.stop()
        over = job.model_copy(update={"stage": None})
        if job.cancel_requested:
            return await self.store.save(over.ending("canceled", now), lease)
        found = _TOO_SLOW if goes_on else _outcome(preparation, job.job_id)
        if isinstance(found, PreparedJob):
            try:
                return await self.store.begin(found.record, lease, found.admit)
            except RequestError as error:
                found = fault_of(error)
        return await self.store.save(over.ending("failed", now, found), lease)


def _outcome(preparation: Preparation | None, job_id: str) -> PreparedJob | Fault:
    """The outcome of a preparation that has ended, here or with an earlier process, as it goes into the record."""
    if preparation is None:
        return _UNPREPARED
    try:
        return preparation.job()
    except ControlNetError as error:
        return fault_of(error)
    except Exception:  # noqa: BLE001  # the record gets a sentence, the log gets the rest
        _log.exception("Job %s could not be prepared.", job_id)
        return _FAULTY


@dataclass(frozen=True, slots=True)
class Driver:
    """Takes steps; holds no state of its own, so any process can take the next one."""

    store: JobStore
    preparations: Preparations
    submitter: Submitter
    pacer: PollPacer
    entries: Sequence[ProviderEntry]
    sender: Sender
    blobs: BlobStore
    scorer: Scorer
    clock: Callable[[], float]

    async def step(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Take the step that the state asks for and commit its result; a job that ended stays as it is.

        Raises:
            LeaseLostError: Another process drives the job; nothing was written.
            StorageError: The record cannot be written.
        """
        if job.ended:
            return job
        if job.state == "preparing":
            return await self.preparations.step(job, lease)
        try:
            provider = ready(self.entries, job.provider)
        except ControlNetError as error:
            return await self._try_again(job, lease, error)
        try:
            await self.pacer.load(job.kind)
            take = {"running": self._poll, "fetching": self._fetch}.get(job.state, self.submitter.step)
            if job.cancel_requested and not (job.cancel_answered or job.failures) and job.state in {"new", "running"}:
                take = self._cancel
            return await take(job, lease, provider)
        except (LeaseLostError, StorageError):
            raise
        except Exception:
            if job.state not in {"running", "fetching"}:  # their steps are safe to repeat whatever went wrong
                raise
            _log.exception("A step of job %s failed; it is taken again.", job.job_id)
            return await self._try_again(job, lease, _CRASHED)

    async def score(self, job: JobRecord, lease: Lease, *, again: bool = False) -> JobRecord:
        """Score the pictures of a job that succeeded; nobody who waits for them has to wait for this.

        What another process began and did not end is tried once more (`again`), and not for ever: the pictures may be
        what ended that process.

        Raises:
            StorageError: The record cannot be written.
        """
        if again and job.failures:
            return await self.store.save(job.model_copy(update={"measured": True}), lease)
        if again:
            job = await self.store.save(job.model_copy(update={"failures": 1}), lease)
        images = await self.scorer.scored(job, job.images)
        scored = job.model_copy(update={"images": images, "measured": True, "failures": 0})
        if images != job.images:
            await keep_provenance(scored, self.blobs)
        return await self.store.save(scored, lease)

    async def _try_again(self, job: JobRecord, lease: Lease, error: ControlNetError) -> JobRecord:
        return await self.store.save(after_failure(job, error, self.clock()), lease)

    async def _poll(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Ask how the task stands, and write the answer unless it says nothing new and the last write is not long ago.

        When the provider was asked and will be asked again is only for the process that drives the job; another that
        takes over asks anew.
        """
        if job.task is None:
            return await self.store.save(job.ending("uncertain", self.clock(), INTERRUPTED), lease)
        try:
            report = await self.sender.poll(provider, job.task)
        except ControlNetError as error:
            return await self._try_again(job, lease, error)
        answered = job.model_copy(update={**(_NO_TROUBLE if job.failures else {}), "looks": job.looks + 1})
        now = self.clock()
        told = apply_report(answered, report, now, self.pacer)
        if told.state == "fetching":  # not written first: after a crash the provider says it again
            self.pacer.learn(told, now)
            return await self._fetch(told, lease, provider)
        of_looks = {"looks": told.looks, "looked_at": told.looked_at, "wake_at": told.wake_at}
        nothing_new = told == job.model_copy(update=of_looks)
        if nothing_new and now - job.updated_at < _LONGEST_UNWRITTEN_SECONDS:
            return told
        return await self.store.save(told, lease)

    async def _fetch(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Download the pictures and end the job; while one is missing that may still come, the step is tried again."""
        if job.failures:
            job = await self._with_fresh_links(job, provider)
        try:
            results = await download_results(job, provider, self.sender, self.blobs)
        except ControlNetError as error:
            return await self._try_again(job, lease, error)
        now = self.clock()
        job = job.model_copy(update={"outputs": results.outputs})
        if results.missing is not None:
            tried = after_failure(job, results.missing, now)
            if not (results.images and tried.ended):
                return await self.store.save(tried, lease)
        warnings = (*(row for row in job.warnings if not row.detail.startswith(SOME_MISSING)), *results.warnings)
        done = {**_NO_TROUBLE, "images": results.images, "warnings": warnings, "progress": 1.0}
        measured = self.scorer.control_of(job) is None
        finished = job.ending("succeeded", now).model_copy(update={**done, "measured": measured})
        await keep_provenance(finished, self.blobs)
        return await self.store.save(finished, lease)

    async def _with_fresh_links(self, job: JobRecord, provider: Provider) -> JobRecord:
        """The job with new links to pictures that could not be had, where the provider names some: links expire."""
        if job.task is None:
            return job
        try:
            report = await self.sender.poll(provider, job.task)
        except ControlNetError:  # the links that it named before may be good all the same
            return job
        old_outputs = job.outputs or report.outputs
        if report.phase != "succeeded" or len(report.outputs) != len(old_outputs):
            return job
        pairs = zip(old_outputs, report.outputs, strict=True)
        return job.model_copy(update={"outputs": tuple(old if old.sha256 else new for old, new in pairs)})

    async def _cancel(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Ask the provider to stop; while it does not answer that, asking and polling take turns."""
        stopped = job.task is None
        if job.task is not None and provider.capabilities.cancels:
            try:
                stopped = await self.sender.run(provider, provider.cancel(job.task))
            except ProviderError as error:
                if error.retryable:
                    return await self._try_again(job, lease, error)
        if stopped:
            return await self.store.save(job.ending("canceled", self.clock()), lease)
        detail = "cannot stop this job; it goes on, may be charged, and its result is kept if it comes."
        warning = RequestWarning(kind="unsupported", feature="cancel", detail=f"{provider.name} {detail}")
        goes_on = {"cancel_answered": True, "warnings": (*job.warnings, warning)}
        return await self.store.save(job.model_copy(update=goes_on), lease)


def build_driver(  # noqa: PLR0913  # the parts that tests replace, by name
    store: JobStore,
    sender: Sender,
    entries: Sequence[ProviderEntry],
    blobs: BlobStore,
    *,
    scorer: Scorer | None = None,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
    submissions_in_flight: int = 4,
    decide: Decide = next_action,
) -> Driver:
    """Put the parts together that a job is driven by; by default scored with all measures that need no model."""

    def capabilities_of(name: str) -> Capabilities:
        entry = entry_of(entries, name)
        return UNKNOWN_PROVIDER if entry is None else entry.capabilities

    pacer = PollPacer(store, chance, capabilities_of)
    submitter = Submitter(store, sender, pacer, clock, submissions_in_flight, decide)
    preparations = Preparations(store, clock)
    return Driver(store, preparations, submitter, pacer, entries, sender, blobs, scorer or Scorer(blobs), clock)


async def repeat(work: Callable[[], Awaitable[object]], seconds: float, failure: str) -> None:
    """Do something again and again; a failure is logged, and the next time comes."""
    while True:
        try:
            await work()
        except ControlNetError as error:
            _log.warning("%s: %s", failure, error)
        await anyio.sleep(seconds)


class JobRunner:
    """Drives every job that no other process drives, in tasks of their own; a caller that gives up never stops one."""

    def __init__(self, driver: Driver, subscriptions: JobSubscriptions, owner: str) -> None:
        """Take what takes the steps, who is told of every change, and a name unique on the data folder."""
        self.owner = owner
        self._driver = driver
        self._store = driver.store
        self._subscriptions = subscriptions
        self._woken: dict[str, anyio.Event] = {}
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Take over jobs of earlier processes, and keep looking for them."""
        self._tasks = tasks

        async def drive_unowned() -> None:
            for job_id in await self._store.unowned():
                self.wake(job_id)

        async def renew_leases() -> None:
            if self._woken:
                await self._store.renew(self.owner)

        async def stop_unwanted() -> None:
            for job_id in await self._store.cancel_requested(self.owner) if self._woken else ():
                known = self._subscriptions.latest(job_id)
                if known is not None and not known.cancel_requested:
                    self.wake(job_id)

        lease = self._store.lease_seconds
        for work, seconds, failure in (
            (drive_unowned, min(SWEEP_SECONDS, lease), "Jobs of earlier runs cannot be looked up"),
            (renew_leases, lease / 3, "The leases on jobs could not be renewed"),
            (stop_unwanted, CANCEL_SECONDS, "It cannot be looked up which jobs are to be stopped"),
        ):
            tasks.start_soon(repeat, work, seconds, failure)

    async def prepare(self, preparation: Preparation, job_id: str) -> None:
        """Prepare a job in a task of its own, if this process has tasks; a job that rests until then is woken."""

        async def run() -> None:
            await preparation.run()
            if job_id in self._woken:
                self._woken[job_id].set()

        if self._tasks is None:
            await run()
        else:
            self._tasks.start_soon(run)

    def prepares(self, job_id: str) -> bool:
        """True for a job on record that this process still prepares."""
        return job_id in self._driver.preparations.running

    def wake(
        self,
        job_id: str,
        claimed: tuple[JobRecord, Lease] | None = None,
        preparation: Preparation | None = None,
    ) -> None:
        """Drive a job now: a new one, claimed already and maybe not prepared, or one whose caller wants it stopped."""
        if preparation is not None:
            self._driver.preparations.running[job_id] = preparation
        if job_id in self._woken:
            self._woken[job_id].set()
        elif self._tasks is not None:
            self._woken[job_id] = anyio.Event()
            self._subscriptions.begin_driving(job_id)
            self._tasks.start_soon(self._drive, job_id, claimed)

    async def _drive(self, job_id: str, claimed: tuple[JobRecord, Lease] | None) -> None:
        """Drive one job to its end, unless another process does; what fails is left for the next sweep."""
        try:
            claimed = claimed or await self._store.claim(job_id, self.owner)
            if claimed is None:
                return
            job, lease = claimed
            again = job.ended
            # who drove it before may have looked later than it wrote, and may have waited for something that is there
            job = job.model_copy(update={"looked_at": None, "wake_at": 0.0})
            try:
                await load_adapter(self._driver.entries, job.provider)  # a job of an earlier run may be the first of it
                while not job.ended:
                    job = await self._driver.step(await self._rested(job), lease)
                    self._subscriptions.publish(job)
                if not job.settled:
                    job = await self._driver.score(job, lease, again=again)
                    self._subscriptions.publish(job)
            finally:
                if not job.settled:  # nobody claims one that is
                    with anyio.CancelScope(shield=True):
                        await self._store.release(lease)
        except LeaseLostError:
            _log.info("Job %s is driven by another process.", job_id)
        except ControlNetError as error:
            _log.warning("Job %s is left for the next sweep: %s", job_id, error)
        except Exception:  # noqa: BLE001  # one job's fault must not stop the others
            _log.exception("Job %s is left for the next sweep after a fault of this server.", job_id)
        finally:
            self._woken.pop(job_id, None)
            self._subscriptions.end_driving(job_id)

    async def _rested(self, job: JobRecord) -> JobRecord:
        """Sleep until the next step is due, and the provider may be asked, or somebody wakes the job.

        Who does that may want it stopped.
        """
        woken, pause = self._woken[job.job_id], job.wake_at - self._driver.clock()
        if pause > 0:
            with anyio.move_on_after(pause):
                await woken.wait()
        if job.state == "running" and not woken.is_set():

            async def stop_when_woken() -> None:
                await woken.wait()
                either.cancel_scope.cancel()

            async with anyio.create_task_group() as either:
                either.start_soon(stop_when_woken)
                with suppress(StorageError):  # the step meets it as well
                    await self._driver.pacer.turn(job.provider)
                either.cancel_scope.cancel()
        if not woken.is_set():
            return job
        self._woken[job.job_id] = anyio.Event()
        canceled = job.cancel_requested or job.job_id in await self._store.cancel_requested(self.owner)
        job = job.model_copy(update={"cancel_requested": canceled})
        self._subscriptions.publish(job)
        return job
