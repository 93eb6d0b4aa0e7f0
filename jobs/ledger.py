"""The append-only facts of submissions, and what a late one changes.

A fact is written whoever holds the lease: a process that slept while another took over still heard what it heard. An
answer that comes late is adopted where the job has no task, even if it had ended as uncertain, and told as a second
charge where it has another one.
"""

import json
import sqlite3
from collections.abc import Callable

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.facts import SETTLING, Fact, Facts
from controlnet_mcp.jobs.leases import Lease, written
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.rows import COLUMNS, record_of
from controlnet_mcp.providers.values import Fault, Submission


class Ledger:
    """Reads and appends facts."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Take the database and a clock in seconds since the epoch."""
        self._database = database
        self._clock = clock

    async def facts(self, job_id: str) -> Facts:
        """All facts of a job."""
        sql = "SELECT kind, fact FROM attempts WHERE job_id = ? ORDER BY attempt_id"
        rows = await self._database.rows(sql, (job_id,))
        return Facts([Fact(kind, details) for kind, details in rows])  # type: ignore[arg-type]  # written by us alone

    async def add(self, job_id: str, fact: Fact) -> None:
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

    async def intend(self, record: JobRecord, lease: Lease) -> bool:
        """Write that a job is about to be sent, as state and as fact, both or neither; false when the lease is lost."""
        intent = Fact.of("intent", record.request)

        def work(db: sqlite3.Connection) -> bool:
            saved = written(db, record, lease)
            if saved:
                append(db, record.job_id, intent, self._clock())
            return saved

        return await self._database.run(work)

    async def answer(self, record: JobRecord, lease: Lease, submission: Submission) -> bool:
        """Write that the provider accepted, and the job's new value; false when the lease was lost, the fact stays."""
        fact = Fact.of("answer", submission)

        def work(db: sqlite3.Connection) -> bool:
            append(db, record.job_id, fact, self._clock())
            saved = written(db, record, lease)
            if saved:
                _note_second_charges(db, record.job_id)
            else:
                _adopt_late(db, record.job_id, self._clock())
            return saved

        return await self._database.run(work)

    async def adopt(self, record: JobRecord, lease: Lease) -> bool:
        """Write the value of a job that takes over an answer on record; false when the lease was lost."""

        def work(db: sqlite3.Connection) -> bool:
            saved = written(db, record, lease)
            if saved:
                _note_second_charges(db, record.job_id)
            return saved

        return await self._database.run(work)

    async def resolve(self, job_id: str, fact: Fact, *, deadline_at: float | None, fault: Fault | None) -> bool:
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


def append(db: sqlite3.Connection, job_id: str, fact: Fact, now: float) -> None:
    """Append a fact inside a transaction."""
    values = (job_id, fact.kind, now, fact.details)
    db.execute("INSERT INTO attempts (job_id, kind, at, fact) VALUES (?, ?, ?, ?)", values)


def _facts(db: sqlite3.Connection, job_id: str) -> Facts:
    sql = "SELECT kind, fact FROM attempts WHERE job_id = ? ORDER BY attempt_id"
    return Facts([Fact(kind, details) for kind, details in db.execute(sql, (job_id,))])


def _read(db: sqlite3.Connection, job_id: str) -> JobRecord | None:
    row = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE job_id = ?", (job_id,)).fetchone()  # noqa: S608  # a constant
    return None if row is None else record_of(row)


def _adopt_late(db: sqlite3.Connection, job_id: str, now: float) -> None:
    """Let a job without a task be driven again, so that it adopts the answer; one with a task hears of a charge."""
    record = _read(db, job_id)
    if record is not None and record.task is not None:
        _note_second_charges(db, job_id)
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
    db.execute(sql, (changed.model_dump_json(), changed.status, int(changed.ended), job_id))
    return True


def _note_second_charges(db: sqlite3.Connection, job_id: str) -> None:
    """Keep the ids of tasks that were accepted for a job beside its own."""
    record = _read(db, job_id)
    if record is None or record.task is None:
        return
    others = {row.task.remote_id for row in _facts(db, job_id).answers} - {record.task.remote_id}
    if others != set(record.orphans):
        db.execute("UPDATE jobs SET orphans = ? WHERE job_id = ?", (json.dumps(sorted(others)), job_id))
