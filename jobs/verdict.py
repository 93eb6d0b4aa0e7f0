"""The rules of submission: from the facts of a job to the only thing that may be done next. Pure.

1. An answer is adopted, whoever heard it.
2. As long as a submission may have been accepted, nothing is sent again, unless the provider recognises our key.
3. A provider that can be asked about our reference is asked; finding nothing proves nothing.
4. What was provably not accepted may be sent again, a few times and in time.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from controlnet_mcp.jobs.facts import SubmissionEvents
from controlnet_mcp.jobs.faults import INTERRUPTED, NEVER_SENT, unproven
from controlnet_mcp.providers.types import Deduplication, Fault, Submission

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
