"""The one step that can cost money, and what is done when its outcome is not known.

The intent is committed before the request leaves, and the answer is written as a fact together with what the job
becomes by it. What may be done next is always read from the facts (`controlnet_mcp.jobs.verdict`), never remembered.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.facts import FactKind, SubmissionEvent, SubmissionEvents
from controlnet_mcp.jobs.faults import WITHDRAWN, fault_of
from controlnet_mcp.jobs.leases import Lease
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.reports import learned
from controlnet_mcp.jobs.verdict import MOST_REFUSALS, Adopt, Judge, LookUp, Refused, Send, Unproven, Verdict, verdict
from controlnet_mcp.jobs.writer import JobWriter, LeaseLostError
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Submission

_NOTHING_FOUND = ControlNetError("provider_failed", "The provider does not know our reference yet.", retryable=True)
_STUBBORN_TRIES = 30
_STUBBORN_SECONDS = 2.0
WrittenT = TypeVar("WrittenT")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits jobs, each at most once wherever a second time could be charged.

    Attributes:
        most_in_flight: Submissions to one provider at the same moment: what a sudden end can leave uncertain.
    """

    writer: JobWriter
    runner: Sender
    pacer: PollPacer
    most_in_flight: int = 4
    judge: Judge = verdict
    _slots: dict[str, CapacityLimiter] = field(default_factory=dict[str, CapacityLimiter])

    async def step(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Do what the facts allow with a job that has no task yet, and commit what came of it.

        Raises:
            LeaseLostError: Somebody else drives the job; what was learned is on record all the same.
        """
        untouched = job.state == "new" and not job.failures
        facts = SubmissionEvents() if untouched else await self.writer.ledger.facts(job.job_id)
        judged = self._judged(facts, job, provider)
        match judged:
            case Adopt(submission):
                late = self._taken_over(job.model_copy(update={"accepted_at": job.updated_at}), submission)
                return await self.writer.adopt(late.model_copy(update={"looked_at": None}), lease)
            case Send(again):
                return await self._send(job, lease, provider, again=again)
            case LookUp():
                return await self._look_up(job, lease, provider)
            case _:
                return await self._end(job, lease, judged, facts)

    async def _end(
        self, job: JobRecord, lease: Lease, judged: Refused | Unproven, facts: SubmissionEvents
    ) -> JobRecord:
        state: Literal["failed", "uncertain"] = "failed" if isinstance(judged, Refused) else "uncertain"
        return await self.writer.end(job, lease, state, judged.fault, len(facts.rows))

    def _judged(self, facts: SubmissionEvents, job: JobRecord, provider: Provider) -> Verdict:
        in_time = self.writer.clock() < job.deadline_at
        return self.judge(facts, provider.capabilities.deduplication, in_time=in_time)

    def _taken_over(self, job: JobRecord, submission: Submission) -> JobRecord:
        now = self.writer.clock()
        accepted_at = job.accepted_at or now
        taken = {"task": submission.task, "failures": 0, "stage": None, "accepted_at": accepted_at}
        return learned(job.model_copy(update=taken), submission.report, now, self.pacer)

    async def _send(self, job: JobRecord, lease: Lease, provider: Provider, *, again: bool) -> JobRecord:
        async with self._slots.setdefault(provider.name, CapacityLimiter(self.most_in_flight)):
            if job.cancel_requested and not again:  # a wish that comes later is seen with the intent
                return await self.writer.end(job, lease, "canceled")
            try:
                call = await self.runner.prepare(provider, job.request, job.reference)
            except ProviderError as error:
                return await self._not_ready(job, lease, error, again=again)
            outcome = await self.writer.intend(job, lease, wanted_only=not again)
            if outcome is None:
                return await self.writer.end(job, lease, "canceled")
            with CancelScope(shield=True):
                outcome = await self._exchange(outcome, lease, provider, call)
            return outcome  # noqa: RET504  # for mypy a scope may swallow what would have returned

    async def _not_ready(self, job: JobRecord, lease: Lease, error: ProviderError, *, again: bool) -> JobRecord:
        """What comes before the submission failed: nothing was intended, so the facts are what they were."""
        if again or (error.retryable and job.failures + 1 < MOST_REFUSALS):
            return await self.writer.later(job, lease, error)
        return await self.writer.end(job, lease, "failed", fault_of(error))

    async def _exchange(self, job: JobRecord, lease: Lease, provider: Provider, call: HttpCall) -> JobRecord:
        """Send, and write down what became of it, whatever happens to those who wait."""

        async def confirm() -> None:
            if not await self.writer.leases.holds(lease):
                raise LeaseLostError(job.job_id)

        try:
            answer = await self.runner.submit(provider, call, confirm)
            submission = await _stubborn(lambda: self.runner.kept(provider, answer), job, answer)
        except (LeaseLostError, StorageError):
            await self.writer.ledger.add(job.job_id, SubmissionEvent.of("withdrawal", WITHDRAWN))
            raise
        except ProviderError as error:
            return await self._unanswered(job, lease, provider, error)
        taken_over = self._taken_over(job, submission)
        return await _stubborn(lambda: self.writer.answer(taken_over, lease, submission), job, submission)

    async def _unanswered(self, job: JobRecord, lease: Lease, provider: Provider, error: ProviderError) -> JobRecord:
        kind: FactKind = "unknown" if error.delivery == "unknown" else "refusal"
        await self.writer.ledger.add(job.job_id, SubmissionEvent.of(kind, fault_of(error)))
        facts = await self.writer.ledger.facts(job.job_id)
        judged = self._judged(facts, job, provider)
        if isinstance(judged, Refused | Unproven):
            return await self._end(job, lease, judged, facts)
        waiting = job if facts.unresolved > 0 else job.model_copy(update={"state": "new"})
        return await self.writer.later(waiting, lease, error)

    async def _look_up(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        try:
            found = await self.runner.run(provider, provider.look_up(job.reference))
        except ControlNetError as error:
            return await self.writer.later(job, lease, error)
        if found is not None:
            return await self.writer.answer(self._taken_over(job, found), lease, found)
        await self.writer.ledger.add(job.job_id, SubmissionEvent.of("nothing_found", fault_of(_NOTHING_FOUND)))
        return await self.writer.later(job, lease, _NOTHING_FOUND)


async def _stubborn(write: Callable[[], Awaitable[WrittenT]], job: JobRecord, submission: Submission) -> WrittenT:
    """Write down what was bought, again and again while the disk refuses: nothing else in this program matters more.

    Raises:
        StorageError: It could not be written for a minute; the log has what is needed to find the task by hand.
    """
    for left in reversed(range(_STUBBORN_TRIES)):
        try:
            return await write()
        except StorageError as error:
            remote_id = submission.task.remote_id
            _log.error("Job %s was accepted as %s, which cannot be recorded: %s", job.job_id, remote_id, error)
            if not left:
                raise
        await anyio.sleep(_STUBBORN_SECONDS)
    raise AssertionError
