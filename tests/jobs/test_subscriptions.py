"""Waiting for jobs: one look for all, nothing left behind, and no wait that touches a job."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from controlnet_mcp.foundation.errors import StorageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.prepare import Preparer
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.service import JobService
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.server.transports.shutdown import background
from tests.support.job_layer import PRINCIPAL, JobLayer, Service, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
WAITERS = 200


class CountingStore(JobStore):
    """Counts reads, and fails when told to."""

    def __init__(self, database: Database) -> None:
        """Nothing was read yet."""
        super().__init__(database)
        self.reads = 0
        self.broken = False

    async def get(self, job_id: str, principal: str) -> JobRecord:
        """Read a job."""
        self.reads += 1
        if self.broken:
            raise StorageError("not_configured", "The disk is asleep.")
        return await super().get(job_id, principal)


@dataclass(frozen=True, slots=True)
class FollowedJob:
    """Where callers wait: one job of a scripted service, whose every step a test takes.

    Attributes:
        asleep: How many tasks there are while nobody waits.
    """

    layer: JobLayer
    store: CountingStore
    runner: JobRunner
    service: JobService
    asleep: int
    seen: list[JobRecord] = field(default_factory=list[JobRecord])

    async def job(self) -> JobRecord:
        """The job as it is written down."""
        return await self.layer.read()

    async def wait(self, seconds: float = 20) -> None:
        """Wait for the job as a caller does, and note how it stands then."""
        self.seen.append(await self.service.wait(await self.job(), time.time() + seconds))

    async def until(self, holds: Callable[[JobRecord], bool]) -> JobRecord:
        """Drive on until something holds of the job."""
        while not holds(job := await self.job()):
            with self.service.subscriptions.follow(job) as followed, anyio.move_on_after(0.2):
                self.runner.wake(job.job_id)
                await followed.after(followed.job)
        return job

    async def emptied(self) -> None:
        """Nobody is waited on any more: no watch, no task."""
        while self.service.subscriptions.followed or len(anyio.get_running_tasks()) > self.asleep:
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def followed_job(folder: Path, *polls: float) -> AsyncGenerator[FollowedJob]:
    """Drive one job of a scripted service step by step; the clock stands still, so it moves only when it is woken.

    Args:
        folder: The data folder.
        polls: What the service tells of progress, poll by poll; then the job fails, and nothing has to be fetched.
    """
    accepted = [says("queued", 201, eta=9)]  # the first pause is real time, too
    told = [says("running", progress=value, eta=9) for value in polls]
    with closing(Database(folder / "jobs.sqlite3")) as database, anyio.fail_after(120):
        async with open_job_layer(folder, Service(accepted, [*told, says("failed")])) as layer, background() as tasks:
            store = CountingStore(database)
            watch = JobSubscriptions(store)
            runner = JobRunner(layer.driver, watch, "one")
            watch.start(tasks)
            reader = PictureReader(
                blobs=layer.blobs,
                limits=Limits(),
                allowed_folders=(),
                trusted_hosts=frozenset(),
                resolve_resource=_none,
            )
            preparer = Preparer((), reader, layer.blobs, reachable=False)
            service = JobService(store, preparer, runner, watch, layer.sender, time.time, 600, 3)
            await layer.add()
            runner.start(tasks)
            await anyio.wait_all_tasks_blocked()
            while (await layer.read()).task is None:  # not woken: a job that was submitted meanwhile would go on
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            yield FollowedJob(layer, store, runner, service, len(anyio.get_running_tasks()))


async def _none(uri: str, _principal: str) -> str:
    raise AssertionError(uri)


async def test_many_who_wait_cost_one_look_per_change(tmp_path: Path) -> None:
    """Two hundred callers, four changes: about as many reads as for one caller, and all see the end."""
    async with followed_job(tmp_path, 0.2, 0.4, 0.6) as place:
        async with anyio.create_task_group() as tasks:
            for _ in range(WAITERS):
                tasks.start_soon(place.wait)
            await anyio.wait_all_tasks_blocked()
            assert place.service.subscriptions.followed == 1
            await place.until(lambda job: job.ended)
        assert [job.status for job in place.seen] == ["failed"] * WAITERS
        assert place.store.reads <= 10
        await place.emptied()


async def test_a_change_during_a_look_is_not_missed(tmp_path: Path) -> None:
    """Nobody looks again by the clock before five seconds are over, and the end is seen at once."""
    async with followed_job(tmp_path, *(number / 100 for number in range(30))) as place:
        with anyio.fail_after(4):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(place.wait)
                await place.until(lambda job: job.ended)
        assert place.seen[0].ended


async def test_callers_that_leave_cost_nothing(tmp_path: Path) -> None:
    """They are cancelled, as by a disconnect: no task, no watch and no event stays; the job is as it was."""
    async with followed_job(tmp_path, 0.2) as place:
        before, requests = await place.job(), len(place.layer.service.requests)
        async with anyio.create_task_group() as tasks:
            for _ in range(WAITERS):
                tasks.start_soon(place.wait)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await place.emptied()
        assert place.seen == []
        assert await place.job() == before
        assert len(place.layer.service.requests) == requests


async def test_one_who_leaves_does_not_disturb_the_others(tmp_path: Path) -> None:
    """Not even the first, for whom looking began."""
    async with followed_job(tmp_path, 0.2) as place:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as first:
                async with anyio.create_task_group() as impatient:
                    impatient.start_soon(place.wait)
                    await anyio.wait_all_tasks_blocked()
                    tasks.start_soon(place.wait)
                    await anyio.wait_all_tasks_blocked()
                    first.cancel()
            await place.until(lambda job: job.ended)
        assert [job.status for job in place.seen] == ["failed"]


async def test_a_wait_that_runs_out_never_touches_the_job(tmp_path: Path) -> None:
    """Nothing is written, nothing is asked of the vendor, and the job goes on as if nobody had waited."""
    async with followed_job(tmp_path, 0.2) as place:
        before, requests = await place.job(), len(place.layer.service.requests)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(place.wait, 0.05)
        assert place.seen == [before] * 20
        assert await place.job() == before
        assert len(place.layer.service.requests) == requests
        await place.emptied()
        assert (await place.until(lambda job: job.ended)).status == "failed"


async def test_a_record_that_cannot_be_read_for_a_while_ends_no_wait(tmp_path: Path) -> None:
    """Another process drives the job; the wait goes on, and sees the end once the record is back."""
    async with followed_job(tmp_path, 0.2) as place, background() as looking:
        watch = JobSubscriptions(place.store)
        watch.start(looking)
        place.store.broken = True
        with watch.follow(await place.job()) as sight:
            await place.until(lambda job: job.progress == 0.2)
            assert place.store.reads == 1
            place.store.broken = False
            await place.until(lambda job: job.ended)
            while not sight.job.ended:
                await sight.after(sight.job)
        assert sight.job.status == "failed"


async def test_what_this_process_does_with_a_job_is_seen_without_reading_the_record(tmp_path: Path) -> None:
    """A caller is told of every look, also of those that are not worth a write, and a broken record hides nothing."""
    async with followed_job(tmp_path, 0.2, 0.2) as place:
        place.store.broken = True
        with place.service.subscriptions.follow(await place.job()) as sight:
            for _ in range(2):
                before = sight.job
                place.layer.clock.now += 1
                place.runner.wake(before.job_id)
                await sight.after(before)
                assert (sight.job.progress, sight.job.looked_at == before.looked_at) == (0.2, False)
        assert place.store.reads == 0


async def test_a_watch_that_is_closed_lets_nobody_wait(tmp_path: Path) -> None:
    """The process ends: callers are given the job as it stands, those that come later too."""
    async with followed_job(tmp_path, 0.2) as place:
        before = await place.job()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.wait)
            await anyio.wait_all_tasks_blocked()
            place.service.subscriptions.close()
        await place.wait()
        assert place.seen == [before, before]


@pytest.mark.timeout(20)
async def test_a_watch_that_is_closed_waits_for_no_scores(tmp_path: Path) -> None:
    """The process ends while the pictures of a job are scored: its callers neither wait nor keep the event loop."""
    async with followed_job(tmp_path, 0.2) as place:
        unscored = (await place.job()).model_copy(update={"state": "succeeded", "measured": False})
        assert place.service.subscriptions.drives(unscored.job_id)
        place.service.subscriptions.close()
        assert (await place.service.scored(unscored, 5)).job_id == unscored.job_id


async def test_announcements_keep_their_distance(tmp_path: Path) -> None:
    """However often the job changes, the first change and the end are told, and hardly anything between."""
    async with followed_job(tmp_path, *(number / 100 for number in range(20))) as place:
        told: list[tuple[float, JobRecord]] = []

        async def tell(job: JobRecord) -> None:
            told.append((anyio.current_time(), job))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                place.service.subscriptions.announce, await place.layer.store.get("job_1", PRINCIPAL), tell, 0.3
            )
            await anyio.wait_all_tasks_blocked()
            await place.until(lambda job: job.ended)
        moments = [moment for moment, _ in told]
        assert told[-1][1].ended
        assert 2 <= len(told) < 10
        assert all(later - earlier >= 0.29 for earlier, later in pairwise(moments))
