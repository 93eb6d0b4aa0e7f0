"""The append-only facts of submissions, and what a late one changes.

A fact is written whoever holds the lease: a process that slept while another took over still heard what it heard. An
answer that comes late is adopted where the job has no task, even if it had ended as uncertain, and told as a second
charge where it has another one.
"""

import json
import sqlite3
from collections.abc import Callable
from typing import Literal, TypeAlias

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.facts import SETTLING, SubmissionEvent, SubmissionEvents
from controlnet_mcp.jobs.leases import Lease, written
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.rows import COLUMNS, record_of
from controlnet_mcp.providers.types import Fault, Submission

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
