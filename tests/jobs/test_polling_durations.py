"""What a data folder remembers of how long jobs took, and how a job is looked at because of it."""

from pathlib import Path

import httpx2
import pytest

from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.record import MOST_DURATIONS, JobKind
from controlnet_mcp.jobs.store import JobStore
from tests.support.job_layer import PICTURE_URL, JobLayer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

KIND = JobKind("scripted", "", 12)
DONE = says("succeeded", url=PICTURE_URL)


@pytest.fixture
def service(pictures: Path) -> Service:
    """Jobs that are done at the second look."""
    return Service(
        poll=[says("running"), DONE], download=[httpx2.Response(200, content=(pictures / "photo.png").read_bytes())]
    )


async def told(folder: Path, kind: JobKind = KIND) -> list[float]:
    """The durations as another process reads them."""
    database = Database(folder / "jobs.sqlite3")
    try:
        pacer = PollPacer(JobStore(database), lambda: 0.5)
        await pacer.load(kind)
        return list(pacer.known(kind))
    finally:
        database.close()


async def run(layer: JobLayer, job_id: str) -> None:
    """Drive one job to its end."""
    await layer.add(job_id)
    while not (await layer.step(job_id=job_id)).ended:
        pass


async def test_a_finished_job_leaves_the_middle_of_when_it_ended(tmp_path: Path, service: Service) -> None:
    """It ended between the last look that found it unfinished and the one that found it done."""
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        submitted = await layer.step()
        unfinished = await layer.step()
        await layer.steps()
        assert (submitted.accepted_at, submitted.looked_at) == (1_800_000_000.0, 1_800_000_000.0)
        seen_at = unfinished.wake_at
    assert unfinished.looked_at is not None
    (seconds,) = await told(tmp_path)
    assert seconds == pytest.approx((unfinished.looked_at + seen_at) / 2 - 1_800_000_000.0)
    assert unfinished.kind == KIND


async def test_what_was_learned_sets_the_pauses_of_the_next_process(tmp_path: Path, service: Service) -> None:
    """Three jobs that took eight seconds: the next one is left alone for most of that."""
    async with open_job_layer(tmp_path, service) as layer:
        for _ in range(3):
            layer.driver.pacer.add(KIND, 8.0)
        await run(layer, "job_1")
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add("job_2")
        job = await layer.step(job_id="job_2")
        assert job.accepted_at is not None
        assert 3 < job.wake_at - job.accepted_at < 8


async def test_only_the_last_jobs_of_a_kind_are_remembered(tmp_path: Path, service: Service) -> None:
    """Fifty of each kind, the newest, in memory as in the file; other kinds are not touched."""
    other = JobKind("scripted", "large", 12)
    async with open_job_layer(tmp_path, service) as layer:
        pacer = layer.driver.pacer
        await pacer.load(KIND)
        assert pacer.known(KIND) == ()
        pacer.add(other, 1.0)
        for number in range(MOST_DURATIONS + 10):
            pacer.add(KIND, float(number + 1))
        await layer.add()
        assert pacer.known(KIND) == tuple(float(number + 11) for number in range(MOST_DURATIONS))
    assert await told(tmp_path) == [float(number + 11) for number in range(MOST_DURATIONS)]
    assert await told(tmp_path, other) == [1.0]


async def test_a_computer_that_slept_teaches_nothing(tmp_path: Path, service: Service) -> None:
    """When the looks were too far apart, nobody knows when the job ended."""
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        await layer.step()
        layer.clock.now += 500
        assert (await layer.steps()).status == "succeeded"
    assert await told(tmp_path) == []


async def test_a_job_that_failed_teaches_nothing(tmp_path: Path) -> None:
    """Providers refuse faster than they draw."""
    async with open_job_layer(tmp_path, Service(poll=[says("running"), says("failed")])) as layer:
        await layer.add()
        assert (await layer.steps()).status == "failed"
    assert await told(tmp_path) == []


async def test_a_fault_between_the_looks_is_no_look(tmp_path: Path, service: Service) -> None:
    """A reply that says nothing of the job leaves the last look where it was, and the pauses as they were."""
    service.poll = [says("running"), broken(500), says("running"), DONE]
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        looked = await layer.step()
        failed = await layer.step()
        answered = await layer.step()
    assert failed.looked_at == looked.looked_at
    assert answered.looked_at == answered.updated_at
    assert answered.wake_at - answered.updated_at < 2


async def test_sizes_that_differ_much_are_kinds_of_their_own(tmp_path: Path, service: Service) -> None:
    """Four pictures are not expected to take as long as one."""
    async with open_job_layer(tmp_path, service) as layer:
        job = await layer.add()
    four = job.request.model_copy(update={"num_images": 4})
    wider = job.request.model_copy(update={"width": job.request.width + 8})
    kinds = [job.model_copy(update={"request": request}).kind for request in (four, job.request, wider)]
    assert kinds[0] != kinds[1] == kinds[2]
