"""The one step that can cost money, and what is done when its outcome is not known.

The intent is committed before the request leaves, and the answer is written as an event together with the job's new
value. What may be done next is always read from the log (`controlnet_mcp.jobs.submission_log`), never remembered.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.polling import PollPacer, after_failure, apply_report
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore, Lease, LeaseLostError
from controlnet_mcp.jobs.submission_log import (
    MOST_REFUSALS,
    WITHDRAWN,
    Decide,
    End,
    EventKind,
    LookUp,
    NextAction,
    ResumeAccepted,
    Send,
    SubmissionEvent,
    SubmissionEvents,
    fault_of,
    next_action,
)
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Submission

_NOTHING_FOUND = ControlNetError("provider_failed", "The provider does not know our reference yet.", retryable=True)
_WRITE_TRIES = 30
_WRITE_PAUSE_SECONDS = 2.0
WrittenT = TypeVar("WrittenT")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits jobs, each at most once wherever a second time could be charged.

    Attributes:
        most_in_flight: Submissions to one provider at the same moment: so many can be left uncertain by a sudden end.
    """

    store: JobStore
    sender: Sender
    pacer: PollPacer
    clock: Callable[[], float]
    most_in_flight: int = 4
    decide: Decide = next_action
    _slots: dict[str, CapacityLimiter] = field(default_factory=dict[str, CapacityLimiter])

    async def step(self, job: JobRecord, lease: Lease, provider: Provider) -> JobRecord:
        """Do what the log allows with a job that has no task yet, and commit the result.

        Raises:
            LeaseLostError: Another process drives the job; what the provider replied is in the log all the same.
        """
        untouched = job.state == "new" and not job.failures
        events = SubmissionEvents() if untouched else await self.store.events(job.job_id)
        match self._next(events, job, provider):
            case ResumeAccepted(submission):
                late = self._accepted(job.model_copy(update={"accepted_at": job.updated_at}), submission)
                return await self.store.resume(late.model_copy(update={"looked_at": None}), lease)
            case Send(again):
                return await self._send(job, lease, provider, again=again)
            case LookUp():
                try:
                    found = await self.sender.run(provider, provider.look_up(job.reference))
                except ControlNetError as error:
                    return await self._try_again(job, lease, error)
                if found is None:
                    return await self._append(job, lease, provider, "nothing_found", _NOTHING_FOUND)
                return await self.store.accept(self._accepted(job, found), lease, found)
            case End() as action:
                return await self._end(job, lease, action, events)

    async def _append(
        self, job: JobRecord, lease: Lease, provider: Provider, kind: EventKind, error: ControlNetError
    ) -> JobRecord:
        """Append what went wrong to the log; the job ends at once where that decides it, else it is tried again."""
        await self.store.append(job.job_id, SubmissionEvent.of(kind, fault_of(error)))
        events = await self.store.events(job.job_id)
        action = self._next(events, job, provider)
        if isinstance(action, End):
            return await self._end(job, lease, action, events)
        waiting = job if events.unresolved > 0 else job.model_copy(update={"state": "new"})
        return await self._try_again(waiting, lease, error)

    async def _end(self, job: JobRecord, lease: Lease, action: End, events: SubmissionEvents) -> JobRecord:
        """End a job by the events that were read."""
        ended = job.ending(action.state, self.clock(), action.fault)
        return await self.store.save(ended, lease, judged=len(events.rows))

    def _next(self, events: SubmissionEvents, job: JobRecord, provider: Provider) -> NextAction:
        return self.decide(events, provider.capabilities.deduplication, in_time=self.clock() < job.deadline_at)

    async def _try_again(self, job: JobRecord, lease: Lease, error: ControlNetError) -> JobRecord:
        return await self.store.save(after_failure(job, error, self.clock()), lease)

    def _accepted(self, job: JobRecord, submission: Submission) -> JobRecord:
        """The job with its task, and with what the provider already said of it."""
        now = self.clock()
        taken = {"task": submission.task, "failures": 0, "stage": None, "accepted_at": job.accepted_at or now}
        return apply_report(job.model_copy(update=taken), submission.report, now, self.pacer)

    async def _send(self, job: JobRecord, lease: Lease, provider: Provider, *, again: bool) -> JobRecord:
        async with self._slots.setdefault(provider.name, CapacityLimiter(self.most_in_flight)):
            if job.cancel_requested and not again:  # a later request to stop is seen with the intent
                return await self.store.save(job.ending("canceled", self.clock()), lease)
            try:
                call = await self.sender.prepare(provider, job.request, job.reference)
            except ProviderError as error:  # nothing was intended, so the log is as it was
                if again or (error.retryable and job.failures + 1 < MOST_REFUSALS):
                    return await self._try_again(job, lease, error)
                return await self.store.save(job.ending("failed", self.clock(), fault_of(error)), lease)
            intended_at = self.clock()
            intended = await self.store.intend(job, lease, unless_canceled=not again)
            if intended is None:
                return await self.store.save(job.ending("canceled", self.clock()), lease)
            with CancelScope(shield=True):
                intended = await self._exchange(intended, lease, provider, call, intended_at)
            return intended  # noqa: RET504  # for mypy a scope may swallow what would have returned

    async def _exchange(
        self, job: JobRecord, lease: Lease, provider: Provider, call: HttpCall, intended_at: float
    ) -> JobRecord:
        """Send, and write the outcome, whatever happens to those who wait."""

        async def confirm() -> None:
            if not await self.store.holds(lease, intended_at):
                raise LeaseLostError(job.job_id)

        try:
            answer = await self.sender.submit(provider, call, confirm)
            submission = await _write_until_stored(lambda: self.sender.kept(provider, answer), job, answer)
        except (LeaseLostError, StorageError):
            await self.store.append(job.job_id, SubmissionEvent.of("withdrawal", WITHDRAWN))
            raise
        except ProviderError as error:
            kind: EventKind = "unknown" if error.delivery == "unknown" else "refusal"
            return await self._append(job, lease, provider, kind, error)
        accepted = self._accepted(job, submission)
        return await _write_until_stored(lambda: self.store.accept(accepted, lease, submission), job, submission)


async def _write_until_stored(
    write: Callable[[], Awaitable[WrittenT]], job: JobRecord, submission: Submission
) -> WrittenT:
    """Write what was bought, again and again while the disk refuses: nothing else in this program matters more.

    Raises:
        StorageError: It could not be written for a minute; the log has what is needed to find the task by hand.
    """
    for _ in range(_WRITE_TRIES - 1):
        try:
            return await write()
        except StorageError as error:
            remote_id = submission.task.remote_id
            _log.error("Job %s was accepted as %s, which cannot be recorded: %s", job.job_id, remote_id, error)
        await anyio.sleep(_WRITE_PAUSE_SECONDS)
    return await write()
