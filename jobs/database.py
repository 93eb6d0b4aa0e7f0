"""The SQLite file of the record: one connection, one statement block at a time, in a worker thread."""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from controlnet_mcp.images.errors import StorageError
from controlnet_mcp.jobs.schema import MIGRATIONS, SCHEMA_VERSION

ResultT = TypeVar("ResultT")

_BUSY_SECONDS = 5.0
_SWITCHES = 20


class Database:
    """Runs blocks of statements, each in one transaction; opened at the first use, so that a start costs nothing."""

    def __init__(self, path: Path) -> None:
        """Remember where the file is; nothing is opened yet."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time: CapacityLimiter | None = None

    async def run(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Run `work` in one immediate transaction on the database thread.

        Raises:
            StorageError: `not_configured` when the file cannot be opened, read or written.
        """
        return await self._in_thread(partial(self._transaction, work))

    async def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Read without a transaction, so that readers never wait for writers.

        Raises:
            StorageError: As `run`.
        """
        return await self._in_thread(partial(self._read, sql, values))

    def close(self) -> None:
        """Close the file; a later `run` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        if self._one_at_a_time is None:
            self._one_at_a_time = CapacityLimiter(1)
        return await to_thread.run_sync(work, limiter=self._one_at_a_time)

    def _transaction(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        with self._opened() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)

    def _read(self, sql: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        with self._opened() as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = _open(self._path)
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise _told(self._path, error) from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # SQLite gives its other files the same mode
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        _check_version(version, path)
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        if version < SCHEMA_VERSION:
            _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older file up to date, in one transaction; another process may have done it meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for statement in (line for migration in MIGRATIONS[version:] for line in migration):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; the switch does not wait for other processes by itself, a transaction does."""
    for _ in range(_SWITCHES):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode = WAL")


def _check_version(version: int, path: Path) -> None:
    """Refuse a file of a newer version before anything in it is changed."""
    if version > SCHEMA_VERSION:
        raise StorageError(
            "not_configured",
            f"The job database {path} was written by a newer version of controlnet-mcp.",
            hint="Update controlnet-mcp, or set CONTROLNET_MCP_DATA_DIR to another folder.",
        )


def _told(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    corrupt = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    if corrupt:
        message = f"The job database {path} is damaged ({error}). It was left as it is."
        hint = "Move the file away to start afresh, or restore a copy; the pictures beside it are untouched."
    else:
        message = f"The job database {path} cannot be used ({error})."
        hint = "Check that the data folder is writable and has room, or set CONTROLNET_MCP_DATA_DIR to another folder."
    return StorageError("not_configured", message, hint=hint, retryable=not corrupt)
