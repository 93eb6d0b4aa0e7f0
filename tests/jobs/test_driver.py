"""The runner: many jobs at a time, each by itself, until the process stops."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from tests.support.job_layer import JobLayer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


@asynccontextmanager
async def running(layer: JobLayer) -> AsyncGenerator[JobRunner]:
    """Drive a job layer until the block ends. Its clock stands still, so every pause is over at once or never."""
    runner = JobRunner(layer.driver, JobSubscriptions(layer.store), "one")
    async with anyio.create_task_group() as tasks:
        runner.start(tasks)
        yield runner
        tasks.cancel_scope.cancel()


async def until_ended(layer: JobLayer, job_id: str) -> str:
    """Wait for the end of a job, and give its status."""
    with anyio.fail_after(120):
        while not (job := await layer.read(job_id)).ended:
            await anyio.lowlevel.checkpoint()
    return job.status


async def test_jobs_of_earlier_processes_are_driven_from_the_start(tmp_path: Path) -> None:
    """Nobody has to ask for them."""
    async with open_job_layer(tmp_path, Service(submit=[broken(402)])) as layer:
        for number in range(5):
            await layer.add(f"job_{number}")
        async with running(layer):
            assert {await until_ended(layer, f"job_{number}") for number in range(5)} == {"failed"}


async def test_a_fault_in_one_job_does_not_stop_the_others(tmp_path: Path) -> None:
    """Not even a fault of this program, which goes to the log."""

    async def explode(request: httpx2.Request) -> None:
        if b"reference-of-bad" in request.content:
            raise RuntimeError("a fault of this program")

    async with open_job_layer(tmp_path, Service(submit=[broken(402)], before=explode)) as layer:
        await layer.add("job_bad", reference="reference-of-bad")
        await layer.add("job_good")
        async with running(layer):
            assert await until_ended(layer, "job_good") == "failed"
        assert (await layer.read("job_bad")).state == "submitting"


async def test_a_submission_is_finished_before_the_process_stops(tmp_path: Path) -> None:
    """Stopping waits for the answer of what was sent, so that it is not lost."""
    sent, answered = anyio.Event(), anyio.Event()

    async def hold(_request: httpx2.Request) -> None:
        sent.set()
        with anyio.move_on_after(0.3):
            await anyio.Event().wait()
        answered.set()

    async with open_job_layer(tmp_path, Service(before=hold)) as layer:
        await layer.add()
        with anyio.fail_after(120):
            async with running(layer):
                await sent.wait()
        assert answered.is_set()
        assert len(await layer.events("answer")) == 1


async def test_a_stopped_process_gives_its_jobs_back(tmp_path: Path) -> None:
    """The next one need not wait for the lease to run out."""
    async with open_job_layer(tmp_path, Service(poll=[says("running", eta=9)])) as layer:
        await layer.add()
        async with running(layer):
            with anyio.fail_after(120):
                while (await layer.read()).task is None:
                    await anyio.lowlevel.checkpoint()
        assert await layer.claim("two") is not None


async def test_waking_a_job_that_is_being_driven_starts_no_second_drive(tmp_path: Path) -> None:
    """However often it is woken, it is submitted once."""
    service = Service(poll=[says("running", eta=9)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        async with running(layer) as runner:
            with anyio.fail_after(120):
                while (await layer.read()).task is None:
                    runner.wake("job_1")
            for _ in range(20):
                runner.wake("job_1")
                await layer.read()
    assert service.count("POST", "jobs") == 1


async def test_few_submissions_are_in_flight_at_a_time(tmp_path: Path) -> None:
    """A sudden end can leave only those uncertain; the others wait in line, unsent, and get their turn."""
    in_flight, most, everybody = 0, 0, anyio.Event()

    async def hold(request: httpx2.Request) -> None:
        nonlocal in_flight, most
        if request.method != "POST":
            return
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 4:
            everybody.set()
        await everybody.wait()
        in_flight -= 1

    service = Service(submit=[broken(402)], before=hold)
    async with open_job_layer(tmp_path, service) as layer:
        for number in range(12):
            await layer.add(f"job_{number}")
        async with running(layer):
            assert {await until_ended(layer, f"job_{number}") for number in range(12)} == {"failed"}
    assert (most, service.count("POST", "jobs")) == (4, 12)
