"""Every change of a job goes through here: written under the lease, with the time it happened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.jobs.faults import fault_of
from controlnet_mcp.jobs.leases import Lease, Leases
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.values import Fault

_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 15.0


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
        """Try the same step again after a pause; only the deadline ends a job that was paid for."""
        if self.clock() >= job.deadline_at:
            return await self.end(job, lease, "failed", fault_of(error))
        return await self.write(job, lease, failures=job.failures + 1, wake_at=self.backoff_until(job))

    def backoff_until(self, job: JobRecord) -> float:
        """When to try again after `job.failures` failures in a row."""
        return self.clock() + min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(job.failures, 10), _LONGEST_BACKOFF_SECONDS)
