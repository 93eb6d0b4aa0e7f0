"""Blocks of statements that share a transaction, so that many of them are forced to disk at the price of one.

A block is undone alone when it fails; the others go on and are committed together.
"""

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


class Block(Generic[ResultT]):
    """Statements that belong together, and what became of them."""

    def __init__(self, work: Callable[[sqlite3.Connection], ResultT]) -> None:
        """Take the statements."""
        self._work = work
        self._results: list[ResultT] = []
        self._error: BaseException | None = None

    @property
    def settled(self) -> bool:
        """Whether it was committed or failed."""
        return bool(self._results) or self._error is not None

    def fail(self, error: BaseException) -> None:
        """Take note that nothing of it was committed."""
        self._results.clear()
        self._error = self._error or error

    def take_part(self, connection: sqlite3.Connection) -> None:
        """Run inside a transaction; a failure undoes this block only.

        Raises:
            sqlite3.Error: The whole transaction was lost with it (a full disk, for one).
        """
        connection.execute("SAVEPOINT block")
        try:
            self._results.append(self._work(connection))
        except BaseException as error:
            self._error = error
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO block")
        connection.execute("RELEASE block")

    def result(self) -> ResultT:
        """What the statements gave.

        Raises:
            BaseException: Why they were not committed.
        """
        if self._error is not None:
            raise self._error
        return self._results[0]
