"""All statements of the record: jobs, their leases, the log of their submissions, spending, durations and retention.

A lease is taken by one process at a time, and a write under a lost lease is void: its fence is no longer the job's.
Events of a submission are appended whoever holds the lease: a process that lost its lease can still record a reply. An
acceptance that comes late resumes a job without a task, even one that had ended as uncertain, and is kept as a second
charge beside a task that the job already has.
"""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import MOST_DURATIONS, JobKind, JobRecord, Status
from controlnet_mcp.jobs.submission_log import SETTLING, SubmissionEvent, SubmissionEvents
from controlnet_mcp.providers.types import Fault, LookRate, Submission

_BESIDE = "cancel_requested, delivered, orphans"
"""Columns that others than a job's driver write, beside its document."""
_COLUMNS = f"document, {_BESIDE}"
_UNFINISHED = "SELECT COUNT(*) FROM jobs WHERE principal = ? AND job_id != ? AND ended = 0 AND status != 'succeeded'"
_SPENT = """
    SELECT s.provider, CASE
        WHEN j.status IN ('failed', 'canceled') AND json_extract(j.document, '$.task') IS NULL AND j.orphans = '[]'
        THEN NULL
        ELSE COALESCE(MAX(0, CAST(ROUND(json_extract(j.document, '$.cost.amount') * 1000000) AS INTEGER)),
                      s.millionths, 0) * (1 + COALESCE(json_array_length(j.orphans), 0)) END
    FROM spending s LEFT JOIN jobs j USING (job_id) WHERE s.principal = ? AND
"""
"""The cost of each job of a caller: what the provider charged where that is known, else what was expected; NULL where
the submission was refused or never left, and once more for every second charge. The expected cost of a job stays when
the job is deleted."""
_DELETABLE = "ended = 1 AND delivered = 1 AND status != 'uncertain' AND created_at < :before"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CURSOR = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)~(\w+)")
"""When the last job of a page was made, and its id."""
_MICROSECOND = 1e-6
_PAGE = 500
"""Most jobs that are deleted or read in one statement."""
_KEPT_JOBS = 256
"""Most documents that stay parsed in memory, a few kilobytes each."""


class LeaseLostError(Exception):
    """Another process drives this job now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive a job: writes carry the fence, so that a late owner's writes are void."""

    job_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, newest first, and the cursor of the next."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None

    def beginning(self, count: int) -> "Page":
        """The first jobs of this page, at least one of them, as a page of its own."""
        if count >= len(self.jobs):
            return self
        last = self.jobs[count - 1]
        return Page(self.jobs[:count], f"{last.created_at!r}~{last.job_id}")


@dataclass(frozen=True, slots=True)
class Account:
    """The unfinished jobs and the spending of one caller, inside the transaction that adds a job.

    Costs are rows of provider and millionths of its unit; `None` for a job that cost nothing.
    """

    db: sqlite3.Connection
    principal: str

    def unfinished(self, besides: str = "") -> int:
        """Count the jobs that have not ended, besides one by its id."""
        return int(self.db.execute(_UNFINISHED, (self.principal, besides)).fetchone()[0])

    def spent_in_run(self, run: str) -> list[tuple[str, int | None]]:
        """Read the costs of jobs that were added in one run of the server."""
        return self.db.execute(f"{_SPENT} s.run = ?", (self.principal, run)).fetchall()

    def spent_since(self, at: float) -> list[tuple[str, int | None]]:
        """Read the costs of jobs that were added after a time in seconds since the epoch."""
        return self.db.execute(f"{_SPENT} s.at > ?", (self.principal, at)).fetchall()

    def reserve(self, job: JobRecord, run: str, millionths: int | None) -> None:
        """Write the expected cost of a new job."""
        self.db.execute(
            "INSERT INTO spending (job_id, principal, run, provider, millionths, at) VALUES (?, ?, ?, ?, ?, ?)",
            (job.job_id, self.principal, run, job.provider, millionths, job.created_at),
        )


Admit: TypeAlias = Callable[[Account, JobRecord], None]
"""Checks a new job inside the transaction that adds it; what it raises keeps the job out."""


class JobStore:
    """Reads and writes everything that is kept of jobs; raises `StorageError` where the record cannot be used.

    Attributes:
        lease_seconds: How long a lease lasts without renewal.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time, lease_seconds: float = 30.0) -> None:
        self._database = database
        self._clock = clock
        self.lease_seconds = lease_seconds

    # What callers do with jobs.

    async def add(
        self,
        record: JobRecord,
        *,
        request_key: str | None,
        fingerprint: str,
        admit: Admit | None = None,
        owner: str | None = None,
    ) -> tuple[JobRecord, Lease | None]:
        """Insert a new job, or return the earlier one that this request must not repeat.

        A job that failed before it was prepared is written anew by the record that has its id.

        Returns:
            The job, and if it is new the lease of the owner that is to drive it; without an owner it is free.

        Raises:
            RequestError: `admit` refuses the job; nothing was written.
        """

        def work(db: sqlite3.Connection) -> tuple[JobRecord, Lease | None]:
            earlier = _earlier(db, record.principal, request_key, fingerprint)
            if earlier is not None and not (earlier.begins_again and earlier.job_id == record.job_id):
                return earlier, None
            if admit is not None:
                admit(Account(db, record.principal), record)
            until = self._clock() + self.lease_seconds if owner else 0.0
            if earlier is not None:  # in the place of its first try, under a new lease
                sql = (
                    "UPDATE jobs SET document = ?, status = ?, ended = ?, provider = ?, cancel_requested = 0,"
                    " lease_owner = ?, lease_until = ?, fence = fence + 1 WHERE job_id = ? RETURNING fence"
                )
                values = (*_document(record), record.provider, owner, until, record.job_id)
                return record, Lease(record.job_id, int(db.execute(sql, values).fetchone()[0]))
            named = (record.job_id, record.principal, record.provider, record.created_at, request_key, fingerprint)
            leased = (owner, until, int(owner is not None))
            db.execute(
                "INSERT INTO jobs (job_id, principal, provider, created_at, request_key, fingerprint, document, status,"
                " ended, lease_owner, lease_until, fence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*named, *_document(record), *leased),
            )
            return record, None if owner is None else Lease(record.job_id, 1)

        return await self._database.run(work)

    async def earlier(
        self, principal: str, *, request_key: str | None, fingerprint: str
    ) -> tuple[JobRecord | None, int]:
        """Find the job that a repeated request means, if there is one, and count the caller's unfinished jobs."""

        def read(db: sqlite3.Connection) -> tuple[JobRecord | None, int]:
            return _earlier(db, principal, request_key, fingerprint), Account(db, principal).unfinished()

        return await self._database.read(read)

    async def get(self, job_id: str, principal: str) -> JobRecord:
        """Read one job of a caller.

        Raises:
            RequestError: `not_found`, the same for unknown jobs, deleted ones and jobs of others.
        """
        record = await self._database.read(lambda db: _first(db, "job_id = ? AND principal = ?", job_id, principal))
        if record is None:
            raise RequestError(
                "not_found", f"There is no job {job_id[:60]!r}.", hint="list_jobs shows the jobs that exist."
            )
        return record

    async def page(
        self, principal: str, *, status: Status | None, provider: str | None, limit: int, cursor: str | None
    ) -> Page:
        """List a caller's jobs, newest first.

        Raises:
            RequestError: `invalid_request` for a cursor that no page named.
        """
        found = _CURSOR.fullmatch(cursor) if cursor else None
        if cursor and not found:
            raise RequestError(
                "invalid_request",
                f"The cursor {shortened(cursor)!r} is not one of ours.",
                hint="Use next_cursor of the last answer, or none.",
            )
        before, before_id = (float(found[1]), found[2]) if found else (math.inf, "")
        sql = (
            f"SELECT {_COLUMNS} FROM jobs WHERE principal = :principal"  # noqa: S608  # a constant
            " AND (:status IS NULL OR status = :status) AND (:provider IS NULL OR provider = :provider)"
            " AND (created_at, job_id) < (:before, :before_id) ORDER BY created_at DESC, job_id DESC LIMIT :rows"
        )
        of_whom = {"principal": principal, "status": status, "provider": provider}
        rows = await self._database.rows(sql, {**of_whom, "before": before, "before_id": before_id, "rows": limit + 1})
        return Page(tuple(_record_of(row) for row in rows), None).beginning(limit)

    async def request_cancel(self, job_id: str) -> None:
        """Write that the caller wants a job stopped; its driver reads this."""
        await self._execute("UPDATE jobs SET cancel_requested = 1 WHERE job_id = ?", job_id)

    async def mark_delivered(self, job_id: str) -> None:
        """Write that an answer which names this job went out."""
        await self._execute("UPDATE jobs SET delivered = 1 WHERE job_id = ? AND delivered = 0", job_id)

    async def mark_undelivered(self, job_id: str) -> None:
        """Write that the answer did not arrive after all."""
        await self._execute("UPDATE jobs SET delivered = 0 WHERE job_id = ? AND delivered = 1", job_id)

    async def hold_map(self, principal: str, sha256: str) -> None:
        """Write that a caller made a map, so that its URI opens for them."""
        await self._execute("INSERT OR IGNORE INTO maps (principal, sha256) VALUES (?, ?)", principal, sha256)

    async def holds_map(self, principal: str, sha256: str) -> bool:
        """True for a map that a caller made."""
        sql = "SELECT 1 FROM maps WHERE principal = ? AND sha256 = ?"
        return bool(await self._database.rows(sql, (principal, sha256)))

    # Leases: who drives which job.

    async def claim(self, job_id: str, owner: str) -> tuple[JobRecord, Lease] | None:
        """Take a free job that is not settled, under a lease with a new fence."""
        now = self._clock()
        sql = (
            "UPDATE jobs SET lease_owner = ?, lease_until = ?, fence = fence + 1"  # noqa: S608  # a constant is added
            " WHERE job_id = ? AND ended = 0 AND (lease_until < ? OR lease_owner = ?)"
            f" RETURNING {_COLUMNS}, fence"
        )
        values = (owner, now + self.lease_seconds, job_id, now, owner)
        rows = await self._database.run(lambda db: db.execute(sql, values).fetchall())
        return (_record_of(rows[0]), Lease(job_id, int(rows[0][-1]))) if rows else None

    async def holds(self, lease: Lease, renewed_at: float) -> bool:
        """True while a lease that was renewed at a time (seconds since the epoch), or later, is in force."""
        if renewed_at <= self._clock() < renewed_at + self.lease_seconds:
            return True
        sql = "SELECT 1 FROM jobs WHERE job_id = ? AND fence = ? AND lease_until >= ?"
        return bool(await self._database.rows(sql, (lease.job_id, lease.fence, self._clock())))

    async def renew(self, owner: str) -> int:
        """Prolong every lease that a process holds and that has not run out; returns their number."""
        now = self._clock()
        sql = "UPDATE jobs SET lease_until = ? WHERE lease_owner = ? AND ended = 0 AND lease_until >= ?"
        return await self._execute(sql, now + self.lease_seconds, owner, now)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that another process need not wait for its end."""
        sql = "UPDATE jobs SET lease_until = 0, lease_owner = NULL WHERE job_id = ? AND fence = ?"
        await self._execute(sql, lease.job_id, lease.fence)

    async def unowned(self) -> Sequence[str]:
        """Find jobs that are not settled and that nobody drives, oldest first."""
        sql = "SELECT job_id FROM jobs WHERE ended = 0 AND lease_until < ? ORDER BY created_at LIMIT 1000"
        return [str(row[0]) for row in await self._database.rows(sql, (self._clock(),))]

    async def cancel_requested(self, owner: str) -> Sequence[str]:
        """Find unfinished jobs of a process whose callers want them stopped."""
        sql = "SELECT job_id FROM jobs WHERE ended = 0 AND cancel_requested = 1 AND lease_owner = ?"
        return [str(row[0]) for row in await self._database.rows(sql, (owner,))]

    # Writes under a lease: each one sets `updated_at`. When another process drives the job, it raises `LeaseLostError`
    # and has written nothing, but for `accept`.

    async def save(self, job: JobRecord, lease: Lease, *, judged: int | None = None) -> JobRecord:
        """Write a job's new value.

        A job without a task was found to have ended by a number of events (`judged`); where none were looked at, no
        acceptance may be in the log. One whose log has more by now does not end: it is submitting, so that the next
        step decides again.
        """

        def work(db: sqlite3.Connection) -> JobRecord:
            if job.ended and job.task is None:
                sql = "SELECT count(*), count(*) FILTER (WHERE kind = 'answer') FROM attempts WHERE job_id = ?"
                events, answers = db.execute(sql, (job.job_id,)).fetchone()
                if answers if judged is None else events != judged:
                    return job.model_copy(update={"state": "submitting", "fault": None, "finished_at": None})
            return self.write_row(db, job, lease)

        return await self._database.run(work)

    async def begin(self, job: JobRecord, lease: Lease, admit: Admit) -> JobRecord:
        """Write a job that was on record before it was prepared, and that its preparation made a new one.

        Raises:
            RequestError: `admit` refuses the job; nothing was written.
        """

        def work(db: sqlite3.Connection) -> JobRecord:
            saved = self.write_row(db, job, lease)
            admit(Account(db, job.principal), job)
            db.execute("UPDATE jobs SET provider = ? WHERE job_id = ?", (job.provider, job.job_id))
            return saved

        return await self._database.run(work)

    async def intend(self, job: JobRecord, lease: Lease, *, unless_canceled: bool) -> JobRecord | None:
        """Write that a job is about to be submitted, as its state and as an event, both or neither; renews the lease.

        With `unless_canceled`, nothing is written for a job that the caller wants stopped, and nothing returned.
        """
        submitting = job.model_copy(update={"state": "submitting"})
        intent = SubmissionEvent.of("intent", job.request)

        def work(db: sqlite3.Connection) -> JobRecord | None:
            if unless_canceled:
                sql = "SELECT cancel_requested FROM jobs WHERE job_id = ?"
                if db.execute(sql, (job.job_id,)).fetchone()[0]:
                    return None
            saved = self.write_row(db, submitting, lease)
            self._append(db, job.job_id, intent)
            until = self._clock() + self.lease_seconds
            db.execute("UPDATE jobs SET lease_until = ? WHERE job_id = ?", (until, job.job_id))
            return saved

        return await self._database.run(work)

    async def accept(self, job: JobRecord, lease: Lease, submission: Submission) -> JobRecord:
        """Write that the provider accepted, and the job's new value.

        Raises:
            LeaseLostError: Only the event was written; a job without a task will be resumed by it, and one with a
                task has a second charge.
        """
        event = SubmissionEvent.of("answer", submission)

        def work(db: sqlite3.Connection) -> JobRecord | None:
            self._append(db, job.job_id, event)
            try:
                return self._with_second_charges(db, self.write_row(db, job, lease))
            except LeaseLostError:
                record = _first(db, "job_id = ?", job.job_id)
                if record is not None and record.task is not None:
                    self._with_second_charges(db, record)
                elif record is not None and record.ended:
                    self._change_ended(db, job.job_id, only=record.state, state="submitting")
                return None

        saved = await self._database.run(work)
        if saved is None:
            raise LeaseLostError(job.job_id)
        return saved

    async def resume(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Write the value of a job that goes on with an acceptance in the log."""
        return await self._database.run(lambda db: self._with_second_charges(db, self.write_row(db, job, lease)))

    def write_row(self, db: sqlite3.Connection, job: JobRecord, lease: Lease) -> JobRecord:
        """Write a job's new value inside a transaction; returns it with what others wrote beside it."""
        job = job.model_copy(update={"updated_at": self._clock()})
        sql = (
            "UPDATE jobs SET document = ?, status = ?, ended = ?"  # noqa: S608  # a constant is added
            f" WHERE job_id = ? AND fence = ? RETURNING {_BESIDE}"
        )
        rows = db.execute(sql, (*_document(job), job.job_id, lease.fence)).fetchall()
        if not rows:
            raise LeaseLostError(job.job_id)
        return _with_beside(job, rows[0])

    # The log of submissions.

    async def events(self, job_id: str) -> SubmissionEvents:
        """Read all events of a job's submissions."""
        return await self._database.read(lambda db: _events(db, job_id))

    async def append(self, job_id: str, event: SubmissionEvent) -> None:
        """Append an event, and change a job that had ended as uncertain by it.

        If no submission is unresolved any more, nothing was bought, and the job has failed. If an outcome became
        unknown only now, the provider may know our reference only now, and the next action is decided again.
        """

        def work(db: sqlite3.Connection) -> None:
            self._append(db, job_id, event)
            if event.kind == "unknown":
                self._change_ended(db, job_id, only="uncertain", state="submitting")
            elif event.kind in SETTLING and _events(db, job_id).unresolved <= 0:
                fault = Fault.model_validate_json(event.details)
                self._change_ended(db, job_id, only="uncertain", state="failed", fault=fault)

        await self._database.run(work)

    async def resolve(self, job_id: str, event: SubmissionEvent, deadline_at: float | None) -> bool:
        """Write what a person found out about an uncertain job; false if it is not one.

        It may be driven again until the deadline; without a deadline it ends with the fault that the event tells.
        """

        def work(db: sqlite3.Connection) -> bool:
            if deadline_at is None:
                fault = Fault.model_validate_json(event.details)
                changed = self._change_ended(db, job_id, only="uncertain", state="failed", fault=fault)
            else:
                changed = self._change_ended(db, job_id, only="uncertain", state="submitting", deadline_at=deadline_at)
            if changed:
                self._append(db, job_id, event)
            return changed

        return await self._database.run(work)

    async def reopen(self, job_id: str, deadline_at: float) -> bool:
        """Let a job be driven again that was paid for and lacks pictures; false if it is not one. Nothing is sent."""

        def work(db: sqlite3.Connection) -> bool:
            record = _first(db, "job_id = ?", job_id)
            if record is None or not record.can_be_fetched:
                return False
            db.execute("UPDATE jobs SET cancel_requested = 0 WHERE job_id = ?", (job_id,))
            state = "fetching" if record.outputs else "running"
            more = {"deadline_at": deadline_at, "lasting_since": None, "given_up": False, "cancel_answered": False}
            return self._change_ended(db, job_id, only=record.state, state=state, **more)

        return await self._database.run(work)

    def _append(self, db: sqlite3.Connection, job_id: str, event: SubmissionEvent) -> None:
        values = (job_id, event.kind, self._clock(), event.details)
        db.execute("INSERT INTO attempts (job_id, kind, at, fact) VALUES (?, ?, ?, ?)", values)

    def _change_ended(self, db: sqlite3.Connection, job_id: str, *, only: str, state: str, **more: object) -> bool:
        """Change an ended job that nobody drives; false when it is not in the state `only`."""
        record = _first(db, "job_id = ?", job_id)
        if record is None or record.state != only or not record.ended:
            return False
        changes = {"state": state, "fault": None, "updated_at": self._clock(), "wake_at": 0.0, "failures": 0, **more}
        changed = record.model_copy(update=changes)
        if not changed.ended:
            changed = changed.model_copy(update={"finished_at": None})
        sql = "UPDATE jobs SET document = ?, status = ?, ended = ?, lease_until = 0 WHERE job_id = ?"
        db.execute(sql, (*_document(changed), job_id))
        return True

    def _with_second_charges(self, db: sqlite3.Connection, record: JobRecord) -> JobRecord:
        """Write the ids of tasks that were accepted for a job beside its own."""
        own = record.task.remote_id if record.task else None
        others = sorted({row.task.remote_id for row in _events(db, record.job_id).answers} - {own})
        if own is None or others == sorted(record.orphans):
            return record
        db.execute("UPDATE jobs SET orphans = ? WHERE job_id = ?", (json.dumps(others), record.job_id))
        return record.model_copy(update={"orphans": tuple(others)})

    # How long jobs took, and how often they are asked about.

    async def durations(self, kind: JobKind) -> list[float]:
        """Read the seconds that the last jobs of a kind took, oldest first."""
        sql = (
            "SELECT seconds FROM durations WHERE provider = ? AND model = ? AND size = ?"
            " ORDER BY duration_id DESC LIMIT ?"
        )
        rows = await self._database.rows(sql, (kind.provider, kind.model, kind.size, MOST_DURATIONS))
        return [float(str(row[0])) for row in reversed(rows)]

    def add_duration(self, kind: JobKind, seconds: float) -> None:
        """Queue one more duration, and the deletion of all but the newest; written with the next transaction."""
        row = {"provider": kind.provider, "model": kind.model, "size": kind.size, "seconds": seconds}

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO durations (provider, model, size, seconds) VALUES (:provider, :model, :size, :seconds)",
                row,
            )
            db.execute(
                "DELETE FROM durations WHERE provider = :provider AND model = :model AND size = :size"
                " AND duration_id <= (SELECT duration_id FROM durations"
                " WHERE provider = :provider AND model = :model AND size = :size"
                " ORDER BY duration_id DESC LIMIT 1 OFFSET :kept)",
                row | {"kept": MOST_DURATIONS},
            )

        self._database.also(work)

    async def take_looks(self, provider: str, count: int, rate: LookRate) -> float:
        """Take tokens from a provider's bucket, which all processes share.

        The bucket is kept as the time when it will be full again, so that nothing has to fill it.

        Returns:
            0.0 where they were given, else the seconds until they are there; then none was taken.
        """
        to_fill = rate.at_once / rate.per_second

        def work(db: sqlite3.Connection) -> float:
            now = self._clock()
            row = db.execute("SELECT full_at FROM looks WHERE provider = ?", (provider,)).fetchone()
            full_at = now if row is None else max(float(row[0]), now)
            full_at = now if full_at > now + to_fill + _MICROSECOND else full_at  # the clock was set back
            full_at += count / rate.per_second
            if (wait := full_at - to_fill - now) > _MICROSECOND:
                return wait
            db.execute("INSERT OR REPLACE INTO looks (provider, full_at) VALUES (?, ?)", (provider, full_at))
            return 0.0

        return await self._database.run(work)

    # Retention.

    async def delete_old(self, before: float) -> set[str]:
        """Delete a page of jobs that ended and were delivered, created before a time; returns their ids.

        An uncertain job, and one that was never delivered, is kept.
        """

        def work(db: sqlite3.Connection) -> set[str]:
            sql = f"SELECT job_id FROM jobs WHERE {_DELETABLE} LIMIT :rows"  # noqa: S608  # a constant
            ids = db.execute(sql, {"before": before, "rows": _PAGE}).fetchall()
            for table in ("attempts", "jobs"):
                db.executemany(f"DELETE FROM {table} WHERE job_id = ?", ids)  # noqa: S608  # one of two names
            return {str(row[0]) for row in ids}

        return await self._database.run(work)

    async def unreferenced(self, pictures: set[str]) -> set[str]:
        """Find those of some pictures, by SHA-256, that no job names; reads a page of jobs at a time."""
        last = ""
        while pictures:
            sql = "SELECT job_id, document FROM jobs WHERE job_id > ? ORDER BY job_id LIMIT ?"
            rows = await self._database.rows(sql, (last, _PAGE))
            if not rows:
                break
            pictures = pictures.difference(*(_SHA256.findall(str(document)) for _, document in rows))
            last = str(rows[-1][0])
        return pictures

    async def examine(self) -> tuple[str, int]:
        """Check the file, which reads all of it: SQLite's word on it, which should be `ok`, and the number of jobs."""
        ((sound,),) = await self._database.rows("PRAGMA quick_check(1)")
        ((count,),) = await self._database.rows("SELECT count(*) FROM jobs")
        return str(sound), int(str(count))

    async def _execute(self, sql: str, *values: object) -> int:
        """Run one statement in a transaction; returns the number of rows that it changed."""
        return await self._database.run(lambda db: db.execute(sql, values).rowcount)


def _document(job: JobRecord) -> tuple[str, Status, int]:
    """The columns that follow from a job's value: document, status, ended."""
    return job.model_dump_json(by_alias=True), job.status, int(job.settled)


_parsed = lru_cache(_KEPT_JOBS)(JobRecord.model_validate_json)
"""Reads a document; the same one is parsed once, because finished jobs are asked for again and again."""


def _record_of(row: tuple[object, ...]) -> JobRecord:
    """Read a row that starts with the `_COLUMNS`."""
    return _with_beside(_parsed(str(row[0])), row[1:])


def _first(db: sqlite3.Connection, clause: str, *values: str) -> JobRecord | None:
    """Read the first job that a clause, which is never a caller's text, finds."""
    row = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {clause} LIMIT 1", values).fetchone()  # noqa: S608  # constants
    return None if row is None else _record_of(row)


def _with_beside(record: JobRecord, row: tuple[object, ...]) -> JobRecord:
    """A record with the columns `_BESIDE`."""
    orphans = tuple(json.loads(str(row[2]))) if row[2] != "[]" else ()
    return record.model_copy(update={"cancel_requested": bool(row[0]), "delivered": bool(row[1]), "orphans": orphans})


def _earlier(db: sqlite3.Connection, principal: str, request_key: str | None, fingerprint: str) -> JobRecord | None:
    """The job with a key, or the undelivered one without a key that asks for the same."""
    if request_key is not None:
        return _first(db, "principal = ? AND request_key = ?", principal, request_key)  # the two are unique
    clause = "principal = ? AND request_key IS NULL AND delivered = 0 AND fingerprint = ? ORDER BY created_at DESC"
    return _first(db, clause, principal, fingerprint)


def _events(db: sqlite3.Connection, job_id: str) -> SubmissionEvents:
    sql = "SELECT kind, fact FROM attempts WHERE job_id = ? ORDER BY attempt_id"
    return SubmissionEvents([SubmissionEvent(kind, details) for kind, details in db.execute(sql, (job_id,))])
