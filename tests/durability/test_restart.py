"""Jobs outlive the process: what one left behind the next one finishes, and two at once share the work."""

from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from pydantic import JsonValue

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.server.settings import Settings
from tests.support.mcp_session import open_session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


def waiting(seconds: float) -> dict[str, JsonValue]:
    """Arguments of a job that waits in line."""
    return {"wait_seconds": 0, "provider_options": {"simulate": "queued", "seconds": seconds}}


async def test_a_job_is_finished_by_the_next_process(settings: Settings) -> None:
    """It was submitted by a server that is gone, and its picture is there."""
    async with open_session(settings) as session:
        first = (await session.generate(**waiting(0.5))).job
        assert first.status == "queued"
    async with open_session(settings) as session:
        job = (await session.call("job_status", job_id=first.job_id, wait_seconds=20)).job
        assert job.status == "succeeded", job.error
        assert job.images is not None
        assert await session.read_picture(job.images[0].uri)
    assert (job.created_at, job.seed) == (first.created_at, first.seed)


async def test_a_job_is_finished_even_if_nobody_asks(settings: Settings) -> None:
    """The next process drives it by itself from its start."""
    async with open_session(settings) as session:
        first = (await session.generate(**waiting(0.2))).job
    async with open_session(settings) as session:
        service = session.application.services.jobs
        with anyio.fail_after(120):
            while not (await service.store.get(first.job_id, "local")).ended:
                await anyio.lowlevel.checkpoint()


async def test_a_restart_gives_the_same_picture(settings: Settings) -> None:
    """What was promised before is delivered after, byte for byte."""
    async with open_session(settings) as session:
        straight = (await session.generate(seed=9)).job
        first = (await session.generate(seed=9, **waiting(0.3))).job
    async with open_session(settings) as session:
        resumed = (await session.call("job_status", job_id=first.job_id, wait_seconds=20)).job
    assert straight.images is not None
    assert resumed.images is not None
    assert resumed.images[0].sha256 == straight.images[0].sha256


async def test_a_request_key_holds_across_a_restart(settings: Settings) -> None:
    """A host that was restarted together with the server does not buy twice."""
    async with open_session(settings) as session:
        first = (await session.generate(request_key="k")).job
    async with open_session(settings) as session:
        again = (await session.generate(request_key="k")).job
    assert again == first


async def test_a_call_that_died_with_the_server_is_found_again(settings: Settings) -> None:
    """No answer went out, so the same arguments give the same job in the next process."""
    async with open_session(settings) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: session.generate(**(waiting(0.3) | {"wait_seconds": 20})))
        store = session.application.services.jobs.store
        with anyio.fail_after(120):
            while not (await store.page("local", status=None, provider=None, limit=1, cursor=None)).jobs:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    async with open_session(settings) as session:
        await session.generate(**(waiting(0.3) | {"wait_seconds": 20}))
        store = session.application.services.jobs.store
        assert len((await store.page("local", status=None, provider=None, limit=9, cursor=None)).jobs) == 1


async def test_two_processes_share_one_folder(settings: Settings) -> None:
    """Either can show, wait for and stop what the other one started."""
    async with open_session(settings) as one, open_session(settings) as two:
        job_id = (await one.generate(**waiting(0.6))).job.job_id
        assert (await two.call("job_status", job_id=job_id)).job.status == "queued"
        assert (await two.call("job_status", job_id=job_id, wait_seconds=20)).job.status == "succeeded"
        job_id = (await one.generate(prompt="another", **waiting(60))).job.job_id
        assert (await two.call("cancel_job", job_id=job_id)).job.status == "canceled"
        assert (await one.call("job_status", job_id=job_id)).job.status == "canceled"


async def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    """On an empty folder, too: none is told that the record is locked."""
    databases = [Database(tmp_path / "jobs.sqlite3") for _ in range(6)]

    async def look(database: Database) -> None:
        assert await database.rows("SELECT count(*) FROM jobs") == [(0,)]
        await to_thread.run_sync(database.close)

    async with anyio.create_task_group() as tasks:
        for database in databases:
            tasks.start_soon(look, database)
