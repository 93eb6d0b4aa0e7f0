"""The drivers' side of the durable record: who drives which job, and writing its new values.

A lease is taken by one process at a time, and a write under a lost lease is void: its fence is no longer the job's.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.rows import BESIDE, COLUMNS, record_of, with_beside

Saved: TypeAlias = JobRecord | Literal["outdated"] | None
"""What became of a write: the record as it now stands, not done because facts came in meanwhile, or void because the
lease was lost."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive a job: writes carry the fence, so that a late owner's writes are void."""

    job_id: str
    fence: int


class Leases:
    """Takes jobs and writes their new values."""

    def __init__(self, database: Database, clock: Callable[[], float], lease_seconds: float) -> None:
        """Take the database, a clock in seconds since the epoch, and how long a lease lasts without renewal."""
        self._database = database
        self._clock = clock
        self.lease_seconds = lease_seconds

    async def save(self, record: JobRecord, lease: Lease, judged: int | None = None) -> Saved:
        """Write a job's new value.

        A job without a task does not end while facts wait to be judged: `judged` is how many were, and where nothing
        was judged no answer may be on record.
        """
        bare_end = record.ended and record.task is None

        def work(db: sqlite3.Connection) -> Saved:
            if bare_end and _waiting(db, record.job_id, judged):
                return "outdated"
            return written(db, record, lease)

        return await self._database.run(work)

    async def claim(self, job_id: str, owner: str) -> tuple[JobRecord, Lease] | None:
        """Take a free job that is not settled, under a lease with a new fence."""
        now = self._clock()
        sql = (
            "UPDATE jobs SET lease_owner = ?, lease_until = ?, fence = fence + 1"  # noqa: S608  # a constant is added
            " WHERE job_id = ? AND ended = 0 AND (lease_until < ? OR lease_owner = ?)"
            f" RETURNING {COLUMNS}, fence"
        )
        values = (owner, now + self.lease_seconds, job_id, now, owner)
        rows = await self._database.run(lambda db: db.execute(sql, values).fetchall())
        return (record_of(rows[0]), Lease(job_id, int(rows[0][-1]))) if rows else None

    async def holds(self, lease: Lease) -> bool:
        """Whether a lease is still in force, by the record and by the clock."""
        sql = "SELECT 1 FROM jobs WHERE job_id = ? AND fence = ? AND lease_until >= ?"
        return bool(await self._database.rows(sql, (lease.job_id, lease.fence, self._clock())))

    async def renew(self, owner: str) -> int:
        """Prolong every lease that a process holds and that has not run out; gives their number."""
        now = self._clock()
        sql = "UPDATE jobs SET lease_until = ? WHERE lease_owner = ? AND ended = 0 AND lease_until >= ?"
        values = (now + self.lease_seconds, owner, now)
        return await self._database.run(lambda db: db.execute(sql, values).rowcount)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that another process need not wait for its end."""
        sql = "UPDATE jobs SET lease_until = 0, lease_owner = NULL WHERE job_id = ? AND fence = ?"
        await self._database.run(lambda db: db.execute(sql, (lease.job_id, lease.fence)))

    async def unowned(self) -> Sequence[str]:
        """Jobs that are not settled and that nobody drives, oldest first."""
        sql = "SELECT job_id FROM jobs WHERE ended = 0 AND lease_until < ? ORDER BY created_at LIMIT 1000"
        rows = await self._database.rows(sql, (self._clock(),))
        return [str(row[0]) for row in rows]

    async def wishes(self, owner: str) -> Sequence[str]:
        """Unfinished jobs of a process that somebody wants stopped."""
        sql = "SELECT job_id FROM jobs WHERE ended = 0 AND cancel_requested = 1 AND lease_owner = ?"
        return [str(row[0]) for row in await self._database.rows(sql, (owner,))]


def written(db: sqlite3.Connection, record: JobRecord, lease: Lease) -> JobRecord | None:
    """Write a job's new value inside a transaction; gives it with what others wrote, or nothing under a lost lease."""
    sql = (
        "UPDATE jobs SET document = ?, status = ?, ended = ? WHERE job_id = ? AND fence = ?"  # noqa: S608  # a constant
        f" RETURNING {BESIDE}"
    )
    values = (record.model_dump_json(), record.status, int(record.settled), record.job_id, lease.fence)
    rows = db.execute(sql, values).fetchall()
    return with_beside(record, rows[0]) if rows else None


def _waiting(db: sqlite3.Connection, job_id: str, judged: int | None) -> bool:
    sql = "SELECT count(*), count(*) FILTER (WHERE kind = 'answer') FROM attempts WHERE job_id = ?"
    facts, answers = db.execute(sql, (job_id,)).fetchone()
    return bool(answers) if judged is None else int(facts) != judged
