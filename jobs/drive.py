"""One idempotent step of a job's life.

new -> submitting -> running -> fetching -> succeeded
          |-> uncertain  |-> failed, canceled

Polling, downloading and storing are safe to repeat; `succeeded` is committed last.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.collect import collect
from controlnet_mcp.jobs.faults import CRASHED, DEADLINE, INTERRUPTED, UNEXPLAINED
from controlnet_mcp.jobs.leases import Lease
from controlnet_mcp.jobs.record import JobRecord, State
from controlnet_mcp.jobs.submission import Submitter
from controlnet_mcp.jobs.writer import JobWriter, LeaseLostError
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.runner import ProviderRunner
from controlnet_mcp.providers.values import Notice, Report, Submission

POLL_SECONDS = 1.0
"""Longest spacing of polls while a provider works."""
SHORTEST_POLL_SECONDS = 0.1
_REPEATABLE: frozenset[State] = frozenset({"running", "fetching"})
"""States whose steps are safe to repeat whatever went wrong in them."""
_TOLD = ("progress", "stage", "eta_seconds", "seed", "cost", "credits_left")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Driver:
    """Takes steps; holds no state of its own, so any process can take the next one."""

    writer: JobWriter
    providers: Callable[[str], Provider]
    runner: ProviderRunner
    blobs: BlobStore

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
        submitter = Submitter(self.writer, self.runner)
        match job.state:
            case "new":
                return await self._adopt(job, lease, await submitter.submit(job, lease, provider))
            case "submitting":
                return await self._adopt(job, lease, await submitter.recover(job, lease, provider))
            case "running":
                return await self._poll(job, lease, provider)
            case "fetching":
                return await self._fetch(job, lease, provider)
            case _:
                return job

    async def _adopt(self, job: JobRecord, lease: Lease, outcome: JobRecord | Submission) -> JobRecord:
        if isinstance(outcome, JobRecord):
            return outcome
        adopted = _answered(job).model_copy(update={"task": outcome.task})
        return await self._learn(adopted, lease, outcome.report)

    async def _poll(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        if job.task is None:
            return await self.writer.end(job, lease, "uncertain", INTERRUPTED)
        try:
            report = await self.runner.poll(provider, job.task)
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        return await self._learn(_answered(job), lease, report)

    async def _learn(self, job: JobRecord, lease: Lease, report: Report) -> JobRecord:
        """Take over what a report tells; what it leaves out stays as it was."""
        told = report.model_dump(include=set(_TOLD), exclude_none=True) | {"cost": report.cost or job.cost}
        job = job.model_copy(update=told)
        match report.phase:
            case "queued" | "running":
                return await self._wait(job, lease, report)
            case "succeeded":
                return await self.writer.write(job, lease, state="fetching", outputs=report.outputs, wake_at=0.0)
            case "failed":
                return await self.writer.end(job, lease, "failed", report.fault or UNEXPLAINED)
            case "canceled":
                return await self.writer.end(job, lease, "canceled", report.fault)

    async def _wait(self, job: JobRecord, lease: Lease, report: Report) -> JobRecord:
        now = self.writer.clock()
        if now >= job.deadline_at:
            return await self.writer.end(job, lease, "failed", DEADLINE)
        eta = POLL_SECONDS if report.eta_seconds is None else report.eta_seconds
        wake_at = now + min(max(eta, SHORTEST_POLL_SECONDS), POLL_SECONDS)
        queued = report.phase == "queued"
        return await self.writer.write(job, lease, state="running", queued=queued, wake_at=wake_at)

    async def _fetch(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        try:
            images = await collect(job, provider, self.runner, self.blobs)
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        finished = job.model_copy(update={"images": images, "progress": 1.0, "stage": None, "failures": 0})
        return await self.writer.end(finished, lease, "succeeded")

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
        warnings = (*job.warnings, _cannot_stop(provider.name))
        return await self.writer.write(job, lease, cancel_answered=True, warnings=warnings)


def _answered(job: JobRecord) -> JobRecord:
    """The job once its provider answered again: what was said of trying again is over."""
    return job.model_copy(update={"failures": 0, "stage": None}) if job.failures else job


def _cannot_stop(provider: str) -> Notice:
    detail = f"{provider} cannot stop this job; it goes on, may be charged, and its result is kept if it comes."
    return Notice(kind="unsupported", feature="cancel", detail=detail)
