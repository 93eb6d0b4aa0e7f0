"""Every change of a job goes through here: written under the lease, with the time it happened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.jobs.faults import fault_of, unproven
from controlnet_mcp.jobs.leases import Lease, Leases
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.values import Fault

_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 15.0
_FEWEST_TRIES = 4


class LeaseLostError(Exception):
    """Another process drives this job now."""


@dataclass(frozen=True, slots=True)
class JobWriter:
    """Writes new values of jobs under a lease."""

    leases: Leases
    clock: Callable[[], float]

    async def write(self, job: JobRecord, lease: Lease, **changes: object) -> JobRecord:
        """Commit changed fields.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        changed = job.model_copy(update={**changes, "updated_at": self.clock()})
        if not await self.leases.save(changed, lease):
            raise LeaseLostError(job.job_id)
        return changed

    async def intend(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Commit that the job is about to be submitted, as its state and as a fact, both or neither.

        Raises:
            LeaseLostError: Somebody else drives the job; nothing was written.
        """
        changed = job.model_copy(update={"state": "submitting", "updated_at": self.clock()})
        if not await self.leases.save(changed, lease, intent=job.request):
            raise LeaseLostError(job.job_id)
        return changed

    async def end(
        self,
        job: JobRecord,
        lease: Lease,
        state: Literal["succeeded", "failed", "canceled", "uncertain"],
        fault: Fault | None = None,
    ) -> JobRecord:
        """Commit an end."""
        return await self.write(job, lease, state=state, fault=fault, finished_at=self.clock(), eta_seconds=None)

    async def later(self, job: JobRecord, lease: Lease, error: ControlNetError) -> JobRecord:
        """Try the same step again after a pause; only the deadline ends a job that was paid for.

        A computer that slept past the deadline gets some tries all the same, and a job that is still being submitted
        then may have been accepted.
        """
        if self.clock() < job.deadline_at or job.failures < _FEWEST_TRIES:
            wake_at, stage = self._again_at(job, error), f"trying again: {error.message}"
            return await self.write(job, lease, failures=job.failures + 1, wake_at=wake_at, stage=stage)
        if job.state == "submitting":
            return await self.end(job, lease, "uncertain", unproven(fault_of(error)))
        return await self.end(job, lease, "failed", fault_of(error))

    def _again_at(self, job: JobRecord, error: ControlNetError) -> float:
        """When to try again: later after each failure, and not before the provider wants it unless time runs out."""
        asked = error.retry_after_seconds if isinstance(error, ProviderError) else None
        backoff = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(job.failures, 10), _LONGEST_BACKOFF_SECONDS)
        now = self.clock()
        return max(now + backoff, min(now + (asked or 0.0), job.deadline_at))
