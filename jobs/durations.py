"""How long finished jobs took, by provider, model and size: what the next ones of their kind are expected to take."""

import math
import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.providers.types import ResolvedRequest

KEPT = 50
"""How many jobs of a kind are remembered."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs that are expected to take about as long as each other.

    Attributes:
        provider: Name of the provider.
        model: The model that was asked for, or nothing for the provider's own choice.
        size: Binary logarithm of all pixels together, rounded: halves and doubles are told apart.
    """

    provider: str
    model: str
    size: int


def kind_of(provider: str, request: ResolvedRequest) -> Kind:
    """The kind of a request."""
    pixels = request.width * request.height * request.num_images
    return Kind(provider, request.model or "", round(math.log2(pixels)))


class Durations:
    """The last durations of each kind: read once, then kept in memory; all processes on a data folder add to them."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database
        self._known: dict[Kind, deque[float]] = {}

    async def load(self, kind: Kind) -> None:
        """Read a kind's durations, unless that was done before.

        Raises:
            StorageError: The record cannot be read.
        """
        if kind in self._known:
            return
        sql = (
            "SELECT seconds FROM durations WHERE provider = ? AND model = ? AND size = ?"
            " ORDER BY duration_id DESC LIMIT ?"
        )
        rows = await self._database.rows(sql, (kind.provider, kind.model, kind.size, KEPT))
        read = [float(str(row[0])) for row in reversed(rows)]
        self._known.setdefault(kind, deque(read, KEPT))

    def known(self, kind: Kind) -> Sequence[float]:
        """Seconds that the last jobs of a kind took, oldest first, as far as they were loaded."""
        return tuple(self._known.get(kind, ()))

    def add(self, kind: Kind, seconds: float) -> None:
        """Remember one more; it is written with the next transaction, which nobody waits for on its account."""
        if kind in self._known:
            self._known[kind].append(seconds)
        key = (kind.provider, kind.model, kind.size)

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO durations (provider, model, size, seconds) VALUES (?, ?, ?, ?)", (*key, seconds))
            db.execute(
                "DELETE FROM durations WHERE provider = ?1 AND model = ?2 AND size = ?3 AND duration_id <="
                " (SELECT duration_id FROM durations WHERE provider = ?1 AND model = ?2 AND size = ?3"
                " ORDER BY duration_id DESC LIMIT 1 OFFSET ?4)",
                (*key, KEPT),
            )

        self._database.also(work)
