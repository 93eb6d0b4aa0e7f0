"""Five hundred jobs of two seconds at once through one server, beside bare httpx2 that makes the same requests.

The provider is `bench.support.vendor`, in a process of its own. Ours is the installed server over stdio: 500 calls of
`controlnet_generate` that wait for their pictures, and 50 pings a second beside them. Bare is the least script: one
client with the same connections, submit, as many looks as ours took on average, download, write the file; it
knows nothing of MCP, checks no picture, and records nothing. "Same work" is the bare script that also does to each
result what cannot be left out: it is decoded, hashed and forced to disk. "Least MCP" does the same work behind the SDK,
pinged likewise, and records nothing (`bench.support.least_server`). Processor time and memory are those of the process
that asks. Idle is the server after its first job, when its libraries are loaded.

Structure scores are switched off (CONTROLNET_MCP_STRUCTURE_SCORES=false): they are work on the picture that is done
after the job has succeeded, and `bench/score.py` measures them. The cap on unfinished jobs of one caller is raised.

Run: `python -m bench.load [jobs] [rounds]`. Linux: it reads `/proc`.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
from anyio import to_thread
from anyio.abc import Process
from PIL import Image
from pydantic import JsonValue

from bench.support.command import run
from bench.support.crowd import JOB_SECONDS, floor
from bench.support.meters import Meter, Taken
from bench.support.vendor import KEY, MODEL, vendor
from bench.support.wires import StdioWire, over_stdio, result_of
from tests.support.sample_drawings import house

JOBS, ROUNDS = 500, 3
PING_SECONDS = 0.02
_TARGET = "at most 1.5 times least MCP"
SERVER = ["-c", "from controlnet_mcp.server.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Server:
    """Our server, with one client that spoke the handshake, since only that era has `ping`."""

    process: Process
    wire: StdioWire
    control: str

    async def generate(self, prompt: str) -> None:
        """Have one picture made."""
        arguments: dict[str, JsonValue] = {
            "prompt": prompt,
            "control_image": self.control,
            "control_is_map": True,
            "provider": "wavespeed",
            "model": MODEL,
            "width": 512,
            "height": 512,
            "wait_seconds": 120,
            "previews": False,
        }
        answer = result_of(await self.wire.ask("tools/call", {"name": "controlnet_generate", "arguments": arguments}))
        job = answer["structuredContent"]
        assert isinstance(job, dict)
        assert job["status"] == "succeeded", job

    async def ping(self, taken_ms: list[float]) -> None:
        """Ping until cancelled."""
        while True:
            start = time.perf_counter()
            await self.wire.ask("ping", {})
            taken_ms.append((time.perf_counter() - start) * 1000)
            await anyio.sleep(PING_SECONDS)


@asynccontextmanager
async def serving(folder: Path, origin: str, arguments: Sequence[str] = SERVER) -> AsyncGenerator[Server]:
    """Start a server, ours unless told otherwise, on a data folder, and have one job done so that it is warm."""
    await to_thread.run_sync(Image.fromarray(house(512)).save, folder / "map.png")
    environment = os.environ | {
        "CONTROLNET_MCP_DATA_DIR": str(folder / "data"),
        "CONTROLNET_MCP_ALLOWED_DIRS": str(folder),
        "CONTROLNET_MCP_MAX_JOBS_IN_FLIGHT": "100000",
        "CONTROLNET_MCP_STRUCTURE_SCORES": "false",
        "WAVESPEED_API_KEY": KEY,
        "WAVESPEED_BASE_URL": origin,
    }
    async with over_stdio(arguments, environment) as (process, (wire,)):
        assert isinstance(wire, StdioWire)
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        await wire.ask("initialize", hello)
        await wire.tell("notifications/initialized")
        server = Server(process, wire, str(folder / "map.png"))
        await server.generate("a first house that takes 0.1")
        yield server


async def crowded(server: Server, meter: Meter, jobs: int, title: str) -> Taken:
    """One round: many callers at once."""
    meter.start()
    async with anyio.create_task_group() as tasks:
        for number in range(jobs):
            tasks.start_soon(server.generate, f"{title} house {number} that takes {JOB_SECONDS}")
    return meter.stop()


async def pinged(server: Server, meter: Meter, jobs: int, title: str) -> tuple[Taken, list[float]]:
    """One round beside pings, with their times."""
    pings: list[float] = []
    rounds: list[Taken] = []
    async with anyio.create_task_group() as pinging:
        pinging.start_soon(server.ping, pings)
        rounds.append(await crowded(server, meter, jobs, title))
        pinging.cancel_scope.cancel()
    return rounds[0], pings


async def least(origin: str, jobs: int, looks: float) -> tuple[Taken, list[float]]:
    """One round of the least server, likewise."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["-m", "bench.support.least_server", origin, str(looks), folder]
        async with serving(Path(folder), origin, arguments) as server:
            return await pinged(server, Meter(server.process.pid), jobs, "a")


async def looks_so_far(origin: str) -> int:
    """How often the vendor was asked how jobs stand."""
    async with httpx2.AsyncClient() as client:
        return sum((await client.get(f"{origin}/looks")).json())


@dataclass(slots=True)
class Rounds:
    """What was taken in each round."""

    ours: list[Taken] = field(default_factory=list[Taken])
    bare: list[Taken] = field(default_factory=list[Taken])
    same_work: list[Taken] = field(default_factory=list[Taken])
    least: list[Taken] = field(default_factory=list[Taken])
    pings_ms: list[float] = field(default_factory=list[float])
    pings_of_least_ms: list[float] = field(default_factory=list[float])
    looks: float = 0.0


def show(taken: Rounds, idle_mib: float) -> None:
    """Print the figures beside their targets; each is the least of its rounds, memory the most."""
    print("structure scores are off")
    print(
        f"{'':<26}{'ours':>9}{'bare':>9}{'ratio':>7}{'same work':>11}{'ratio':>7}{'least MCP':>11}{'ratio':>7}   target"
    )
    for name, target in (("wall_seconds", _TARGET), ("cpu_seconds", _TARGET)):
        ours, *floors = (
            min(getattr(row, name) for row in rows) for rows in (taken.ours, taken.bare, taken.same_work, taken.least)
        )
        columns = "".join(
            f"{floor:{width}.2f}{ours / floor:7.2f}" for floor, width in zip(floors, (9, 11, 11), strict=True)
        )
        print(f"{name:<26}{ours:9.2f}{columns}   {target}")
    peak = max(row.peak_mib for row in taken.ours)
    print(f"{'memory MiB, bare = idle':<26}{peak:9.1f}{idle_mib:9.1f}{peak / idle_mib:7.2f}{'':36}   at most 1.45")
    p50, p99 = statistics.median(taken.pings_ms), statistics.quantiles(taken.pings_ms, n=100)[98]
    print(f"{'ping ms, median and p99':<26}{p50:9.1f}{p99:9.1f}{'':43}   p99 at most 60")
    p50, p99 = statistics.median(taken.pings_of_least_ms), statistics.quantiles(taken.pings_of_least_ms, n=100)[98]
    print(f"{'the same of least MCP':<26}{p50:9.1f}{p99:9.1f}")
    print(f"{'looks at a job':<26}{taken.looks:9.2f}")


async def measure(jobs: int, rounds: int) -> None:
    """Let ours and the floors take turns."""
    taken = Rounds()
    with vendor() as origin, tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), origin) as server:
            meter = Meter(server.process.pid)
            idle = meter.mib("VmRSS")
            for number in range(rounds):
                before = await looks_so_far(origin)
                row, pings = await pinged(server, meter, jobs, f"round {number},")
                taken.looks = (await looks_so_far(origin) - before) / jobs
                taken.ours.append(row)
                taken.pings_ms.extend(pings)
                taken.bare.append(await floor(origin, jobs, taken.looks))
                taken.same_work.append(await floor(origin, jobs, taken.looks, same_work=True))
                row_of_least, pings_of_least = await least(origin, jobs, taken.looks)
                taken.least.append(row_of_least)
                taken.pings_of_least_ms.extend(pings_of_least)
                print(row, taken.bare[-1], taken.same_work[-1], taken.least[-1], f"{taken.looks:.2f}", file=sys.stderr)
    show(taken, idle)


def main(jobs: int = JOBS, rounds: int = ROUNDS) -> None:
    """Measure."""
    anyio.run(measure, jobs, rounds)


if __name__ == "__main__":
    run(main)
