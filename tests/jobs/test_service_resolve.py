"""Late answers, second charges, and a person's word on a submission whose outcome was not known."""

from pathlib import Path

import httpx2
import pytest

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import Lease, LeaseLostError
from controlnet_mcp.jobs.submission_log import DENIAL, MOST_LOOK_UPS, SubmissionEvent, accepted_as
from controlnet_mcp.providers.types import RemoteTask, Report, Submission
from controlnet_mcp.tools.views import job_view
from tests.support.job_layer import LEASE_SECONDS, PICTURE_URL, JobLayer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

LOST = httpx2.ReadTimeout("no answer")
DONE = says("succeeded", url=PICTURE_URL)


@pytest.fixture
def picture(pictures: Path) -> httpx2.Response:
    """A finished picture as the provider serves it."""
    return httpx2.Response(200, content=(pictures / "photo.png").read_bytes())


async def uncertain(layer: JobLayer) -> JobRecord:
    """A job whose submission was sent, and of which nothing was heard."""
    await layer.add()
    job = await layer.step()
    assert job.status == "uncertain"
    return job


async def resolve(layer: JobLayer, event: SubmissionEvent, *, ends: bool = False) -> bool:
    """Write a finding as the job service does."""
    return await layer.store.resolve("job_1", event, None if ends else layer.clock.now + 600)


async def test_a_job_goes_on_with_the_task_that_a_person_found(tmp_path: Path, picture: httpx2.Response) -> None:
    """The provider's id is enough: the picture comes home, and nothing is sent again."""
    service = Service(submit=[LOST], poll=[DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await uncertain(layer)
        assert await resolve(layer, accepted_as("task-77"))
        job = await layer.steps()
    assert (job.status, job.task, len(job.images)) == ("succeeded", RemoteTask(remote_id="task-77"), 1)
    assert service.count("POST", "jobs") == 1


async def test_a_job_that_was_not_accepted_has_failed(tmp_path: Path) -> None:
    """Nothing was bought, and the caller may ask anew."""
    async with open_job_layer(tmp_path, Service(submit=[LOST])) as layer:
        await uncertain(layer)
        assert await resolve(layer, DENIAL, ends=True)
        job = await layer.read()
        assert not await resolve(layer, accepted_as("task-1")), "only an uncertain job can be resolved"
    assert job.status == "failed"
    assert job.fault is not None
    assert "Nothing was bought" in job.fault.message


async def test_a_job_is_sent_again_when_a_person_says_so(tmp_path: Path) -> None:
    """Once, and a second loss is uncertain again."""
    service = Service(submit=[LOST, LOST, says("queued", 201)])
    async with open_job_layer(tmp_path, service) as layer:
        await uncertain(layer)
        for expected in ("uncertain", "queued"):
            assert await resolve(layer, DENIAL)
            assert (await layer.step()).status == expected
    assert service.count("POST", "jobs") == 3


async def test_an_answer_that_comes_after_the_end_is_resumed(tmp_path: Path, picture: httpx2.Response) -> None:
    """A process that slept through its lease heard what another one gave up on: the picture comes home."""
    service = Service(poll=[DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        old = await layer.claim("sleeper")
        assert old is not None

        async def sleep(_request: object) -> None:
            layer.clock.now += LEASE_SECONDS + 1
            service.before = None
            assert (await layer.step("other")).status == "uncertain"

        service.before = sleep
        with pytest.raises(Exception, match="job_1"):
            await layer.driver.step(*old)
        job = await layer.steps()
    assert (job.status, len(job.images), job.orphans) == ("succeeded", 1, ())
    assert service.count("POST", "jobs") == 1


async def test_a_second_charge_is_told(tmp_path: Path) -> None:
    """A person said that it was not accepted and had it sent again, and then the first answer turned up."""
    async with open_job_layer(tmp_path, Service(submit=[LOST, says("queued", 201)], poll=[says("running")])) as layer:
        job = await uncertain(layer)
        assert await resolve(layer, DENIAL)
        await layer.step()
        late = Submission(task=RemoteTask(remote_id="task-0"), report=Report(phase="queued"))
        nobody = await layer.claim("nobody")
        assert nobody is not None
        with pytest.raises(LeaseLostError):
            await layer.store.accept(job, Lease("job_1", nobody[1].fence - 1), late)
        told = await layer.read()
    assert told.task == RemoteTask(remote_id="task-1")
    assert told.orphans == ("task-0",)
    view = job_view(told, now=layer.clock.now, paths={}, ai_generated=True)
    assert view.warnings is not None
    assert (view.warnings[-1].kind, "task-0" in view.warnings[-1].detail) == ("charge", True)


async def test_a_provider_that_can_be_asked_is_asked_and_what_it_knows_is_resumed(tmp_path: Path) -> None:
    """It may know our reference only a little later; nothing is sent a second time."""
    service = Service(submit=[LOST], look_up=[broken(404), broken(500), broken(404), says("running")])
    async with open_job_layer(tmp_path, service, deduplication="lookup") as layer:
        job = await layer.add()
        for _ in range(6):
            job = await layer.step()
    assert (job.status, job.task) == ("running", RemoteTask(remote_id="task-1"))
    assert (service.count("POST", "jobs"), service.count("GET", "references")) == (1, 4)


async def test_a_provider_that_knows_nothing_proves_nothing(tmp_path: Path) -> None:
    """After some vain look-ups the job is uncertain, and still nothing is sent again."""
    service = Service(submit=[LOST])
    async with open_job_layer(tmp_path, service, deduplication="lookup") as layer:
        await layer.add()
        job = await layer.steps()
    assert (job.status, service.count("POST", "jobs")) == ("uncertain", 1)
    assert service.count("GET", "references") == MOST_LOOK_UPS
