"""Blocks of statements share transactions: together on disk, each failing for itself."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from controlnet_mcp.foundation.errors import StorageError
from controlnet_mcp.jobs.database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

INSERT = "INSERT INTO durations (provider, model, size, seconds) VALUES (?, '', 1, 1.0)"


def insert(name: str, db: sqlite3.Connection) -> str:
    """Write one row."""
    db.execute(INSERT, (name,))
    return name


def insert_and_fail(name: str, db: sqlite3.Connection) -> str:
    """Write one row, then fail."""
    db.execute(INSERT, (name,))
    raise ZeroDivisionError(name)


def on_disk(path: Path) -> set[str]:
    """The rows as another process sees them."""
    with closing(sqlite3.connect(path)) as other:
        return {str(row[0]) for row in other.execute("SELECT provider FROM durations")}


@pytest.fixture
def database(tmp_path: Path) -> Generator[Database]:
    """A new file."""
    with closing(Database(tmp_path / "jobs.sqlite3")) as opened:
        yield opened


async def test_what_returned_is_on_disk(tmp_path: Path, database: Database) -> None:
    """Every one of many callers finds its row committed when it gets its answer."""
    missing: list[str] = []

    async def write(name: str) -> None:
        assert await database.run(partial(insert, name)) == name
        if name not in await to_thread.run_sync(on_disk, tmp_path / "jobs.sqlite3"):
            missing.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(write, str(number))
    database.close()
    assert missing == []


async def test_many_callers_share_few_commits(tmp_path: Path, database: Database) -> None:
    """While one commit is forced to disk, all who come meanwhile gather for the next."""
    await database.run(partial(insert, "first"))
    begun: list[str] = []

    def first_of_its_transaction(name: str, db: sqlite3.Connection) -> None:
        if db.execute("SELECT count(*) FROM durations").fetchone()[0] == len(on_disk(tmp_path / "jobs.sqlite3")):
            begun.append(name)
        insert(name, db)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(database.run, partial(first_of_its_transaction, str(number)))
    database.close()
    assert 1 <= len(begun) <= 3


async def test_a_block_that_fails_undoes_itself_only(tmp_path: Path, database: Database) -> None:
    """Its caller gets its error; its neighbours in the same transaction are kept."""
    failed: list[str] = []

    async def write(number: int) -> None:
        work: Callable[[str, sqlite3.Connection], str] = insert if number % 3 else insert_and_fail
        try:
            await database.run(partial(work, str(number)))
        except ZeroDivisionError as error:
            failed.append(str(error))

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(write, number)
    database.close()
    assert sorted(map(int, failed)) == list(range(0, 30, 3))
    kept = await to_thread.run_sync(on_disk, tmp_path / "jobs.sqlite3")
    assert kept == {str(number) for number in range(30) if number % 3}


async def test_a_transaction_that_is_lost_is_told_to_everybody_in_it(tmp_path: Path, database: Database) -> None:
    """When the file fails under one block, no neighbour is told that it was written; later ones are."""
    await database.run(partial(insert, "before"))
    told: list[str] = []

    def lose(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")  # what SQLite does by itself when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    async def write(work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            await database.run(work)
        except StorageError as error:
            told.append(error.message)

    async with anyio.create_task_group() as tasks:
        for work in (partial(insert, "first"), partial(insert, "second"), lose, partial(insert, "third")):
            tasks.start_soon(write, work)
    await database.run(partial(insert, "after"))
    database.close()
    kept = await to_thread.run_sync(on_disk, tmp_path / "jobs.sqlite3")
    assert len(kept) + len(told) == 6
    assert {"before", "after"} <= kept
    assert len(told) >= 1
    assert all("full" in message for message in told)


async def test_a_caller_that_gives_up_does_not_take_its_neighbours_along(tmp_path: Path, database: Database) -> None:
    """Callers that are cancelled in the middle leave everybody else's rows written."""
    names = {f"stays {number}" for number in range(20)}
    with anyio.fail_after(120):
        async with anyio.create_task_group() as staying, anyio.create_task_group() as leaving:
            for name in names:
                leaving.start_soon(database.run, partial(insert, f"not {name}"))
                staying.start_soon(database.run, partial(insert, name))
            await anyio.lowlevel.checkpoint()
            leaving.cancel_scope.cancel()
        assert await database.run(partial(insert, "last")) == "last"
    database.close()
    assert names | {"last"} <= await to_thread.run_sync(on_disk, tmp_path / "jobs.sqlite3")


async def test_what_rides_along_is_written_with_the_next_transaction(tmp_path: Path, database: Database) -> None:
    """Nobody waits for it, a failure of it reaches nobody, and it opens no transaction of its own."""
    database.also(partial(insert, "rider"))
    database.also(partial(insert_and_fail, "broken rider"))
    assert await database.run(partial(insert, "driver")) == "driver"
    database.close()
    assert await to_thread.run_sync(on_disk, tmp_path / "jobs.sqlite3") == {"rider", "driver"}
