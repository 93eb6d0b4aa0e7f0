"""Bare httpx2 with many jobs at once at `bench.support.vendor`: the floors of `bench/load.py` and `bench/detection.py`.

Run: `python -m bench.support.crowd ORIGIN JOBS LOOKS [same-work]`; it tells what it took as JSON. With "same-work"
every result is decoded, hashed and forced to disk too, in threads, as ours must do.
"""

import json
import os
import sys
import tempfile
from dataclasses import astuple
from functools import partial
from pathlib import Path

import anyio
import httpx2
from anyio import to_thread

from bench.support.meters import Meter, Taken
from bench.support.vendor import KEY, MODEL

JOB_SECONDS = 2.0
SAME_WORK = "same-work"
_LATE_SECONDS = 0.001
_AGAIN_SECONDS = 0.05
_LIMITS = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
"""The default of 100 takes as long; a connection for every job takes three times as long."""


def client() -> httpx2.AsyncClient:
    """A client for all jobs."""
    return httpx2.AsyncClient(limits=_LIMITS, headers={"authorization": f"Bearer {KEY}"}, timeout=60)


async def generate(sender: httpx2.AsyncClient, origin: str, seconds: float, looks: int, target: Path) -> None:
    """Submit a job that is known to take so many seconds, look at it so many times, download it, write it to a file."""
    await anyio.Path(target).write_bytes(await _brought(sender, origin, seconds, looks, target.stem))


async def generate_and_prove(sender: httpx2.AsyncClient, origin: str, seconds: float, looks: int, target: Path) -> None:
    """The same, with what cannot be left out of the work on the picture."""
    from bench.support.bare import PictureWork  # its libraries are no part of the bare script

    content = await _brought(sender, origin, seconds, looks, target.stem)
    await to_thread.run_sync(PictureWork(target, target, makes_map=False).keep, content)


async def _brought(sender: httpx2.AsyncClient, origin: str, seconds: float, looks: int, name: str) -> bytes:
    body = {"prompt": f"{name} that takes {seconds}", "size": "512*512", "num_images": 1}
    told = (await sender.post(f"{origin}/api/v3/{MODEL}", json=body)).json()["data"]
    accepted, asked = anyio.current_time(), 0
    while told["status"] != "completed":
        asked += 1
        due = accepted + seconds * min(asked / looks, 1) + _LATE_SECONDS
        await anyio.sleep(max(due - anyio.current_time(), _AGAIN_SECONDS if asked > looks else 0))
        told = (await sender.get(told["urls"]["get"])).json()["data"]
    return (await sender.get(told["outputs"][0])).content


def looks_at(number: int, looks: float) -> int:
    """How often a job is looked at, so that it is so often on average: rounded up or down, and at least once."""
    return max(int((number + 1) * looks) - int(number * looks), 1)


async def crowd(origin: str, jobs: int, looks: float, *, same_work: bool) -> Taken:
    """Many jobs at once; every one is looked at as often as ours were on average, rounded up or down."""
    meter = Meter(os.getpid())
    with tempfile.TemporaryDirectory() as folder:
        meter.start()
        async with client() as sender, anyio.create_task_group() as tasks:
            script = generate_and_prove if same_work else generate
            for number in range(jobs):
                tasks.start_soon(
                    script, sender, origin, JOB_SECONDS, looks_at(number, looks), Path(folder, f"{number}.jpg")
                )
        return meter.stop()


async def floor(origin: str, jobs: int, looks: float, *, same_work: bool = False) -> Taken:
    """One round, in a process of its own."""
    words = [origin, str(jobs), str(looks), *([SAME_WORK] if same_work else [])]
    told = await anyio.run_process([sys.executable, "-m", "bench.support.crowd", *words], stderr=None)
    return Taken(*json.loads(told.stdout))


def main(origin: str, jobs: str, looks: str, work: str = "") -> None:
    """Run one round as the only thing in this process."""
    run = partial(crowd, origin, int(jobs), float(looks), same_work=work == SAME_WORK)
    print(json.dumps(astuple(anyio.run(run))))


if __name__ == "__main__":
    main(*sys.argv[1:])
