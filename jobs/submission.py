"""The one step that can cost money, and what is done when its outcome is not known.

The intent is committed before the request leaves, and the answer is written as a fact before anything else happens.
A job found in `submitting` is one whose driver died or never heard back: its facts decide, and only a provider that
recognises our reference is asked a second time.
"""

from dataclasses import dataclass

import anyio

from controlnet_mcp.jobs.faults import INTERRUPTED, NEVER_SENT, fault_of, unproven
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

    async def submit(
        self, job: JobRecord, lease: Lease, provider: Provider, *, again: bool = False
    ) -> JobRecord | Submission:
        """Commit the intent and send; a cancelled caller cannot interrupt what follows.

        Args:
            job: What to submit.
            lease: The right to.
            provider: To whom.
            again: Whether an earlier try may have been accepted; then no refusal proves that nothing was bought.

        Returns:
            The provider's answer, or the job as it stands when there is none.
        """
        if self.writer.clock() >= job.deadline_at and not again:
            return await self.writer.end(job, lease, "failed", NEVER_SENT)
        job = await self.writer.intend(job, lease)
        outcome: JobRecord | Submission = job
        with anyio.CancelScope(shield=True):
            try:
                outcome = await self.runner.submit(provider, job.request, job.reference)
                await self.writer.leases.add_attempt(job.job_id, "answer", outcome)
            except ProviderError as error:
                outcome = await self._unanswered(job, lease, provider, error, again=again)
        return outcome

    async def recover(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord | Submission:
        """Go on with a job whose submission was begun by somebody who did not finish it.

        The intent is written before anything leaves: a try without one never left, and one with neither an answer nor
        a refusal may have been accepted.
        """
        attempts = self.writer.leases.attempts
        answers, refusals = await attempts(job.job_id, "answer"), await attempts(job.job_id, "refusal")
        if answers:
            return Submission.model_validate_json(answers[0])
        unresolved = len(await attempts(job.job_id, "intent")) - len(refusals)
        if refusals and not unresolved:
            return await self.writer.end(job, lease, "failed", Fault.model_validate_json(refusals[-1]))
        may_repeat = provider.capabilities.deduplication == "key" and self.writer.clock() < job.deadline_at
        if may_repeat or not unresolved:
            return await self.submit(job, lease, provider, again=unresolved > 0)
        return await self.writer.end(job, lease, "uncertain", INTERRUPTED)

    async def _unanswered(
        self, job: JobRecord, lease: Lease, provider: Provider, error: ProviderError, *, again: bool
    ) -> JobRecord:
        fault = fault_of(error)
        unknown = error.delivery == "unknown"
        await self.writer.leases.add_attempt(job.job_id, "unknown" if unknown else "refusal", fault)
        if not (unknown or again):
            return await self.writer.end(job, lease, "failed", fault)
        if provider.capabilities.deduplication == "key" and error.retryable:
            return await self.writer.later(job, lease, error)
        return await self.writer.end(job, lease, "uncertain", unproven(fault))
