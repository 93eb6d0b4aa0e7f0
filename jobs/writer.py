"""Every change of a job goes through here: written under the lease, with the time it happened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.faults import fault_of, unproven
from controlnet_mcp.jobs.leases import Lease, Leases
from controlnet_mcp.jobs.ledger import Ledger
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.types import Fault, Submission

_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 15.0
_LONGEST_WISH_SECONDS = 120.0
"""A provider that asks for a longer pause is asked again after this all the same; only a reply can be wrong."""
_FEWEST_TRIES = 4
_LONGEST_UNWRITTEN_SECONDS = 5.0
"""A process that only reads the record sees at least this often that a job is being looked at."""


class LeaseLostError(Exception):
    """Another process drives this job now."""


@dataclass(frozen=True, slots=True)
class JobWriter:
    """Writes new values of jobs under a lease."""

    leases: Leases
    ledger: Ledger
    clock: Callable[[], float]

    async def write(self, job: JobRecord, lease: Lease, *, judged: int | None = None, **changes: object) -> JobRecord:
        """Commit changed fields; a job that would end while facts wait to be judged is given back to be judged again.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        changed = self._changed(job, **changes)
        saved = await self.leases.save(changed, lease, judged)
        if saved == "outdated":
            return job.model_copy(update={"state": "submitting"})
        return _kept(job.job_id, saved)

    async def note(self, job: JobRecord, before: JobRecord, lease: Lease) -> JobRecord:
        """Commit what a look at the provider told, unless it told nothing new and the last write is not long ago.

        When it was looked at and will be again is only for the process that drives the job; who takes over looks anew.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        spacing = {"looked_at": job.looked_at, "wake_at": job.wake_at}
        stale = self.clock() - before.updated_at >= _LONGEST_UNWRITTEN_SECONDS
        if stale or job != before.model_copy(update=spacing):
            return await self.write(job, lease)
        return job

    async def intend(self, job: JobRecord, lease: Lease, *, wanted_only: bool) -> JobRecord | None:
        """Commit that the job is about to be submitted, as its state and as a fact, both or neither.

        Args:
            job: The job.
            lease: The right to drive it.
            wanted_only: Whether a wish to stop the job keeps it from being submitted; it gives nothing then.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        intended = await self.ledger.intend(self._changed(job, state="submitting"), lease, wanted_only=wanted_only)
        return None if intended == "unwanted" else _kept(job.job_id, intended)

    async def answer(self, job: JobRecord, lease: Lease, submission: Submission) -> JobRecord:
        """Commit that the provider accepted, together with what the job became by it.

        Raises:
            LeaseLostError: Somebody else drives the job; the answer is on record all the same.
        """
        return _kept(job.job_id, await self.ledger.answer(self._changed(job), lease, submission))

    async def adopt(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Commit that the job goes on with an answer that is on record.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        return _kept(job.job_id, await self.ledger.adopt(self._changed(job), lease))

    async def end(
        self,
        job: JobRecord,
        lease: Lease,
        state: Literal["succeeded", "failed", "canceled", "uncertain"],
        fault: Fault | None = None,
        judged: int | None = None,
    ) -> JobRecord:
        """Commit an end; `judged` is the number of facts that it was judged by, if it was."""
        changes = {"state": state, "fault": fault, "finished_at": self.clock(), "eta_seconds": None}
        return await self.write(job, lease, judged=judged, **changes)

    async def later(self, job: JobRecord, lease: Lease, error: ControlNetError) -> JobRecord:
        """Try the same step again after a pause; only the deadline ends a job that was paid for.

        A computer that slept past the deadline gets some tries all the same, a job that is still being submitted then
        may have been accepted, and one whose pictures only lack room on this disk waits for room.
        """
        no_room = job.state == "fetching" and isinstance(error, StorageError)
        if no_room or not self.exhausted(job):
            wake_at, stage = self._again_at(job, error), f"trying again: {error.message}"
            return await self.write(job, lease, failures=job.failures + 1, wake_at=wake_at, stage=stage)
        if job.state == "submitting":
            return await self.end(job, lease, "uncertain", unproven(fault_of(error)))
        return await self.end(job, lease, "failed", fault_of(error))

    def exhausted(self, job: JobRecord) -> bool:
        """Whether a job's time is up and its last step failed often enough not to blame a computer that slept."""
        return self.clock() >= job.deadline_at and job.failures >= _FEWEST_TRIES

    def _changed(self, job: JobRecord, **changes: object) -> JobRecord:
        return job.model_copy(update={**changes, "updated_at": self.clock()})

    def _again_at(self, job: JobRecord, error: ControlNetError) -> float:
        """When to try again: later after each failure, and not before the provider wants it unless time runs out."""
        asked = error.retry_after_seconds if isinstance(error, ProviderError) else None
        backoff = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(job.failures, 10), _LONGEST_BACKOFF_SECONDS)
        now = self.clock()
        return max(now + backoff, min(now + min(asked or 0.0, _LONGEST_WISH_SECONDS), job.deadline_at))


def _kept(job_id: str, kept: JobRecord | None) -> JobRecord:
    if kept is None:
        raise LeaseLostError(job_id)
    return kept
