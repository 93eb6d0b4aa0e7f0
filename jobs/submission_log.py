"""The log of a job's submissions, and the rules that turn it into the only action that may come next. Pure.

Events are appended and never changed; nothing is remembered beside them. The rules:

1. An acceptance is resumed, whoever received it.
2. As long as a submission may have been accepted, nothing is sent again, unless the provider recognises our key.
3. A provider that can be asked about our reference is asked; finding nothing proves nothing.
4. What was provably not accepted may be sent again, a few times and in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.providers.types import Deduplication, Fault, RemoteTask, Report, Submission

MOST_REFUSALS = 4
"""Refusals that invite another try (429, 503, no connection) before the job fails."""
MOST_LOOK_UPS = 11
"""Look-ups that find nothing before the job is uncertain: with the pauses between them they take two minutes."""

_LOOK = "Nothing was sent again. Look in the provider's own history before submitting anew."

INTERRUPTED = Fault(
    code="provider_failed",
    message="The server stopped while this was being submitted, so the provider may or may not have accepted it.",
    hint=_LOOK,
)
NEVER_SENT = Fault(
    code="timed_out",
    message="The server was not running when this should have been sent, and now it is too late. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
)
_STOPPED = "The process that should have sent this was stopped just before, and did not send it. Nothing was bought."
WITHDRAWN = NEVER_SENT.model_copy(update={"message": _STOPPED})


def fault_of(error: ControlNetError) -> Fault:
    """An error as it is kept in the record."""
    return Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)


def unknown_outcome(fault: Fault) -> Fault:
    """The fault of a submission whose outcome stays unknown because of another fault."""
    return fault.model_copy(update={"hint": _LOOK, "retryable": False})


EventKind: TypeAlias = Literal["intent", "answer", "refusal", "withdrawal", "unknown", "nothing_found", "denial"]
"""Kinds of events.

`intent`: about to be sent. `answer`: the provider accepted. `refusal`: it refused before any work, or it could not be
reached. `withdrawal`: not sent after all, because another process had taken over. `unknown`: sent, with an unknown
outcome. `nothing_found`: the provider was asked about our reference and knows none, which proves nothing. `denial`: a
person looked into the provider's history and says that it was not accepted.
"""
SETTLING: frozenset[EventKind] = frozenset({"refusal", "withdrawal"})
"""Kinds that prove of one intent that nothing was bought by it."""


@dataclass(frozen=True, slots=True)
class SubmissionEvent:
    """One event: its kind, and its details as JSON."""

    kind: EventKind
    details: str

    @classmethod
    def of(cls, kind: EventKind, details: BaseModel) -> "SubmissionEvent":
        """Write the details as JSON."""
        return cls(kind, details.model_dump_json())


_FOUND = "The provider did not accept this, as somebody found in its history. Nothing was bought."
DENIAL = SubmissionEvent.of("denial", NEVER_SENT.model_copy(update={"code": "provider_failed", "message": _FOUND}))
"""A person's finding in the provider's history that a submission was not accepted."""


def accepted_as(remote_id: str) -> SubmissionEvent:
    """A person's finding that a submission was accepted, by the provider's id of it: the job goes on with that."""
    task = RemoteTask(remote_id=remote_id)
    return SubmissionEvent.of("answer", Submission(task=task, report=Report(phase="running")))


@dataclass(frozen=True, slots=True)
class SubmissionEvents:
    """All events of one job, oldest first."""

    rows: Sequence[SubmissionEvent] = ()

    @property
    def answers(self) -> list[Submission]:
        """Every acceptance; more than one means more than one charge, unless they name one task."""
        return [Submission.model_validate_json(row.details) for row in self.rows if row.kind == "answer"]

    @property
    def unresolved(self) -> int:
        """The number of submissions that may have been accepted: intents since the last denial that nothing settled."""
        kinds = [row.kind for row in self.rows]
        since = len(kinds) - kinds[::-1].index("denial") if "denial" in kinds else 0
        return kinds[since:].count("intent") - sum(kind in SETTLING for kind in kinds[since:])

    @property
    def empty_lookups(self) -> int:
        """The number of look-ups that found nothing since the last submission."""
        kinds = [row.kind for row in self.rows if row.kind in {"intent", "unknown", "nothing_found"}]
        return next((index for index, kind in enumerate(reversed(kinds)) if kind != "nothing_found"), len(kinds))

    def faults(self, kind: Literal["refusal", "unknown"]) -> list[Fault]:
        """The reasons of the provider's refusals, or of unknown outcomes."""
        return [Fault.model_validate_json(row.details) for row in self.rows if row.kind == kind]


@dataclass(frozen=True, slots=True)
class ResumeAccepted:
    """The provider accepted: go on with its task."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Send:
    """Submit; `again` when an earlier try may have been accepted and the provider will recognise it."""

    again: bool


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the provider about our reference."""


@dataclass(frozen=True, slots=True)
class End:
    """Send nothing more: it `failed` and nothing was bought, or is `uncertain` and only a person can tell."""

    state: Literal["failed", "uncertain"]
    fault: Fault


NextAction: TypeAlias = ResumeAccepted | Send | LookUp | End


class Decide(Protocol):
    """A function that decides on the next action; the rules are `next_action`."""

    def __call__(self, events: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> NextAction:
        """Decide."""
        ...


def next_action(events: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> NextAction:
    """Decide what may be done with a job that has no task yet, and is `in_time` while its deadline is ahead."""
    if events.answers:
        return ResumeAccepted(events.answers[0])
    refusals = events.faults("refusal")
    if events.unresolved > 0:
        hopeless = events.rows[-1].kind == "refusal" and not refusals[-1].retryable
        if deduplication == "key" and in_time and not hopeless:
            return Send(again=True)
        if deduplication == "lookup" and events.empty_lookups < MOST_LOOK_UPS:
            return LookUp()
        unknowns = events.faults("unknown")
        return End("uncertain", unknown_outcome(unknowns[-1]) if unknowns else INTERRUPTED)
    if refusals and not (refusals[-1].retryable and len(refusals) < MOST_REFUSALS and in_time):
        return End("failed", refusals[-1])
    return Send(again=False) if in_time else End("failed", NEVER_SENT)
