"""Forgetting what is old, where the operator wants that: jobs first, then pictures that no job names any more.

A job is forgotten when it ended long ago and an answer that names it went out after that: what was never delivered is
kept for ever. A picture is forgotten when it was not written or asked for since then either.
"""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anyio
from anyio import to_thread

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.database import Database

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE = 500
_OLD = "ended = 1 AND delivered = 1 AND status != 'uncertain' AND created_at < ?1"
_DAY_SECONDS = 86400.0
_PAUSE_SECONDS = 3600.0
_log = logging.getLogger(__name__)


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
            _log.warning("Old jobs could not be deleted: %s", error)
        else:
            _log.info("%d jobs and %d pictures were deleted because of their age.", jobs, pictures)
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
