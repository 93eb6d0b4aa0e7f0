"""One idempotent step of a job's life.

new -> submitting -> running -> fetching -> succeeded
 ^        |  |-> uncertain |-> failed, canceled
 +--------+ refused for now    (a late answer, or a person's word, makes an uncertain job submitting again)

Polling, downloading and storing are safe to repeat; `succeeded` is committed last.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.faults import CRASHED, INTERRUPTED
from controlnet_mcp.jobs.leases import Lease
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.record import JobRecord, State
from controlnet_mcp.jobs.reports import learned
from controlnet_mcp.jobs.results import collect
from controlnet_mcp.jobs.scoring import Scorer, keep_provenance
from controlnet_mcp.jobs.submission import Submitter
from controlnet_mcp.jobs.writer import JobWriter, LeaseLostError
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
