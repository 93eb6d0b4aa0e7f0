"""What a call costs beside the least that the SDK can do: `job_status` of a finished job, and the SDK's echo tool.

Both over stdio and over Streamable HTTP, with 1 and with 64 callers at the same time. The servers take turns; figures
are medians over the turns, ratios medians of each turn's ratio. Processor time is the server's, per call. The callers
share the machine with the server, so calls per second are a lower bound.
Run: `python -m bench.overhead [turns] [seconds]`. Linux: it reads `/proc`.
"""

import base64
import io
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import Process
from PIL import Image, ImageDraw
from pydantic import JsonValue

from bench.support.command import run
from bench.support.wires import Wire, free_port, over_http, over_stdio, result_of

CALLERS = (1, 64)
TURNS, SECONDS, WARM_UP_SECONDS = 7, 2.0, 0.5
OURS = ["-c", "from controlnet_mcp.server.cli import main; main()"]
FLOOR = [str(Path(__file__).with_name("support") / "floors.py"), "mcpserver"]
_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Subject:
    """One server on one transport, and the call that is measured."""

    process: Process
    wires: list[Wire]
    tool: str
    arguments: Mapping[str, JsonValue]

    async def call(self, wire: Wire) -> bytes:
        """Make the call once."""
        return await wire.call(self.tool, self.arguments)

    def cpu_seconds(self) -> float:
        """Processor time that the server has used, in all its threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * _SECONDS_PER_TICK


@dataclass(frozen=True, slots=True)
class Load:
    """One window: calls per second, milliseconds that half and 99 % of the calls took, and of processor per call."""

    calls_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


async def load(subject: Subject, callers: int, seconds: float) -> Load:
    """Call as fast as the answers come."""
    taken_ms: list[float] = []
    began, cpu = time.perf_counter(), subject.cpu_seconds()

    async def caller(wire: Wire) -> None:
        while (start := time.perf_counter()) < began + seconds:
            await subject.call(wire)
            taken_ms.append((time.perf_counter() - start) * 1000)

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, subject.wires[number % len(subject.wires)])
    spent = time.perf_counter() - began
    cpu_ms = (subject.cpu_seconds() - cpu) * 1000
    shares = statistics.quantiles(taken_ms, n=100)
    return Load(len(taken_ms) / spent, shares[49], shares[98], cpu_ms / len(taken_ms))


def picture() -> str:
    """A drawing as a `data:` URI."""
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).rectangle((24, 40, 104, 112), outline="black", width=3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


async def finished_job(wire: Wire) -> str:
    """Have the draft engine draw; gives the job's id."""
    asked: dict[str, JsonValue] = {"prompt": "a house", "control_image": picture(), "width": 128, "height": 128}
    limits: dict[str, JsonValue] = {"provider": "draft", "wait_seconds": 60, "previews": False}
    job = result_of(await wire.call("controlnet_generate", asked | limits))["structuredContent"]
    assert isinstance(job, dict)
    assert job["status"] == "succeeded", job
    return str(job["job_id"])


@asynccontextmanager
async def subjects(transport: str, environment: Mapping[str, str]) -> AsyncGenerator[tuple[Subject, Subject]]:
    """Start our server and the floor."""
    async with AsyncExitStack() as stack:
        if transport == "stdio":
            ours = await stack.enter_async_context(over_stdio(OURS, environment))
            floor = await stack.enter_async_context(over_stdio(FLOOR, environment))
        else:
            port, other = free_port(), free_port()
            command = [
                OURS[0],
                f"import sys; sys.argv += ['serve', '--transport=streamable-http', '--port={port}']; {OURS[1]}",
            ]
            ours = await stack.enter_async_context(over_http(command, environment, port, max(CALLERS)))
            floor = await stack.enter_async_context(over_http([*FLOOR, str(other)], environment, other, max(CALLERS)))
        status: dict[str, JsonValue] = {"job_id": await finished_job(ours[1][0]), "wait_seconds": 0, "previews": False}
        pair = Subject(*ours, "job_status", status), Subject(*floor, "echo", {"text": "hello"})
        for subject in pair:
            result_of(await subject.call(subject.wires[0]))
        yield pair


def show(title: str, loads: Sequence[tuple[Load, Load]]) -> None:
    """Print one transport with one number of callers."""
    for name, rows in zip(("job_status", "echo"), zip(*loads, strict=True), strict=True):
        figures = [statistics.median(row) for row in zip(*map(astuple, rows), strict=True)]
        print("{:<17} {:<11}{:7.0f} {:9.2f} {:8.2f} {:9.3f}".format(title, name, *figures))
    pairs = [(ours.p50_ms / floor.p50_ms, ours.cpu_ms / floor.cpu_ms) for ours, floor in loads]
    p50, cpu = (statistics.median(row) for row in zip(*pairs, strict=True))
    print(f"{title:<17} {'ratio':<11}{'':7} {p50:9.2f} {'':8} {cpu:9.2f}")


async def measure(turns: int, seconds: float) -> None:
    """Measure all four cases."""
    print(f"{'':<29}calls/s    p50 ms   p99 ms   CPU ms")
    for transport in ("stdio", "http"):
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"CONTROLNET_MCP_DATA_DIR": folder}
            async with subjects(transport, environment) as pair:
                for callers in CALLERS:
                    for subject in pair:
                        await load(subject, callers, WARM_UP_SECONDS)
                    loads = [tuple([await load(subject, callers, seconds) for subject in pair]) for _ in range(turns)]
                    show(f"{transport}, {callers} at once", [(ours, floor) for ours, floor in loads])


def main(turns: int = TURNS, seconds: float = SECONDS) -> None:
    """Measure."""
    anyio.run(partial(measure, turns, seconds))


if __name__ == "__main__":
    run(main)
