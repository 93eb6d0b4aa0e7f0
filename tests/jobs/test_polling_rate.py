"""E6: how often a provider is asked how jobs stand, by all processes on a data folder together."""

import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.providers.registry import NAMES, adapter_class
from controlnet_mcp.providers.types import Capabilities, LookRate
from tests.support.job_layer import Clock

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

FIVE = LookRate()
MINUTE = LookRate(per_second=1.0, at_once=10)


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None) -> AsyncGenerator[JobStore]:
    """The record as one process has it open."""
    database = Database(folder / "jobs.sqlite3")
    try:
        yield JobStore(database, clock or time.time)
    finally:
        database.close()


async def test_e6_two_processes_share_one_bucket(tmp_path: Path) -> None:
    """E6: what one takes the other has to wait for; other providers have buckets of their own."""
    clock = Clock()
    async with opened(tmp_path, clock) as one, opened(tmp_path, clock) as two:
        assert await one.take_looks("scenario", 1, FIVE) == 0
        assert await two.take_looks("scenario", 1, FIVE) == pytest.approx(0.2)
        assert await two.take_looks("fal", 1, FIVE) == 0
        clock.now += 0.2
        assert await two.take_looks("scenario", 1, FIVE) == 0
        assert await one.take_looks("scenario", 1, FIVE) == pytest.approx(0.2)


async def test_e6_a_bucket_holds_no_more_than_its_tokens(tmp_path: Path) -> None:
    """E6: ten at once after an hour of rest, then one a second."""
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        for _ in range(2):
            taken = [await store.take_looks("segmind", 1, MINUTE) for _ in range(12)]
            assert taken == [0] * 10 + [pytest.approx(1.0)] * 2
            clock.now += 3600


async def test_e6_a_clock_that_is_set_back_stops_nobody_for_long(tmp_path: Path) -> None:
    """E6: the bucket is not empty for an hour because of it."""
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        assert await store.take_looks("scenario", 1, FIVE) == 0
        clock.now -= 3600
        assert await store.take_looks("scenario", 1, FIVE) == 0
        assert await store.take_looks("scenario", 1, FIVE) == pytest.approx(0.2)


async def test_e6_many_jobs_of_two_processes_wait_their_turns(tmp_path: Path) -> None:
    """E6: forty looks at twenty a second take two seconds; nobody waits for a provider without a limit."""
    rates = {"slow": LookRate(per_second=20.0), "free": LookRate(per_second=math.inf)}

    def capabilities_of(name: str) -> Capabilities:
        return Capabilities(modalities={}, looks=rates[name])

    async with opened(tmp_path) as one, opened(tmp_path) as two:
        pacers = [PollPacer(store, lambda: 0.5, capabilities_of) for store in (one, two)]
        begun = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(pacers[number % 2].turn, "slow")
        assert time.monotonic() - begun >= 39 / 20 - 0.1
        with anyio.fail_after(5):
            for _ in range(1000):
                await pacers[0].turn("free")


def test_e6_every_provider_has_a_rate() -> None:
    """E6: a documented limit, or five a second; the engine in this process has none."""
    rates = {name: adapter_class(name).capabilities.looks for name in NAMES}
    assert {name for name, rate in rates.items() if rate == FIVE} == {"scenario", "zhiqite", "modelslab", "fal"}
    assert {name for name, rate in rates.items() if math.isinf(rate.per_second)} == {"draft"}
    for name, a_minute in (("wavespeed", 5000), ("segmind", 50)):
        assert rates[name].per_second * 60 + rates[name].at_once <= a_minute
