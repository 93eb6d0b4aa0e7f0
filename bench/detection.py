"""How soon after its end a job is noticed, and with how many requests.

First in real time: the application as it runs, from `JobService.submit` to the stored picture, against
`bench.support.vendor`; jobs of 2.05 to 3.81 s one after the other, after ten jobs of history. Lag is what passes beyond
the job's own seconds until the caller has its answer; it holds submission, download, the proof that it is a picture,
and storage. The floor is bare httpx2 that knows the duration: one look, download, write. Then on a simulated clock,
since those jobs would take hours: the same policy beside fixed intervals, thousands of jobs, nothing but the waiting.

Peers' figures are those of the same sweep, taken through their own servers against a provider on this machine in
November 2026 (mean and longest lag in milliseconds, polls).
Run: `python -m bench.detection [passes]`; a pass of the sweep takes half a minute.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
from PIL import Image

from bench.support import crowd
from bench.support.command import run
from bench.support.vendor import KEY, MODEL, vendor
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.settings import Settings
from tests.support.polling_simulation import SWEEP, WORKLOADS, Found, fixed, mean_lag, mean_requests, seeded, series
from tests.support.sample_drawings import house

CALLER = Caller("local", local=True)
PASSES, BEFORE = 2, 10
SERIES, JOBS = 20, 60
PEERS = (
    ("wavespeed-mcp, every 0.5 s", 258, 466, 5),
    ("@wavespeed/mcp, every 2 s", 1082, 1962, 2),
    ("joenorton, every 1 s", 540, 992, 4),
    ("runware-mcp video, 2 s x 1.5", 2099, 2982, 2),
    ("replicate-mcp, held request", 9, 15, 0),
)


@dataclass(frozen=True, slots=True)
class Noticed:
    """One job in real time."""

    lag_ms: float
    looks: int


async def generate(application: Application, control: Path, seconds: float, size: int) -> float:
    """Have one picture made; gives the lag in milliseconds."""
    request = GenerateRequest(
        prompt=f"a house at {time.time_ns()} that takes {seconds}",
        control_image=str(control),
        control_is_map=True,
        provider="wavespeed",
        model=MODEL,
        width=size,
        height=size,
    )
    service = application.services.jobs
    start = time.perf_counter()
    job = await service.wait(await service.submit(request, CALLER), time.time() + 60)
    assert job.state == "succeeded", job
    return (time.perf_counter() - start - seconds) * 1000


async def sweep(application: Application, origin: str, control: Path) -> list[Noticed]:
    """One job of every duration."""
    noticed: list[Noticed] = []
    async with httpx2.AsyncClient() as client:
        for seconds in SWEEP:
            lag = await generate(application, control, seconds, 512)
            looks = json.loads((await client.get(f"{origin}/looks")).content)
            noticed.append(Noticed(lag, looks[-1]))
    return noticed


async def bare(origin: str, folder: Path) -> list[Noticed]:
    """The sweep by bare httpx2, which looks once, when the job is done."""
    noticed: list[Noticed] = []
    async with crowd.client() as sender:
        for seconds in SWEEP:
            start = time.perf_counter()
            await crowd.generate(sender, origin, seconds, 1, folder / f"bare {seconds}.jpg")
            noticed.append(Noticed((time.perf_counter() - start - seconds) * 1000, 1))
    return noticed


def show(title: str, noticed: Sequence[Noticed]) -> None:
    """Print one row of the sweep."""
    lags, looks = [row.lag_ms for row in noticed], [row.looks for row in noticed]
    print(f"{title:<34}{statistics.fmean(lags):9.0f}{max(lags):9.0f}{statistics.fmean(looks):9.1f}{max(looks):9}")


async def real_time(passes: int) -> None:
    """The sweep in real time."""
    with vendor() as origin, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        Image.fromarray(house(512)).save(folder / "map.png")
        keys = {"WAVESPEED_API_KEY": KEY, "WAVESPEED_BASE_URL": origin}
        settings = {"data_dir": folder / "data", "allowed_dirs": (folder,), "keys": keys}
        async with open_application(Settings.model_validate(settings)) as application:
            control = folder / "map.png"
            await generate(application, control, 0.1, 1536)  # loads libraries, uploads the map
            for index in range(BEFORE):
                await generate(application, control, seeded(index).choice(SWEEP), 512)
            known = [row for _ in range(passes) for row in await sweep(application, origin, control)]
            floors = [row for _ in range(passes) for row in await bare(origin, folder)]
    show(f"ours, after {BEFORE} jobs, and learning", known)
    show("floor: told when to look", floors)


def simulated(name: str) -> None:
    """Print one workload of the simulated clock."""
    draw = WORKLOADS[name]
    new = [row for seed in range(1000) for row in series(draw, 1, seeded(seed))]
    runs = [series(draw, JOBS, seeded(seed)) for seed in range(SERIES)]
    ten = [row for run in runs for row in run[10:20]]
    many = [row for run in runs for row in run[50:]]
    interval = statistics.fmean(draw(seeded(seed)) for seed in range(4000)) / (mean_requests(many) - 0.5)
    rows = (
        ("fixed 3 s", fixed(draw, 4000, seeded(1), 3.0)),
        ("fixed 2 s", fixed(draw, 4000, seeded(1), 2.0)),
        ("ours, no history", new),
        ("ours, after 10 jobs", ten),
        ("ours, after 50 jobs", many),
        (f"fixed {interval:.2f} s, as many requests", fixed(draw, 4000, seeded(1), interval)),
    )
    for title, found in rows:
        _show_simulated(f"{name}: {title}", found)


def _show_simulated(title: str, found: Sequence[Found]) -> None:
    slow = statistics.quantiles([row.lag_seconds for row in found], n=20)[18]
    most = max(row.requests for row in found)
    print(f"{title:<50}{mean_lag(found):8.2f}{slow:8.2f}{mean_requests(found):9.2f}{most:8}")


def main(passes: int = PASSES) -> None:
    """Measure."""
    print(f"{'real time, 2.05 to 3.81 s':<34}{'lag ms':>9}{'longest':>9}{'looks':>9}{'most':>9}")
    anyio.run(real_time, passes)
    for title, *figures in PEERS:
        print("{:<34}{:9}{:9}{:9}".format(title, *figures))
    print(f"\n{'simulated clock':<50}{'lag s':>8}{'p95':>8}{'requests':>9}{'most':>8}")
    for name in WORKLOADS:
        simulated(name)


if __name__ == "__main__":
    run(main)
