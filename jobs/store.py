"""The callers' side of the record: adding, reading, listing; the drivers' side is `controlnet_mcp.jobs.leases`."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord, Status
from controlnet_mcp.jobs.rows import COLUMNS, record_of

Admit: TypeAlias = Callable[[sqlite3.Connection, JobRecord], None]
"""Looks at a new job inside the transaction that writes it; what it raises keeps the job out."""

_KEPT_JOBS = 256
"""How many finished jobs stay in memory, a few kilobytes each."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, newest first, and where the next begins."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None


class JobStore:
    """Reads and writes `JobRecord`s."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database
        self._finished: dict[str, JobRecord] = {}

    async def add(
        self, record: JobRecord, *, request_key: str | None, fingerprint: str, admit: Admit | None = None
    ) -> JobRecord:
        """Insert a new job, or give the earlier one that this request must not repeat.

        Raises:
            RequestError: `admit` does not let it in; nothing was written.
        """

        def work(db: sqlite3.Connection) -> JobRecord:
            earlier = _earlier(db, record.principal, request_key, fingerprint)
            if earlier is not None:
                return earlier
            if admit is not None:
                admit(db, record)
            db.execute(
                "INSERT INTO jobs (job_id, principal, provider, status, ended, created_at, request_key, fingerprint,"
                " document) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)",
                (
                    record.job_id,
                    record.principal,
                    record.provider,
                    record.status,
                    record.created_at,
                    request_key,
                    fingerprint,
                    record.model_dump_json(),
                ),
            )
            return record

        return await self._database.run(work)

    async def earlier(self, principal: str, *, request_key: str | None, fingerprint: str) -> JobRecord | None:
        """Find the job that a repeated request means, if there is one."""
        return await self._database.run(lambda db: _earlier(db, principal, request_key, fingerprint))

    async def get(self, job_id: str, principal: str) -> JobRecord:
        """Read one job of a caller; one that succeeded and was delivered never changes, so it is read once.

        Raises:
            RequestError: `not_found`, the same for unknown jobs and jobs of others.
        """
        kept = self._finished.get(job_id)
        if kept is not None and kept.principal == principal:
            return kept
        sql = f"SELECT {COLUMNS} FROM jobs WHERE job_id = ? AND principal = ?"  # noqa: S608  # a constant
        rows = await self._database.rows(sql, (job_id, principal))
        if not rows:
            raise RequestError(
                "not_found", f"There is no job {job_id[:60]!r}.", hint="list_jobs shows the jobs that exist."
            )
        record = record_of(rows[0])
        if record.state == "succeeded" and record.measured and record.delivered:
            self._keep(record)
        return record

    def _keep(self, record: JobRecord) -> None:
        if len(self._finished) >= _KEPT_JOBS:
            self._finished.pop(next(iter(self._finished)))
        self._finished[record.job_id] = record

    async def request_cancel(self, job_id: str) -> None:
        """Note that the caller wants a job stopped; whoever drives it reads this."""
        sql = "UPDATE jobs SET cancel_requested = 1 WHERE job_id = ?"
        await self._database.run(lambda db: db.execute(sql, (job_id,)))

    async def mark_delivered(self, job_id: str) -> None:
        """Note that an answer which names this job went out."""
        sql = "UPDATE jobs SET delivered = 1 WHERE job_id = ? AND delivered = 0"
        await self._database.run(lambda db: db.execute(sql, (job_id,)))

    async def mark_undelivered(self, job_id: str) -> None:
        """Note that the answer did not arrive after all."""
        sql = "UPDATE jobs SET delivered = 0 WHERE job_id = ? AND delivered = 1"
        await self._database.run(lambda db: db.execute(sql, (job_id,)))
        self._finished.pop(job_id, None)  # it may have been read meanwhile

    async def count(self, sql: str, principal: str) -> int:
        """The answer to a statement that counts rows of one caller."""
        return int(str((await self._database.rows(sql, (principal,)))[0][0]))

    async def hold_map(self, principal: str, sha256: str) -> None:
        """Note that a caller made a map, so that its address opens for them."""
        sql = "INSERT OR IGNORE INTO maps (principal, sha256) VALUES (?, ?)"
        await self._database.run(lambda db: db.execute(sql, (principal, sha256)))

    async def holds_map(self, principal: str, sha256: str) -> bool:
        """Whether a caller made a map."""
        sql = "SELECT 1 FROM maps WHERE principal = ? AND sha256 = ?"
        return bool(await self._database.rows(sql, (principal, sha256)))

    async def page(
        self, principal: str, *, status: Status | None, provider: str | None, limit: int, cursor: str | None
    ) -> Page:
        """List a caller's jobs, newest first."""
        before, before_id = _position(cursor)
        sql = (
            f"SELECT {COLUMNS} FROM jobs WHERE principal = ?1"  # noqa: S608  # a constant
            " AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR provider = ?3)"
            " AND (created_at, job_id) < (?4, ?5) ORDER BY created_at DESC, job_id DESC LIMIT ?6"
        )
        values = (principal, status, provider, before, before_id, limit + 1)
        rows = await self._database.rows(sql, values)
        jobs = tuple(record_of(row) for row in rows[:limit])
        more = len(rows) > limit
        return Page(jobs, f"{jobs[-1].created_at!r}~{jobs[-1].job_id}" if more else None)


def _earlier(db: sqlite3.Connection, principal: str, request_key: str | None, fingerprint: str) -> JobRecord | None:
    if request_key is not None:
        clause, value = "request_key = ?", request_key
    else:
        clause, value = "request_key IS NULL AND delivered = 0 AND fingerprint = ?", fingerprint
    sql = f"SELECT {COLUMNS} FROM jobs WHERE principal = ? AND {clause} ORDER BY created_at DESC LIMIT 1"  # noqa: S608  # clause is one of two literals
    row = db.execute(sql, (principal, value)).fetchone()
    return None if row is None else record_of(row)


def _position(cursor: str | None) -> tuple[float, str]:
    if cursor is None:
        return float("inf"), ""
    created_at, _, job_id = cursor.partition("~")
    try:
        return float(created_at), job_id
    except ValueError:
        raise RequestError(
            "invalid_request", "This cursor is not one of ours.", hint="Use next_cursor of the last answer, or none."
        ) from None
