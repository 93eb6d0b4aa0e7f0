"""The one step that can cost money, and what is done when its outcome is not known.

The intent is committed before the request leaves, and the answer is written as a fact before anything else happens.
A job found in `submitting` is one whose driver died or never heard back: its facts decide, and only a provider that
recognises our reference is asked a second time.
"""

from dataclasses import dataclass

import anyio

from controlnet_mcp.jobs.faults import INTERRUPTED, fault_of
from controlnet_mcp.jobs.leases import Lease
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.writer import JobWriter
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.runner import ProviderRunner
from controlnet_mcp.providers.values import Fault, Submission


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits a job, at most once wherever a second time could be charged."""

    writer: JobWriter
    runner: ProviderRunner

    async def submit(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord | Submission:
        """Commit the intent and send; a cancelled caller cannot interrupt what follows.

        Returns:
            The provider's answer, or the job as it stands when there is none.
        """
        job = await self.writer.write(job, lease, state="submitting")
        await self.writer.leases.add_attempt(job.job_id, "intent", job.request)
        outcome: JobRecord | Submission = job
        with anyio.CancelScope(shield=True):
            try:
                outcome = await self.runner.submit(provider, job.request, job.reference)
                await self.writer.leases.add_attempt(job.job_id, "answer", outcome)
            except ProviderError as error:
                outcome = await self._unanswered(job, lease, provider, error)
        return outcome

    async def recover(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord | Submission:
        """Go on with a job whose submission was begun by somebody who did not finish it."""
        answers = await self.writer.leases.attempts(job.job_id, "answer")
        if answers:
            return Submission.model_validate_json(answers[0])
        if provider.capabilities.deduplication == "key":
            return await self.submit(job, lease, provider)
        return await self.writer.end(job, lease, "uncertain", INTERRUPTED)

    async def _unanswered(self, job: JobRecord, lease: Lease, provider: Provider, error: ProviderError) -> JobRecord:
        fault = fault_of(error)
        if error.delivery != "unknown":
            await self.writer.leases.add_attempt(job.job_id, "refusal", fault)
            return await self.writer.end(job, lease, "failed", fault)
        await self.writer.leases.add_attempt(job.job_id, "unknown", fault)
        if provider.capabilities.deduplication == "key":
            return await self.writer.later(job, lease, error)
        return await self.writer.end(job, lease, "uncertain", _unproven(fault))


def _unproven(fault: Fault) -> Fault:
    hint = "Nothing was sent again. Look in the provider's own history before submitting anew."
    return fault.model_copy(update={"hint": hint, "retryable": False})
