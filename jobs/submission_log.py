"""Faults that a job's own life can end in, and errors as they are kept in the record.

What is known of a job's submissions: facts that are appended and never changed, and what they add up to.

The rules of submission: from the facts of a job to the only thing that may be done next. Pure.

1. An answer is adopted, whoever heard it.
2. As long as a submission may have been accepted, nothing is sent again, unless the provider recognises our key.
3. A provider that can be asked about our reference is asked; finding nothing proves nothing.
4. What was provably not accepted may be sent again, a few times and in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.providers.types import Deduplication, Fault, Submission

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
WITHDRAWN = Fault(
    code="timed_out",
    message="The process that should have sent this was stopped just before, and did not send it. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
)
DENIED = Fault(
    code="provider_failed",
    message="The provider did not accept this, as somebody found in its history. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
)
DEADLINE = Fault(
    code="timed_out",
    message="The provider did not finish before the job's deadline.",
    hint="Try again, or choose another provider or model.",
    retryable=True,
)
UNEXPLAINED = Fault(
    code="provider_failed",
    message="The provider failed without saying why.",
    hint="Try again, or change the prompt or the model.",
    retryable=True,
)
CRASHED = ControlNetError(
    "provider_failed",
    "This server failed while driving the job; its log has the details.",
    hint="The job is kept and tried again until its deadline.",
    retryable=True,
)


def fault_of(error: ControlNetError) -> Fault:
    """An error as it is kept in the record."""
    return Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)


def unproven(fault: Fault) -> Fault:
    """The fault of a submission whose outcome stays unknown."""
    return fault.model_copy(update={"hint": _LOOK, "retryable": False})


FactKind: TypeAlias = Literal["intent", "answer", "refusal", "withdrawal", "unknown", "nothing_found", "denial"]
"""Kinds of facts.

`intent`: about to be sent. `answer`: the provider accepted. `refusal`: it refused before any work, or it could not be
reached. `withdrawal`: not sent after all, because another process had taken over. `unknown`: sent, and nobody knows
what became of it. `nothing_found`: the provider was asked about our reference and knows none, which proves nothing.
`denial`: a person looked into the provider's history and says that it was not accepted.
"""
SETTLING: frozenset[FactKind] = frozenset({"refusal", "withdrawal"})
"""Kinds that prove of one intent that nothing was bought by it."""


@dataclass(frozen=True, slots=True)
class SubmissionEvent:
    """One fact: its kind, and its details as JSON."""

    kind: FactKind
    details: str

    @classmethod
    def of(cls, kind: FactKind, details: BaseModel) -> "SubmissionEvent":
        """Write the details down."""
        return cls(kind, details.model_dump_json())


@dataclass(frozen=True, slots=True)
class SubmissionEvents:
    """All facts of one job, oldest first."""

    rows: Sequence[SubmissionEvent] = ()

    @property
    def answers(self) -> list[Submission]:
        """Every acceptance that was heard of; more than one means more than one charge, unless they name one task."""
        return [Submission.model_validate_json(row.details) for row in self.rows if row.kind == "answer"]

    @property
    def unresolved(self) -> int:
        """Submissions that may have been accepted: intents since the last denial that nothing settled."""
        kinds = [row.kind for row in self.rows]
        since = len(kinds) - kinds[::-1].index("denial") if "denial" in kinds else 0
        return kinds[since:].count("intent") - sum(kind in SETTLING for kind in kinds[since:])

    @property
    def refusals(self) -> list[Fault]:
        """Why the provider refused, each time."""
        return self._faults("refusal")

    @property
    def unknowns(self) -> list[Fault]:
        """What kept the outcome from being known, each time."""
        return self._faults("unknown")

    @property
    def vain_look_ups(self) -> int:
        """Look-ups that found nothing since somebody last sent something."""
        kinds = [row.kind for row in self.rows if row.kind in {"intent", "unknown", "nothing_found"}]
        return next((index for index, kind in enumerate(reversed(kinds)) if kind != "nothing_found"), len(kinds))

    def _faults(self, kind: FactKind) -> list[Fault]:
        return [Fault.model_validate_json(row.details) for row in self.rows if row.kind == kind]


MOST_REFUSALS = 4
"""Refusals that invite another try (429, 503, no connection) before the job fails."""
MOST_LOOK_UPS = 6
"""Look-ups that find nothing, seconds apart, before the job is uncertain."""


@dataclass(frozen=True, slots=True)
class Adopt:
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
class Refused:
    """Nothing was bought, and nothing will be: the job failed."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Unproven:
    """It may have been bought; only a person can tell."""

    fault: Fault


Verdict: TypeAlias = Adopt | Send | LookUp | Refused | Unproven


class Judge(Protocol):
    """Something that judges; the rules are `verdict`."""

    def __call__(self, facts: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> Verdict:
        """Say what may be done."""
        ...


def verdict(facts: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> Verdict:
    """Say what may be done with a job that has no task yet.

    Args:
        facts: What is known of its submissions.
        deduplication: How its provider lets us avoid buying twice.
        in_time: Whether its deadline is still ahead.
    """
    if facts.answers:
        return Adopt(facts.answers[0])
    if facts.unresolved > 0:
        return _ambiguous(facts, deduplication, in_time=in_time)
    refusals = facts.refusals
    if refusals and not (refusals[-1].retryable and len(refusals) < MOST_REFUSALS and in_time):
        return Refused(refusals[-1])
    return Send(again=False) if in_time else Refused(NEVER_SENT)


def _ambiguous(facts: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> Verdict:
    hopeless = facts.rows[-1].kind == "refusal" and not facts.refusals[-1].retryable
    if deduplication == "key" and in_time and not hopeless:
        return Send(again=True)
    if deduplication == "lookup" and facts.vain_look_ups < MOST_LOOK_UPS:
        return LookUp()
    return Unproven(unproven(facts.unknowns[-1]) if facts.unknowns else INTERRUPTED)
