"""How a row of the table of jobs becomes a record.

The callers' side of the record: adding, reading, listing; the drivers' side is `controlnet_mcp.jobs.store`.

The drivers' side of the durable record: who drives which job, and writing its new values.

A lease is taken by one process at a time, and a write under a lost lease is void: its fence is no longer the job's.

The append-only facts of submissions, and what a late one changes.

A fact is written whoever holds the lease: a process that slept while another took over still heard what it heard. An
answer that comes late is adopted where the job has no task, even if it had ended as uncertain, and told as a second
charge where it has another one.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord, Status
from controlnet_mcp.jobs.submission_log import SETTLING, SubmissionEvent, SubmissionEvents
from controlnet_mcp.providers.types import Fault, Submission

BESIDE = "cancel_requested, delivered, orphans"
"""What others than a job's driver write, beside its document."""
COLUMNS = f"document, {BESIDE}"
"""What `record_of` reads."""


def record_of(row: tuple[object, ...]) -> JobRecord:
    """Read a row that starts with the `COLUMNS`."""
    return with_beside(JobRecord.model_validate_json(str(row[0])), row[1:])


def with_beside(record: JobRecord, row: tuple[object, ...]) -> JobRecord:
    """A record with what a row that starts with the columns `BESIDE` says of it."""
    orphans = tuple(json.loads(str(row[2]))) if row[2] != "[]" else ()
    return record.model_copy(update={"cancel_requested": bool(row[0]), "delivered": bool(row[1]), "orphans": orphans})


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


Intended: TypeAlias = JobRecord | Literal["unwanted"] | None
"""What became of an intent: the record as it now stands, not written because somebody wants the job stopped, or void
because the lease was lost."""


class Ledger:
    """Reads and appends facts."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Take the database and a clock in seconds since the epoch."""
        self._database = database
        self._clock = clock

    async def facts(self, job_id: str) -> SubmissionEvents:
        """All facts of a job."""
        sql = "SELECT kind, fact FROM attempts WHERE job_id = ? ORDER BY attempt_id"
        rows = await self._database.rows(sql, (job_id,))
        return SubmissionEvents([SubmissionEvent(kind, details) for kind, details in rows])  # type: ignore[arg-type]  # written by us alone

    async def add(self, job_id: str, fact: SubmissionEvent) -> None:
        """Append a fact; a job that had ended as uncertain hears of it.

        If nothing is unresolved any more, nothing was bought, and it has failed. If an outcome is unknown only now, the
        provider may know our reference only now, and the job is judged again.
        """

        def work(db: sqlite3.Connection) -> None:
            append(db, job_id, fact, self._clock())
            if fact.kind == "unknown":
                _change(db, job_id, self._clock(), only="uncertain", state="submitting")
            elif fact.kind in SETTLING and _facts(db, job_id).unresolved <= 0:
                fault = Fault.model_validate_json(fact.details)
                _change(db, job_id, self._clock(), only="uncertain", state="failed", fault=fault)

        await self._database.run(work)

    async def intend(self, record: JobRecord, lease: Lease, *, wanted_only: bool) -> Intended:
        """Write that a job is about to be sent, as state and as fact, both or neither.

        Args:
            record: The job's new value.
            lease: The right to write it.
            wanted_only: Whether a wish to stop the job keeps it from being sent.
        """
        intent = SubmissionEvent.of("intent", record.request)

        def work(db: sqlite3.Connection) -> Intended:
            if wanted_only and _unwanted(db, record.job_id):
                return "unwanted"
            saved = written(db, record, lease)
            if saved is not None:
                append(db, record.job_id, intent, self._clock())
            return saved

        return await self._database.run(work)

    async def answer(self, record: JobRecord, lease: Lease, submission: Submission) -> JobRecord | None:
        """Write that the provider accepted, and what the job became; nothing under a lost lease, but the fact stays."""
        fact = SubmissionEvent.of("answer", submission)

        def work(db: sqlite3.Connection) -> JobRecord | None:
            append(db, record.job_id, fact, self._clock())
            saved = written(db, record, lease)
            if saved is None:
                _adopt_late(db, record.job_id, self._clock())
                return None
            return _with_second_charges(db, saved)

        return await self._database.run(work)

    async def adopt(self, record: JobRecord, lease: Lease) -> JobRecord | None:
        """Write the value of a job that takes over an answer on record; nothing when the lease was lost."""

        def work(db: sqlite3.Connection) -> JobRecord | None:
            saved = written(db, record, lease)
            return None if saved is None else _with_second_charges(db, saved)

        return await self._database.run(work)

    async def resolve(
        self, job_id: str, fact: SubmissionEvent, *, deadline_at: float | None, fault: Fault | None
    ) -> bool:
        """Write what a person found out about an uncertain job; false if it is not one.

        Args:
            job_id: Which job.
            fact: What was found.
            deadline_at: Until when it may be driven again; `None` ends it.
            fault: What it ends with.
        """
        state = "failed" if deadline_at is None else "submitting"
        changes = {"fault": fault} if deadline_at is None else {"deadline_at": deadline_at}

        def work(db: sqlite3.Connection) -> bool:
            changed = _change(db, job_id, self._clock(), only="uncertain", state=state, **changes)
            if changed:
                append(db, job_id, fact, self._clock())
            return changed

        return await self._database.run(work)


def append(db: sqlite3.Connection, job_id: str, fact: SubmissionEvent, now: float) -> None:
    """Append a fact inside a transaction."""
    values = (job_id, fact.kind, now, fact.details)
    db.execute("INSERT INTO attempts (job_id, kind, at, fact) VALUES (?, ?, ?, ?)", values)


def _facts(db: sqlite3.Connection, job_id: str) -> SubmissionEvents:
    sql = "SELECT kind, fact FROM attempts WHERE job_id = ? ORDER BY attempt_id"
    return SubmissionEvents([SubmissionEvent(kind, details) for kind, details in db.execute(sql, (job_id,))])


def _read(db: sqlite3.Connection, job_id: str) -> JobRecord | None:
    row = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE job_id = ?", (job_id,)).fetchone()  # noqa: S608  # a constant
    return None if row is None else record_of(row)


def _adopt_late(db: sqlite3.Connection, job_id: str, now: float) -> None:
    """Let a job without a task be driven again, so that it adopts the answer; one with a task hears of a charge."""
    record = _read(db, job_id)
    if record is not None and record.task is not None:
        _with_second_charges(db, record)
    elif record is not None and record.ended:
        _change(db, job_id, now, only=record.state, state="submitting")


def _change(db: sqlite3.Connection, job_id: str, now: float, *, only: str, state: str, **more: object) -> bool:
    """Change an ended job that nobody drives; false when it is not in the state `only`."""
    record = _read(db, job_id)
    if record is None or record.state != only or not record.ended:
        return False
    changes = {"state": state, "fault": None, "updated_at": now, "wake_at": 0.0, "failures": 0, **more}
    changed = record.model_copy(update=changes)
    if not changed.ended:
        changed = changed.model_copy(update={"finished_at": None})
    sql = "UPDATE jobs SET document = ?, status = ?, ended = ?, lease_until = 0 WHERE job_id = ?"
    db.execute(sql, (changed.model_dump_json(), changed.status, int(changed.settled), job_id))
    return True


def _with_second_charges(db: sqlite3.Connection, record: JobRecord) -> JobRecord:
    """Keep the ids of tasks that were accepted for a job beside its own."""
    own = record.task.remote_id if record.task else None
    others = sorted({row.task.remote_id for row in _facts(db, record.job_id).answers} - {own})
    if own is None or others == sorted(record.orphans):
        return record
    db.execute("UPDATE jobs SET orphans = ? WHERE job_id = ?", (json.dumps(others), record.job_id))
    return record.model_copy(update={"orphans": tuple(others)})


def _unwanted(db: sqlite3.Connection, job_id: str) -> bool:
    """Whether a stop was asked for."""
    sql = "SELECT cancel_requested FROM jobs WHERE job_id = ?"
    return bool(db.execute(sql, (job_id,)).fetchone()[0])
