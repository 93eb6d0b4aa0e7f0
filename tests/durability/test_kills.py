"""Real processes that die or freeze at an exact moment, struck by the simulator that they talk to; another takes over.

Every strike has its own data folder, simulator and processes, and they run side by side: what takes long is waiting for
the leases of the dead.
"""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
import pytest
from anyio import to_thread
from pydantic import JsonValue
from starlette.types import ASGIApp

from controlnet_mcp.tools.views import Job
from tests.support.hosted_providers import SIMULATIONS, serving_file
from tests.support.request_interrupter import Moment, RequestInterrupter
from tests.support.server_process import Pipe, Place, piped
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import Studio
from tests.support.simulators.wavespeed import WaveSpeedStudio, wavespeed
from tests.support.simulators.zhiqite import ROOT, ZhiqiteSimulator

pytestmark = pytest.mark.anyio

Vendor: TypeAlias = Literal["wavespeed", "zhiqite"]
"""One that can neither be asked about our reference nor recognises it, and one that can be asked."""
LEASE_SECONDS = "2"
LONGEST_SECONDS = 120
SETTLED = frozenset({"succeeded", "failed", "canceled", "uncertain"})
PATHS: dict[Vendor, dict[str, tuple[str, str]]] = {
    "wavespeed": {
        "upload": ("PUT", "/storage/"),
        "submit": ("POST", "/wavespeed-ai/"),
        "poll": ("GET", "/predictions/"),
        "download": ("GET", "/outputs/"),
    },
    "zhiqite": {
        "submit": ("POST", f"{ROOT}/controlnet"),
        "poll": ("POST", f"{ROOT}/queryTaskInfo"),
        "download": ("GET", "/results/"),
    },
}
"""The steps of a job, by method and a part of the path."""


@dataclass(frozen=True, slots=True)
class Strike:
    """Where a process is struck, and what may come of it.

    Attributes:
        statuses: What the job may end as; a look-up that finds nothing takes long, so `queued` stands for it.
        charges: What it may have cost.
        freezes: Whether it is stopped and goes on later, instead of dying.
    """

    vendor: Vendor
    step: str
    moment: Moment
    statuses: tuple[str, ...] = ("succeeded",)
    charges: tuple[int, ...] = (1,)
    freezes: bool = False

    def __str__(self) -> str:
        """For the names of tests and folders."""
        return f"{self.vendor}-{self.step}-{self.moment}{'-frozen' * self.freezes}"


UNHEARD = Strike("wavespeed", "submit", "answered", ("uncertain",))
FOUND = Strike("zhiqite", "submit", "answered")
HALFWAY = Strike("wavespeed", "download", "halfway")
FROZEN = Strike("wavespeed", "submit", "answered", freezes=True)
SOME = (UNHEARD, FOUND, HALFWAY, FROZEN)
ALL = (
    Strike("wavespeed", "upload", "arrived"),
    Strike("wavespeed", "upload", "delivered"),
    Strike("wavespeed", "submit", "arrived", ("uncertain",), (0,)),
    Strike("wavespeed", "submit", "delivered", ("uncertain", "succeeded")),
    *(Strike("wavespeed", "poll", moment) for moment in ("arrived", "answered", "delivered")),
    *(Strike("wavespeed", "download", moment) for moment in ("arrived", "answered", "delivered")),
    Strike("zhiqite", "submit", "arrived", ("queued",), (0,)),
    Strike("zhiqite", "submit", "delivered"),
    *(Strike("zhiqite", step, moment) for step in ("poll", "download") for moment in ("arrived", "halfway")),
    Strike("wavespeed", "upload", "delivered", freezes=True),
    Strike("wavespeed", "poll", "answered", freezes=True),
    Strike("wavespeed", "download", "halfway", freezes=True),
    Strike("zhiqite", "submit", "answered", freezes=True),
    Strike("zhiqite", "poll", "answered", freezes=True),
)


@dataclass(frozen=True, slots=True)
class Simulated:
    """A vendor on this machine."""

    app: ASGIApp
    studio: Studio
    variables: dict[str, str]


def simulated(vendor: Vendor, origin: str) -> Simulated:
    """Make a vendor whose jobs take a few looks."""
    address = {f"{vendor.upper()}_BASE_URL": origin, "CONTROLNET_MCP_LEASE_SECONDS": LEASE_SECONDS}
    variables = {**SIMULATIONS[vendor].keys, **address, "CONTROLNET_MCP_TRUSTED_HOSTS": "127.0.0.1"}
    if vendor == "zhiqite":
        service = ZhiqiteSimulator(origin)
        return Simulated(service.app(), service.studio, variables)
    studio = WaveSpeedStudio(origin=origin)
    return Simulated(wavespeed(studio), studio, variables)


async def ask(pipe: Pipe, tool: str, **arguments: JsonValue) -> Job:
    """Call a tool that answers with a job."""
    result, _ = await pipe.ask("tools/call", name=tool, arguments=arguments)
    match result:
        case {"content": [{"type": "text", "text": str(text)}, *_], "isError": False}:
            return Job.model_validate_json(text)
        case _:
            raise AssertionError(result)


async def newest(pipe: Pipe) -> str:
    """The id of the only job."""
    while True:
        result, _ = await pipe.ask("tools/call", name="list_jobs", arguments={})
        match result:
            case {"structuredContent": {"jobs": [{"job_id": str(job_id)}]}}:
                return job_id
            case _:
                await anyio.lowlevel.checkpoint()


async def submitted(pipe: Pipe, strike: Strike, link: str) -> None:
    """Ask for a picture; the process may not live to answer."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead):
        await ask(
            pipe,
            "controlnet_generate",
            prompt="a house at dawn",
            control_image=link,
            provider=strike.vendor,
            width=256,
            height=256,
            wait_seconds=30,
        )


async def ended(pipe: Pipe, job_id: str, strike: Strike) -> Job:
    """Wait for what a job becomes."""
    while True:
        job = await ask(pipe, "job_status", job_id=job_id, wait_seconds=2)
        if job.status in SETTLED or (job.status in strike.statuses and "reference" in (job.stage or "")):
            return job


async def survive(strike: Strike, folder: Path, pictures: Path, link: str) -> None:
    """Strike a server, let another one go on, and see what became of the job and of the money."""
    await anyio.Path(folder).mkdir()
    listening = free_socket()
    service = simulated(strike.vendor, origin_of(listening))
    method, path = PATHS[strike.vendor][strike.step]
    interrupter = RequestInterrupter(service.app, method, path, strike.moment)
    place = Place(folder / "data", pictures)
    service.variables["CONTROLNET_MCP_PUBLIC_URL"] = link.removesuffix("/sketch.png")
    with running(interrupter, listening):
        async with piped(place, folder / "one", **service.variables) as one, anyio.create_task_group() as tasks:
            hit = signal.SIGSTOP if strike.freezes else signal.SIGKILL
            interrupter.strike = lambda: os.kill(one.process.pid, hit)
            tasks.start_soon(submitted, one, strike, link)
            assert await to_thread.run_sync(interrupter.struck.wait, LONGEST_SECONDS)
            async with piped(place, folder / "two", **service.variables) as two:
                await taken_over(one, two, strike)
            with suppress(ProcessLookupError):
                one.process.kill()
    assert service.studio.charges in strike.charges, str(strike)


async def taken_over(one: Pipe, two: Pipe, strike: Strike) -> None:
    """Wait for what the job becomes in the hands of the second process, and of the first one when it wakes."""
    job_id = await newest(two)
    job = await ended(two, job_id, strike)
    if strike.freezes:
        os.kill(one.process.pid, signal.SIGCONT)
        while job.status not in strike.statuses:
            job = await ask(two, "job_status", job_id=job_id, wait_seconds=1)
    assert job.status in strike.statuses, (str(strike), job)


async def survive_all(strikes: Sequence[Strike], folder: Path, pictures: Path) -> None:
    """Let every strike happen, a few at a time."""
    few = anyio.CapacityLimiter(4)

    async def one(strike: Strike, link: str) -> None:
        async with few:
            with anyio.fail_after(LONGEST_SECONDS, reason=str(strike)):
                await survive(strike, folder / str(strike), pictures, link)

    with serving_file(pictures / "sketch.png") as origin:
        async with anyio.create_task_group() as tasks:
            for strike in strikes:
                tasks.start_soon(one, strike, f"{origin}/sketch.png")


async def test_a_killed_process_neither_buys_twice_nor_loses_a_picture(tmp_path: Path, pictures: Path) -> None:
    """The worst moments: bought but unheard of, half a picture, and asleep while another gave up."""
    await survive_all(SOME, tmp_path, pictures)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
async def test_no_moment_is_worse_than_another(tmp_path: Path, pictures: Path) -> None:
    """Every step, at every moment of its request."""
    await survive_all(ALL, tmp_path, pictures)
