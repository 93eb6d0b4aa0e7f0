"""The SQLite file of the record: its tables, one connection on a thread of its own, and transactions.

The tables are kept as the steps that lead to them, so that a file of any earlier version is brought up to date. A step
that was released is never changed; what is new is a further step.

Forcing a commit to disk takes longer than all else, so blocks of statements that wait at the same time share one
transaction. A block that fails is undone alone; the others go on and are committed together.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar, cast

from anyio import CancelScope, CapacityLimiter, Lock, to_thread
from anyio.lowlevel import checkpoint_if_cancelled

from controlnet_mcp.foundation.errors import StorageError

ResultT = TypeVar("ResultT")

_BUSY_SECONDS = 5.0
_SWITCHES = 21
"""Tries to switch to a write-ahead log."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE jobs (
            job_id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            provider TEXT NOT NULL,
            status TEXT NOT NULL,
            ended INTEGER NOT NULL,
            created_at REAL NOT NULL,
            request_key TEXT,
            fingerprint TEXT NOT NULL,
            delivered INTEGER NOT NULL DEFAULT 0,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            lease_owner TEXT,
            lease_until REAL NOT NULL DEFAULT 0,
            fence INTEGER NOT NULL DEFAULT 0,
            document TEXT NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX jobs_request_key ON jobs (principal, request_key) WHERE request_key IS NOT NULL",
        "CREATE INDEX jobs_fingerprint ON jobs (principal, fingerprint, created_at)",
        "CREATE INDEX jobs_newest ON jobs (principal, created_at, job_id)",
        "CREATE INDEX jobs_open ON jobs (lease_until) WHERE ended = 0",
        """
        CREATE TABLE attempts (
            attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            at REAL NOT NULL,
            fact TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX attempts_job ON attempts (job_id, attempt_id)",
    ),
    ("ALTER TABLE jobs ADD COLUMN orphans TEXT NOT NULL DEFAULT '[]'",),
    (
        """
        CREATE TABLE durations (
            duration_id INTEGER PRIMARY KEY AUTOINCREMENT,
            provider TEXT NOT NULL,
            model TEXT NOT NULL,
            size INTEGER NOT NULL,
            seconds REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX durations_kind ON durations (provider, model, size, duration_id)",
    ),
    (
        """
        CREATE TABLE spending (
            job_id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            run TEXT NOT NULL,
            provider TEXT NOT NULL,
            millionths INTEGER,
            at REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX spending_recent ON spending (principal, at)",
        "CREATE INDEX jobs_in_flight ON jobs (principal) WHERE ended = 0",
        """
        CREATE TABLE maps (
            principal TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (principal, sha256)
        ) STRICT
        """,
    ),
    ("CREATE TABLE looks (provider TEXT PRIMARY KEY, full_at REAL NOT NULL) STRICT",),
)
SCHEMA_VERSION = len(MIGRATIONS)


class Database:
    """Runs blocks of statements, each wholly or not at all; opened at the first use, so that a start costs nothing.

    Statements raise `StorageError` (`not_configured`) when the file cannot be opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turn = Lock()
        self._thread = CapacityLimiter(1)  # kept for this, so that nothing here waits for pictures that are worked on
        self._waiting: deque[tuple[Callable[[sqlite3.Connection], object], Future[object]]] = deque()

    async def run(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Run `work` on the database thread, wholly or not at all; it is on disk when this returns.

        A cancelled caller learns of it before or after, never in between.
        """
        await checkpoint_if_cancelled()
        outcome = self.also(work)
        with CancelScope(shield=True):
            async with self._turn:
                if not outcome.done():
                    await to_thread.run_sync(self._commit, limiter=self._thread)
        with self._explained():
            return outcome.result()

    def also(self, work: Callable[[sqlite3.Connection], ResultT]) -> Future[ResultT]:
        """Queue `work` for the next transaction without waiting for it; lost if there is none any more."""
        outcome = Future[ResultT]()
        self._waiting.append((work, cast("Future[object]", outcome)))
        return outcome

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Run `work` on the database thread without a transaction, so that readers never wait for writers."""

        def read() -> ResultT:
            with self._explained():
                return work(self._open())

        async with self._turn:
            return await to_thread.run_sync(read, limiter=self._thread)

    async def rows(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[object, ...]]:
        """Read the rows that a statement gives."""
        return await self.read(lambda db: db.execute(sql, values).fetchall())

    def close(self) -> None:
        """Close the file; a later `run` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self) -> None:
        """Commit all blocks that wait, in the order in which they came; a failure undoes its own block only."""
        blocks = [self._waiting.popleft() for _ in range(len(self._waiting))]
        results: list[tuple[Future[object], object]] = []
        try:
            with self._open() as connection:
                connection.execute("BEGIN IMMEDIATE")
                for work, outcome in blocks:
                    connection.execute("SAVEPOINT block")
                    try:
                        results.append((outcome, work(connection)))
                    except BaseException as error:
                        outcome.set_exception(error)
                        if not connection.in_transaction:  # all of it was lost (a full disk, for one)
                            raise
                        connection.execute("ROLLBACK TO block")
                    connection.execute("RELEASE block")
            for outcome, result in results:
                outcome.set_result(result)
        except BaseException as error:  # noqa: BLE001  # raised in each waiting caller
            for _, outcome in blocks:
                if not outcome.done():
                    outcome.set_exception(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(self._path)
        return self._connection

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Raise errors of SQLite and of the disk as errors that say what to do.

        Raises:
            StorageError: `not_configured`, retryable unless the file is damaged.
        """
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            corrupt = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            if corrupt:
                message = f"The job database {self._path} is damaged ({error}). It was left as it is."
                hint = "Move the file away to start afresh, or restore a copy; the pictures beside it are untouched."
            else:
                message = f"The job database {self._path} cannot be used ({error})."
                hint = (
                    "Check that the data folder is writable and has room, or set CONTROLNET_MCP_DATA_DIR to another "
                    "folder."
                )
            raise StorageError("not_configured", message, hint=hint, retryable=not corrupt) from error


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, create it where there is none, and bring an older one up to date.

    Raises:
        StorageError: `not_configured` when a newer version wrote it; nothing in it is changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # SQLite gives its other files the same mode
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    with ExitStack() as unless_opened:
        unless_opened.callback(connection.close)
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StorageError(
                "not_configured",
                f"The job database {path} was written by a newer version of controlnet-mcp.",
                hint="Update controlnet-mcp, or set CONTROLNET_MCP_DATA_DIR to another folder.",
            )
        for left in reversed(range(_SWITCHES)):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # the switch does not wait for other processes, a transaction does
                if not left:
                    raise
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous = FULL")
        if version < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])  # another process may have been here
            for statement in (line for migration in MIGRATIONS[version:] for line in migration):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        unless_opened.pop_all()
    return connection
