"""The one step that can cost money, and what is done when its outcome is not known.

The intent is committed before the request leaves, and the answer is written as a fact together with what the job
becomes by it. What may be done next is always read from the facts (the log), never
remembered.

Every change of a job goes through here: written under the lease, with the time it happened.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.polling import PollPacer, learned
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import Lease, Leases, Ledger
from controlnet_mcp.jobs.submission_log import (
    MOST_REFUSALS,
    WITHDRAWN,
    Adopt,
    FactKind,
    Judge,
    LookUp,
    Refused,
    Send,
    SubmissionEvent,
    SubmissionEvents,
    Unproven,
    Verdict,
    fault_of,
    unproven,
    verdict,
)
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.sender import Sender
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
            submission = await _stubborn(lambda: self.runner.kept(provider.name, answer), job, answer)
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
