"""Many jobs, several processes on one data folder, and kills at random moments: what was charged and what became of it.

The processes are this module itself: each asks for its share of the jobs under request keys of their own, again after
every restart, and drives whatever it can claim.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

import anyio

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.settings import Settings
from tests.support.server_process import Place
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import KEY, WaveSpeedStudio, wavespeed

CALLER = Caller(LOCAL, local=True)
LEASE_SECONDS = "2"


@dataclass(frozen=True, slots=True)
class Toll:
    """What a run cost and brought.

    Attributes:
        charges: Accepted submissions.
        doubles: Jobs that were charged more than once.
        lost: Jobs that were charged and are neither succeeded nor uncertain, or do not exist, or never ended.
        uncertain: Jobs of which nobody knows whether they were charged.
    """

    jobs: int
    kills: int
    charges: int
    doubles: int
    lost: int
    uncertain: int
    succeeded: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Storm:
    """How hard it blows."""

    jobs: int = 300
    processes: int = 3
    kills: int = 20
    seed: int = 1
    longest_seconds: float = 240.0


def blow(storm: Storm, place: Place) -> Toll:
    """Run a storm and count."""
    listening = free_socket()
    studio = WaveSpeedStudio(origin=origin_of(listening), balance=1e6)
    with running(wavespeed(studio), listening):
        variables = {
            "WAVESPEED_API_KEY": KEY,
            "WAVESPEED_BASE_URL": studio.origin,
            "CONTROLNET_MCP_LEASE_SECONDS": LEASE_SECONDS,
            "CONTROLNET_MCP_TRUSTED_HOSTS": "127.0.0.1",
        }
        started = time.monotonic()
        _strike(storm, place, place.environment(**variables))
        took = time.monotonic() - started
        records = anyio.run(_records, Settings.model_validate({"data_dir": place.data_dir}), storm.jobs)
    return _count(storm, records, Counter(task.form.prompt for task in studio.tasks.values()), took)


def _strike(storm: Storm, place: Place, environment: dict[str, str]) -> None:
    """Start the processes, kill one of them again and again, and wait until the last ones are done."""
    dice = random.Random(storm.seed)  # noqa: S311  # a storm that can be repeated
    share = storm.jobs // storm.processes

    def start(number: int) -> subprocess.Popen[bytes]:
        arguments = [
            str(place.pictures / "sketch.png"),
            str(number * share),
            str((number + 1) * share),
            str(storm.jobs),
        ]
        return subprocess.Popen([sys.executable, "-m", "tests.support.kill_storm", *arguments], env=environment)

    workers = [start(number) for number in range(storm.processes)]
    for _ in range(storm.kills):
        victim = dice.randrange(storm.processes)
        try:
            workers[victim].wait(dice.uniform(1.0, 2.5))
        except subprocess.TimeoutExpired:
            os.kill(workers[victim].pid, signal.SIGKILL)
            workers[victim].wait()
        workers[victim] = start(victim)
    for worker in workers:
        worker.wait(storm.longest_seconds)
        assert worker.returncode == 0, worker.returncode


def _count(storm: Storm, records: dict[str, JobRecord], charges: Counter[str], seconds: float) -> Toll:
    states = Counter(record.state for record in records.values())
    lost = [
        prompt for prompt in charges if prompt not in records or records[prompt].state not in {"succeeded", "uncertain"}
    ]
    return Toll(
        jobs=storm.jobs,
        kills=storm.kills,
        charges=charges.total(),
        doubles=sum(count > 1 for count in charges.values()),
        lost=len(lost) + sum(not record.ended for record in records.values()) + storm.jobs - len(records),
        uncertain=states["uncertain"],
        succeeded=states["succeeded"],
        seconds=seconds,
    )


async def _records(settings: Settings, most: int) -> dict[str, JobRecord]:
    async with open_application(settings) as application:
        return {record.request.prompt: record for record in await _all(application, most)}


async def _all(application: Application, most: int) -> list[JobRecord]:
    """Every job there is."""
    records: list[JobRecord] = []
    cursor: str | None = None
    while True:
        page = await application.services.jobs.store.page(
            CALLER.principal, status=None, provider=None, limit=most, cursor=cursor
        )
        records += page.jobs
        cursor = page.next_cursor
        if cursor is None:
            return records


async def _work(picture: str, first: int, last: int, jobs: int) -> None:
    """One process: ask for its share, then stay until every job of everybody has ended."""
    async with open_application(Settings()) as application:
        service = application.services.jobs
        await application.table.load()
        for number in range(first, last):
            request = GenerateRequest(
                prompt=f"job {number}", control_image=picture, provider="wavespeed", width=256, height=256
            )
            await service.submit(request, CALLER, request_key=f"key {number}")
        while True:
            records = await _all(application, jobs)
            if len(records) == jobs and all(record.ended for record in records):
                return
            pending = next((record for record in records if not record.ended), records[0])
            await service.wait(pending, time.time() + 1.0)


if __name__ == "__main__":
    anyio.run(_work, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
