"""What a person can find in a provider's own history about a submission whose outcome is not known here.

The counter of the job layer: submit, look up, wait, cancel, list. Tools talk to nothing below it.

Forgetting what is old, where the operator wants that: jobs first, then pictures that no job names any more.

A job is forgotten when it ended long ago and an answer that names it went out after that: what was never delivered is
kept for ever. A picture is forgotten when it was not written or asked for since then either.
"""

import hashlib
import logging
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import anyio
from anyio import to_thread

from controlnet_mcp.foundation.errors import ControlNetError, RequestError, StorageError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.budget import AskUser, Spending
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.prepare import Prepared, Preparer, kept_wish, planned_uploads
from controlnet_mcp.jobs.record import JobRecord, Status
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.store import JobStore, Ledger, Page
from controlnet_mcp.jobs.submission_log import DENIED, SubmissionEvent
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Cost, Fault, RemoteTask, Report, RequestWarning, Submission


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        fact: How it is written down.
        fault: What the job ends with, if it ends.
    """

    fact: SubmissionEvent
    fault: Fault | None = None

    @property
    def ends(self) -> bool:
        """Whether the job is over; otherwise it is driven again."""
        return self.fault is not None


def accepted_as(remote_id: str) -> Finding:
    """It was accepted, and this is the provider's id of it: the job goes on with that."""
    task = RemoteTask(remote_id=remote_id)
    return Finding(SubmissionEvent.of("answer", Submission(task=task, report=Report(phase="running"))))


def not_accepted(*, send_again: bool) -> Finding:
    """It was not accepted: the job has failed, or is submitted again."""
    return Finding(SubmissionEvent.of("denial", DENIED), None if send_again else DENIED)


_log = logging.getLogger(__name__)

Watcher: TypeAlias = Callable[[JobRecord], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what is theirs.

    Attributes:
        principal: Identity that jobs belong to.
        local: Whether caller and server share a machine, so that paths mean something.
        ask_user: How to ask the person behind the caller; `None` where that cannot be done.
    """

    principal: str
    local: bool
    ask_user: AskUser | None = None


@dataclass(frozen=True, slots=True)
class JobService:
    """Everything a tool can do with jobs."""

    store: JobStore
    intake: Preparer
    ledger: Ledger
    runner: JobRunner
    watch: JobSubscriptions
    sender: Sender
    clock: Callable[[], float]
    deadline_seconds: float
    spending: Spending = field(default_factory=Spending)

    async def submit(
        self,
        wish: GenerateRequest,
        caller: Caller,
        request_key: str | None = None,
        *,
        said: tuple[RequestWarning, ...] = (),
    ) -> JobRecord:
        """Start a generation, or give the job that this wish already started.

        Args:
            wish: What to draw.
            caller: For whom.
            request_key: The same key means the same job.
            said: What had to be said of the wish already.

        Raises:
            ControlNetError: What no attempt could make right; nothing was sent.
        """
        fingerprint = hashlib.sha256(wish.model_dump_json().encode()).hexdigest()
        earlier = await self.store.earlier(caller.principal, request_key=request_key, fingerprint=fingerprint)
        if earlier is not None:
            return earlier
        async with self.spending.room(self.store, caller.principal):
            prepared = await self.intake.prepare(wish, local_paths=caller.local, owner=caller.principal)
            admit = await self.spending.agree(prepared, partial(self._price, prepared), caller.ask_user)
            record = self._record(wish, replace(prepared, warnings=(*said, *prepared.warnings)), caller)
            kept = await self.store.add(record, request_key=request_key, fingerprint=fingerprint, admit=admit)
        self.runner.wake(kept.job_id)
        return kept

    async def plan(self, wish: GenerateRequest, caller: Caller) -> tuple[Prepared, Cost | None]:
        """Settle a wish and ask for its price, without submitting it."""
        prepared = await self.intake.prepare(wish, local_paths=caller.local, owner=caller.principal)
        return prepared, await self._price(prepared)

    async def get(self, job_id: str, caller: Caller) -> JobRecord:
        """Read a job; `not_found` for unknown ones and those of others."""
        return await self.store.get(job_id, caller.principal)

    async def wait(self, job: JobRecord, until: float, watch: Watcher | None = None) -> JobRecord:
        """Wait until a job ends or the clock passes `until` (seconds since the epoch), telling `watch` of changes."""
        with self.watch.follow(job) as sight:
            while not (job.ended or sight.closed) and (left := until - self.clock()) > 0:
                before = job
                with anyio.move_on_after(left):
                    job = await sight.after(job)
                if watch is not None and job is not before:
                    await watch(job)
        return job

    async def measured(self, job: JobRecord, caller: Caller, patience_seconds: float) -> JobRecord:
        """Wait a little for the structure scores of a job that has just succeeded, if this process is at them."""
        with anyio.move_on_after(patience_seconds):
            busy = job.state == "succeeded"
            while busy and not job.measured:
                change, busy = self.runner.next_change(job.job_id), self.runner.drives(job.job_id)
                job = await self.get(job.job_id, caller)
                if busy and not job.measured:
                    await change.wait()
        return job

    async def cancel(self, job_id: str, caller: Caller, until: float) -> JobRecord:
        """Ask for a job to be stopped and wait shortly for what the provider says."""
        job = await self.get(job_id, caller)
        if job.ended:
            return job
        with self.watch.follow(job) as sight:
            await self.store.request_cancel(job_id)
            self.runner.wake(job_id)
            while not (_heeded(job) or sight.closed) and (left := until - self.clock()) > 0:
                with anyio.move_on_after(left):
                    job = await sight.after(job)
        return job

    async def resolve(self, job_id: str, caller: Caller, found: Finding) -> JobRecord:
        """Take a person's word for what became of an uncertain submission.

        Raises:
            RequestError: `not_found`, or `invalid_request` when the job is not uncertain.
        """
        await self.get(job_id, caller)
        deadline = None if found.ends else self.clock() + self.deadline_seconds
        if not await self.ledger.resolve(job_id, found.fact, deadline_at=deadline, fault=found.fault):
            raise RequestError(
                "invalid_request",
                f"The job {job_id} is not uncertain, so there is nothing to resolve.",
                hint="job_status shows how it stands.",
            )
        self.runner.wake(job_id)
        return await self.get(job_id, caller)

    async def page(
        self, caller: Caller, *, status: Status | None, provider: str | None, limit: int, cursor: str | None
    ) -> Page:
        """List a caller's jobs, newest first."""
        return await self.store.page(caller.principal, status=status, provider=provider, limit=limit, cursor=cursor)

    async def delivered(self, job_id: str) -> None:
        """Note that an answer which names this job goes out, so that the same wish means a new job from now on."""
        await self.store.mark_delivered(job_id)

    async def undelivered(self, job_id: str) -> None:
        """Note that the answer did not arrive, so that the same wish still means this job."""
        await self.store.mark_undelivered(job_id)

    async def hold_map(self, sha256: str, caller: Caller) -> None:
        """Note that a caller made a map, so that its URI opens for them and nobody else.

        Where the record fails, the map is still worth looking at; nothing could be made of it then anyway.
        """
        try:
            await self.store.hold_map(caller.principal, sha256)
        except StorageError as error:
            _log.warning("It could not be noted whose map %s is: %s", sha256, error)

    async def _price(self, prepared: Prepared) -> Cost | None:
        provider = prepared.provider
        if not provider.capabilities.prices:
            return None
        return await self.sender.run(provider, provider.price(prepared.request, planned_uploads(prepared)))

    def _record(self, wish: GenerateRequest, prepared: Prepared, caller: Caller) -> JobRecord:
        now, job_id = self.clock(), f"job_{secrets.token_hex(16)}"
        return JobRecord(
            job_id=job_id,
            principal=caller.principal,
            provider=prepared.provider.name,
            state="new",
            request=prepared.request,
            reference=secrets.token_hex(16),
            created_at=now,
            updated_at=now,
            deadline_at=now + self.deadline_seconds,
            wish=kept_wish(wish, job_id, prepared.sources),
            sources=prepared.sources,
            control_map=prepared.control_map,
            seed=prepared.request.seed,
            warnings=prepared.warnings,
        )


def _heeded(job: JobRecord) -> bool:
    """Whether a wish to stop a job has had its effect, or never will have."""
    return job.ended or job.cancel_answered


_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE = 500
_OLD = "ended = 1 AND delivered = 1 AND status != 'uncertain' AND created_at < ?1"
_DAY_SECONDS = 86400.0
_PAUSE_SECONDS = 3600.0
_log_retention = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """Forgets jobs and pictures that are older than `days`.

    Attributes:
        days: How long they are kept at least.
        clock: Seconds since the epoch.
    """

    database: Database
    blobs: BlobStore
    clock: Callable[[], float]
    days: float

    async def forget(self) -> tuple[int, int]:
        """Forget what is old; gives how many jobs and how many pictures went.

        Raises:
            StorageError: The record cannot be read or written.
        """
        before = self.clock() - self.days * _DAY_SECONDS
        jobs: set[str] = set()
        while forgotten := await self.database.run(lambda db: _forget_jobs(db, before)):
            jobs |= forgotten
        if jobs:
            await to_thread.run_sync(self.blobs.forget_notes, jobs)
        old = await to_thread.run_sync(self.blobs.older_than, before)
        unnamed = await self._unnamed(old) if old else old
        for sha256 in unnamed:
            await to_thread.run_sync(self.blobs.forget, sha256, before)
        return len(jobs), len(unnamed)

    async def _unnamed(self, pictures: set[str]) -> set[str]:
        """Those of some pictures that no remaining job names; reads a page of jobs at a time."""
        last = ""
        while pictures:
            sql = "SELECT job_id, document FROM jobs WHERE job_id > ? ORDER BY job_id LIMIT ?"
            rows = await self.database.rows(sql, (last, _PAGE))
            if not rows:
                break
            pictures = pictures.difference(_named(str(document) for _, document in rows))
            last = str(rows[-1][0])
        return pictures


async def forgetting(retention: Retention) -> None:
    """Forget what is old, now and every hour; a failure is logged and tried again."""
    while True:
        try:
            jobs, pictures = await retention.forget()
        except ControlNetError as error:
            _log_retention.warning("Old jobs could not be deleted: %s", error)
        else:
            _log_retention.info("%d jobs and %d pictures were deleted because of their age.", jobs, pictures)
        await anyio.sleep(_PAUSE_SECONDS)


def _forget_jobs(db: sqlite3.Connection, before: float) -> set[str]:
    """Forget one page of old jobs together with their facts; gives their ids."""
    sql = f"SELECT job_id FROM jobs WHERE {_OLD} LIMIT ?2"  # noqa: S608  # a constant
    ids = db.execute(sql, (before, _PAGE)).fetchall()
    for table in ("attempts", "jobs"):
        db.executemany(f"DELETE FROM {table} WHERE job_id = ?", ids)  # noqa: S608  # one of two names
    return {str(row[0]) for row in ids}


def _named(documents: Iterator[str]) -> Iterator[str]:
    for document in documents:
        yield from _SHA256.findall(document)
