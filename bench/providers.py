"""What we add to a hosted provider's own time: submit to stored result, beside bare httpx2 making the same calls.

The simulators of `tests/support/simulators` run in a process of their own and have finished whenever they are asked.
Ours is the whole path from `JobService.submit` to `succeeded`: the picture is read, checked and mapped, the job
recorded before and after every step, the result proved to be a picture and stored. Bare is the least script: a kept
connection, the same bodies, the result written to a file. Both upload nothing, because the picture is known
after the warm-up. They take turns; figures are medians, processor time is of the process that asks.

The second floor, "same work", is the bare script that also does to the pictures what cannot be left out: the input is
decoded and its map made and encoded where the provider wants one, the result is decoded, hashed and forced to disk.
Nothing of that is recorded, checked or survives a crash; the difference to ours is what our promises cost.

Structure scores are off: they follow after the job has succeeded, beside what is timed next (`bench/score.py`).

Between two looks at a job we pause on purpose. The pauses are set to nothing for the comparison; the last column is the
whole time with them as they are. Run: `python -m bench.providers [rounds]`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import anyio
import httpx2
from anyio import to_thread
from PIL import Image

from bench.support.bare import SCRIPTS, Bare, PictureWork
from bench.support.command import run
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.providers.connections import Connections
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.placeholders import PictureSource, content_of
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.settings import Settings
from tests.support.hosted_providers import HOSTED, serving_all, serving_file
from tests.support.sample_drawings import house

ROUNDS, WARM_UPS, PAUSED_ROUNDS = 20, 3, 3
SIDE = 512
CALLER = Caller("local", local=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """One generation: milliseconds on the clock and of the processor."""

    wall_ms: float
    cpu_ms: float


async def timed(generate: Callable[[], Awaitable[None]]) -> Taken:
    """Time one generation."""
    wall, cpu = time.perf_counter(), time.process_time()
    await generate()
    return Taken((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took of each."""

    ours: Taken
    bare: Taken
    same_work: Taken


@dataclass(slots=True)
class Ours:
    """The application, asked for one picture after the other."""

    application: Application
    provider: str
    picture: str
    source: Path
    seed: int = 0

    async def makes_map(self) -> bool:
        """Whether the provider wants a map."""
        await self.generate()
        (job,) = (
            await self.application.services.jobs.store.page(
                CALLER.principal, status=None, provider=None, limit=1, cursor=None
            )
        ).jobs
        return job.control_map is not None

    async def generate(self) -> None:
        """Submit a request that was never made before, and wait until its picture is stored."""
        self.seed += 1
        request = GenerateRequest(
            prompt="a house at dawn",
            control_image=self.picture,
            provider=self.provider,
            width=SIDE,
            height=SIDE,
            seed=self.seed,
        )
        service = self.application.services.jobs
        job = await service.submit(request, CALLER)
        job = await service.wait(job, time.time() + 60)
        assert job.state == "succeeded", job

    async def calls(self) -> list[HttpCall]:
        """The calls of one generation."""
        with patch.object(Connections, "send", autospec=True, side_effect=Connections.send) as sent:
            await self.generate()
        return [row.args[2] for row in sent.call_args_list]


async def compare(ours: Ours, rounds: int, target: Path, link: str) -> tuple[list[Turn], float]:
    """Let the three take turns, with a link where the vendor fetches the picture.

    Gives all turns, and the median of ours with its pauses in milliseconds.
    """
    paused = [await timed(ours.generate) for _ in range(PAUSED_ROUNDS)]
    work = PictureWork(ours.source, target, makes_map=await ours.makes_map())
    script = SCRIPTS[ours.provider]
    with patch.object(PollPacer, "pause_seconds", autospec=True, return_value=0.0):
        calls = await ours.calls()
        submission = next(call for call in calls if call.submits)
        content = content_of(submission, PictureSource(ours.application.services.blobs, lambda _: link)) or b""
        async with httpx2.AsyncClient() as client:
            bare = Bare(client, submission, json.loads(content))

            async def generate() -> None:
                await anyio.Path(target).write_bytes(await script(bare))

            async def same_work() -> None:
                await to_thread.run_sync(work.prepare)
                await to_thread.run_sync(work.keep, await script(bare))

            await generate()
            assert bare.calls == len(calls), (bare.calls, calls)
            scripts = (ours.generate, generate, same_work)
            turns = [Turn(*[await timed(row) for row in scripts]) for _ in range(WARM_UPS + rounds)]
    return turns[WARM_UPS:], statistics.median(row.wall_ms for row in paused)


def show(provider: str, turns: list[Turn], paused_ms: float) -> None:
    """Print one provider."""
    median = statistics.median
    figures = (
        median(row.ours.wall_ms for row in turns),
        median(row.ours.wall_ms - row.bare.wall_ms for row in turns),
        median(row.ours.wall_ms - row.same_work.wall_ms for row in turns),
        median(row.ours.cpu_ms for row in turns),
        median(row.bare.cpu_ms for row in turns),
        median(row.same_work.cpu_ms for row in turns),
        median(row.ours.cpu_ms / row.bare.cpu_ms for row in turns),
        median(row.ours.cpu_ms / row.same_work.cpu_ms for row in turns),
        paused_ms,
    )
    print(f"{provider:<10}" + "{:9.1f}{:9.1f}{:11.1f}{:9.1f}{:8.1f}{:11.1f}{:9.2f}{:11.2f}{:13.0f}".format(*figures))


def serve(folder: Path) -> None:
    """Serve all simulators and the picture until stdin is closed; tells where they are."""
    with serving_all() as services, serving_file(folder / "house.png") as origin:
        variables = {name: text for service in services.values() for name, text in service.variables.items()}
        print(json.dumps({"variables": variables, "link": f"{origin}/house.png"}), flush=True)
        sys.stdin.read()


async def measure(folder: Path, served: Mapping[str, str], link: str, rounds: int) -> None:
    """Measure every hosted provider."""
    places = {"data_dir": folder / "data", "allowed_dirs": (folder,), "trusted_hosts": "127.0.0.1"}
    places["public_url"] = link.removesuffix("/house.png")
    settings = {**places, "keys": served, "structure_scores": False}
    print(f"{'':<10}  wall ms    over       over   CPU ms    bare       same    times      times         with")
    print(f"{'':<10}            bare  same work                       work     bare  same work       pauses")
    async with open_application(Settings.model_validate(settings)) as application:
        for provider in HOSTED:
            ours = Ours(application, provider, str(folder / "house.png"), folder / "house.png")
            show(provider, *await compare(ours, rounds, folder / "bare.png", link))


def main(rounds: int = ROUNDS, folder: str = "") -> None:
    """Measure; with a folder, serve instead."""
    if folder:
        serve(Path(folder))
        return
    with tempfile.TemporaryDirectory() as made:
        Image.fromarray(house(SIDE)).save(Path(made) / "house.png")
        command = [sys.executable, "-m", "bench.providers", str(rounds), made]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as simulators:
            assert simulators.stdin is not None
            assert simulators.stdout is not None
            told = json.loads(simulators.stdout.readline())
            anyio.run(measure, Path(made), told["variables"], told["link"], rounds)
            simulators.stdin.close()


if __name__ == "__main__":
    run(main)
