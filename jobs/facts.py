"""What is known of a job's submissions: facts that are appended and never changed, and what they add up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel

from controlnet_mcp.providers.types import Fault, Submission

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
