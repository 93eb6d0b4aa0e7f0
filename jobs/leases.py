"""The drivers' side of the durable record: leases with fences, and the append-only facts of submissions.

Rules and their proofs: a lease is taken by one process at a time; a write under a lost lease is void; a provider's
answer is a fact and is written whoever holds the lease.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import record_of

_INSERT_FACT = "INSERT INTO attempts (job_id, kind, at, fact) VALUES (?, ?, ?, ?)"

AttemptKind: TypeAlias = Literal["intent", "answer", "refusal", "unknown"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive a job: writes carry the fence, so that a late owner's writes are void."""

    job_id: str
    fence: int


class Leases:
    """Takes jobs, writes their new values and their facts."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Take the database and a clock in seconds since the epoch."""
        self._database = database
        self._clock = clock

    async def save(self, record: JobRecord, lease: Lease, intent: BaseModel | None = None) -> bool:
        """Write a job's new value, and in the same transaction an intent; false when the lease was lost meanwhile."""
        sql = "UPDATE jobs SET document = ?, status = ?, ended = ? WHERE job_id = ? AND fence = ?"
        values = (record.model_dump_json(), record.status, int(record.ended), record.job_id, lease.fence)
        fact = None if intent is None else (record.job_id, "intent", self._clock(), intent.model_dump_json())

        def work(db: sqlite3.Connection) -> bool:
            saved = db.execute(sql, values).rowcount == 1
            if saved and fact is not None:
                db.execute(_INSERT_FACT, fact)
            return saved

        return await self._database.run(work)

    async def claim(self, job_id: str, owner: str, lease_seconds: float) -> tuple[JobRecord, Lease] | None:
        """Take a free, unfinished job under a lease with a new fence."""
        now = self._clock()
        sql = (
            "UPDATE jobs SET lease_owner = ?, lease_until = ?, fence = fence + 1"
            " WHERE job_id = ? AND ended = 0 AND (lease_until < ? OR lease_owner = ?)"
            " RETURNING document, cancel_requested, delivered, fence"
        )
        values = (owner, now + lease_seconds, job_id, now, owner)
        rows = await self._database.run(lambda db: db.execute(sql, values).fetchall())
        return (record_of(rows[0]), Lease(job_id, int(rows[0][3]))) if rows else None

    async def renew(self, lease: Lease, lease_seconds: float) -> bool:
        """Prolong a lease; false when it was lost."""
        sql = "UPDATE jobs SET lease_until = ? WHERE job_id = ? AND fence = ?"
        values = (self._clock() + lease_seconds, lease.job_id, lease.fence)
        return await self._database.run(lambda db: db.execute(sql, values).rowcount == 1)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that another process need not wait for its end."""
        sql = "UPDATE jobs SET lease_until = 0, lease_owner = NULL WHERE job_id = ? AND fence = ?"
        await self._database.run(lambda db: db.execute(sql, (lease.job_id, lease.fence)))

    async def unowned(self) -> Sequence[str]:
        """Unfinished jobs that nobody drives, oldest first."""
        sql = "SELECT job_id FROM jobs WHERE ended = 0 AND lease_until < ? ORDER BY created_at LIMIT 1000"
        now = self._clock()
        rows = await self._database.rows(sql, (now,))
        return [str(row[0]) for row in rows]

    async def cancel_requested(self, job_id: str) -> bool:
        """Whether a stop was asked for."""
        sql = "SELECT cancel_requested FROM jobs WHERE job_id = ?"
        rows = await self._database.rows(sql, (job_id,))
        return bool(rows and rows[0][0])

    async def add_attempt(self, job_id: str, kind: AttemptKind, fact: BaseModel) -> None:
        """Append a fact; facts are never fenced, changed or removed."""
        values = (job_id, kind, self._clock(), fact.model_dump_json())
        await self._database.run(lambda db: db.execute(_INSERT_FACT, values))

    async def attempts(self, job_id: str, kind: AttemptKind) -> Sequence[str]:
        """The facts of one kind as JSON, oldest first."""
        sql = "SELECT fact FROM attempts WHERE job_id = ? AND kind = ? ORDER BY attempt_id"
        rows = await self._database.rows(sql, (job_id, kind))
        return [str(row[0]) for row in rows]
