"""What a million old jobs cost: `job_status`, `list_jobs` and a start, beside a server with a thousand.

The old jobs are copies of a finished one, written straight into the file (about 2 GB, in the folder for temporary
files). Both servers run over stdio and take turns; figures are medians, and `job_status` is of another job every time.
A start is from the launch of the process to the answer to its first `list_jobs`, with the file in the page cache.
Run: `python -m bench.history [jobs] [rounds]`.
"""

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from anyio import to_thread
from pydantic import JsonValue

from bench.overhead import OURS, finished_job
from bench.support.command import run
from bench.support.wires import Wire, over_stdio, result_of

JOBS, FEW, ROUNDS, STARTS = 1_000_000, 1000, 400, 9
WARM_UPS = 20
CALLS: Mapping[str, tuple[str, Mapping[str, JsonValue]]] = {
    "job_status": ("job_status", {"wait_seconds": 0, "previews": False}),
    "list_jobs": ("list_jobs", {"limit": 10}),
    "list_jobs, by status": ("list_jobs", {"limit": 10, "status": "succeeded", "provider": "draft"}),
}
_COPY = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
    INSERT INTO jobs
        (job_id, principal, provider, status, ended, created_at, request_key, fingerprint, delivered, document)
    SELECT printf('job_%032x', n), principal, provider, status, 1, created_at - n, NULL, fingerprint || n, 1,
        replace(document, job_id, printf('job_%032x', n))
    FROM jobs, numbers WHERE job_id = ?
"""


def fill(folder: Path, job_id: str, count: int) -> None:
    """Copy a finished job many times, one second older each time."""
    connection = sqlite3.connect(folder / "jobs.sqlite3", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(_COPY, (count, job_id))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def timed(wire: Wire, tool: str, arguments: Mapping[str, JsonValue]) -> float:
    """Milliseconds that one call takes."""
    start = time.perf_counter()
    result_of(await wire.call(tool, arguments))
    return (time.perf_counter() - start) * 1000


async def alternate(
    wires: Sequence[Wire], tool: str, arguments: Mapping[str, JsonValue], totals: Sequence[int], rounds: int
) -> list[list[float]]:
    """Milliseconds of the calls to each server, which take turns."""
    taken: list[list[float]] = [[] for _ in wires]
    for number in range(WARM_UPS + rounds):
        for wire, total, row in zip(wires, totals, taken, strict=True):
            job = f"job_{1 + number * total // (WARM_UPS + rounds):032x}"
            asked = {**arguments, "job_id": job} if tool == "job_status" else arguments
            row.append(await timed(wire, tool, asked))
    return [row[WARM_UPS:] for row in taken]


async def started(folder: Path) -> float:
    """Milliseconds from the launch to the first answer."""
    start = time.perf_counter()
    async with over_stdio(OURS, _environment(folder)) as (_, (wire,)):
        await wire.call("list_jobs", {"limit": 20})
        return (time.perf_counter() - start) * 1000


def _environment(folder: Path) -> Mapping[str, str]:
    return os.environ | {"CONTROLNET_MCP_DATA_DIR": str(folder)}


def show(title: str, few: list[float], many: list[float]) -> None:
    """Print one row."""
    ratio = statistics.median(many) / statistics.median(few)
    print(f"{title:<26}{statistics.median(few):9.2f}{statistics.median(many):9.2f}{ratio:8.2f}   at most 1.10")


async def measure(count: int, rounds: int) -> None:
    """Let both servers take turns."""
    with tempfile.TemporaryDirectory() as made:
        folders = [Path(made, name) for name in ("few", "many")]
        for folder, total in zip(folders, (FEW, count), strict=True):
            async with over_stdio(OURS, _environment(folder)) as (_, (wire,)):
                job = await finished_job(wire)
            await to_thread.run_sync(fill, folder, job, total)
        print(f"{'p50 ms':<26}{FEW:>9,}{count:>9,}{'ratio':>8}   target")
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(over_stdio(OURS, _environment(folder))) for folder in folders]
            wires = [wires[0] for _, wires in servers]
            for title, (tool, arguments) in CALLS.items():
                few, many = await alternate(wires, tool, arguments, (FEW, count), rounds)
                show(title, few, many)
        starts = [[await started(folder) for folder in folders] for _ in range(STARTS)]
        show("start", [row[0] for row in starts], [row[1] for row in starts])


def main(jobs: int = JOBS, rounds: int = ROUNDS) -> None:
    """Measure."""
    anyio.run(measure, jobs, rounds)


if __name__ == "__main__":
    run(main)
