"""Whether a new job may be written: room among the caller's unfinished jobs, and budget.

Everything is counted inside the transaction that inserts the job, so that no number of calls at the same time can pass
a cap together. Amounts are whole millionths of the provider's unit: sums of them are exact.
"""

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.jobs.record import JobRecord

Amounts: TypeAlias = Mapping[str, float]
"""Provider to an amount in its own unit; `JOBS` to a number of paid jobs, whoever makes them."""

JOBS = "jobs"
DAY_SECONDS = 86400.0
IN_FLIGHT = "SELECT COUNT(*) FROM jobs WHERE principal = ? AND ended = 0 AND status != 'succeeded'"
_SCALE = 1_000_000

_SPENT = """
    SELECT s.provider, CASE
        WHEN j.status IN ('failed', 'canceled') AND json_extract(j.document, '$.task') IS NULL AND j.orphans = '[]'
        THEN NULL
        ELSE COALESCE(MAX(0, CAST(ROUND(json_extract(j.document, '$.cost.amount') * 1000000) AS INTEGER)),
                      s.millionths, 0) * (1 + COALESCE(json_array_length(j.orphans), 0)) END
    FROM spending s LEFT JOIN jobs j USING (job_id) WHERE s.principal = ? AND
"""
"""What each job of a caller cost: what the provider charged where that is known, else what was expected; nothing where
the submission was refused or never left, and once more for every second charge. What was expected of a job stays when
the job is forgotten."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of one new job.

    Attributes:
        jobs_in_flight: Most unfinished jobs of one caller.
        paid: Whether the provider charges at all.
        amount: What the job is expected to cost, in the provider's unit; `None` where nobody knows and no cap asks.
        unit: The provider's unit, for sentences.
        run: Names this run of the server: what is spent in it counts for `per_session`.
        per_session: Caps on what one caller spends in this run.
        per_day: Caps on what one caller spends in any 24 hours.
    """

    jobs_in_flight: int
    paid: bool
    amount: float | None
    unit: str
    run: str
    per_session: Amounts
    per_day: Amounts

    def __call__(self, db: sqlite3.Connection, job: JobRecord) -> None:
        """Let a job in, and note what it is expected to cost.

        Raises:
            RequestError: `rate_limited` or `payment_required`; nothing may be written then.
        """
        check_room(db.execute(IN_FLIGHT, (job.principal,)).fetchone()[0], self.jobs_in_flight)
        if not self.paid:
            return
        own = None if self.amount is None else millionths(self.amount)
        if self.per_session:
            spent = db.execute(f"{_SPENT} s.run = ?", (job.principal, self.run)).fetchall()
            self._check(job.provider, spent, self.per_session, "since this server started")
        if self.per_day:
            since = job.created_at - DAY_SECONDS
            spent = db.execute(f"{_SPENT} s.at > ?", (job.principal, since)).fetchall()
            self._check(job.provider, spent, self.per_day, "in 24 hours")
        db.execute(
            "INSERT INTO spending (job_id, principal, run, provider, millionths, at) VALUES (?, ?, ?, ?, ?, ?)",
            (job.job_id, job.principal, self.run, job.provider, own, job.created_at),
        )

    def _check(self, provider: str, spent: list[tuple[str, int | None]], caps: Amounts, period: str) -> None:
        """Refuse a job that would pass a cap."""
        charged = [(name, amount) for name, amount in spent if amount is not None]
        if JOBS in caps and len(charged) + 1 > caps[JOBS]:
            raise over_cap(f"{caps[JOBS]:g} paid jobs {period}", f"{len(charged)} were made")
        if provider in caps and self.amount is not None:
            sum_before = sum(amount for name, amount in charged if name == provider)
            if sum_before + millionths(self.amount) > millionths(caps[provider]):
                told = f"{sum_before / _SCALE:g} are spent or reserved, and this would cost {self.amount:g}"
                raise over_cap(f"{caps[provider]:g} {self.unit} {period} on {provider}", told)


def check_room(unfinished: int, most: int) -> None:
    """Refuse a further job to a caller who has as many unfinished ones as are allowed.

    Raises:
        RequestError: `rate_limited`.
    """
    if unfinished >= most:
        raise RequestError(
            "rate_limited",
            f"You have {unfinished} unfinished jobs; one caller may have {most}. Nothing was submitted.",
            hint="Wait for one of them with job_status, or stop one with cancel_job; then call again.",
            retryable=True,
        )


def over_cap(cap: str, spent: str) -> RequestError:
    """The refusal of a job that would cost more than the operator allows."""
    return RequestError(
        "payment_required",
        f"The operator of this server caps spending at {cap}; {spent}. Nothing was submitted.",
        hint="Tell the user; only the operator can raise the cap. Do not try again with smaller steps around it.",
    )


def millionths(amount: float) -> int:
    """An amount as it is summed: rounded up, but for what floating point adds by itself: 0.3 is 300,000."""
    return math.ceil(round(amount * _SCALE, 3))
