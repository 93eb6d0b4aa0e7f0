"""Two processes on one data folder: one drives a job, the other does not, until the first is gone."""

from pathlib import Path

import pytest

from controlnet_mcp.jobs.store import LeaseLostError
from controlnet_mcp.jobs.submission_log import SubmissionEvent
from controlnet_mcp.providers.types import Fault, RemoteTask, Report, Submission
from tests.support.job_layer import LEASE_SECONDS, PRINCIPAL, Clock, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def test_a_leased_job_is_left_alone(tmp_path: Path) -> None:
    """Whoever holds the lease may take it again; nobody else may, until it runs out."""
    clock = Clock()
    async with (
        open_job_layer(tmp_path, Service(), clock=clock) as one,
        open_job_layer(tmp_path, Service(), clock=clock) as two,
    ):
        await one.add()
        assert await one.claim("one") is not None
        assert await two.claim("two") is None
        assert list(await two.store.unowned()) == []
        assert await one.claim("one") is not None
        clock.now += LEASE_SECONDS + 1
        assert list(await two.store.unowned()) == ["job_1"]
        assert await two.claim("two") is not None


async def test_a_renewed_lease_lasts_longer(tmp_path: Path) -> None:
    """A living process keeps its jobs."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await layer.add()
        claimed = await layer.claim("one")
        assert claimed is not None
        layer.clock.now += LEASE_SECONDS - 1
        assert await layer.store.renew("one") == 1
        layer.clock.now += LEASE_SECONDS - 1
        assert await layer.claim("two") is None


async def test_a_released_lease_is_free_at_once(tmp_path: Path) -> None:
    """A process that stops in good order does not make others wait."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await layer.add()
        claimed = await layer.claim("one")
        assert claimed is not None
        await layer.store.release(claimed[1])
        assert await layer.claim("two") is not None


async def test_a_lost_lease_writes_nothing(tmp_path: Path) -> None:
    """A process that was asleep while another took over neither changes the record nor prolongs its lease."""
    async with open_job_layer(tmp_path, Service(poll=[says("running", progress=0.9)])) as layer:
        await layer.add(state="running", task=RemoteTask(remote_id="task-1"), progress=0.1)
        old = await layer.claim("one")
        layer.clock.now += LEASE_SECONDS + 1
        new = await layer.claim("two")
        assert old is not None
        assert new is not None
        before = await layer.read()
        with pytest.raises(LeaseLostError):
            await layer.driver.step(*old)
        assert await layer.read() == before
        assert await layer.store.renew("one") == 0
        await layer.store.release(old[1])
        assert await layer.claim("three") is None, "the new owner's lease is untouched"


async def test_an_answer_is_kept_although_the_lease_was_lost_meanwhile(tmp_path: Path) -> None:
    """The provider accepted: whoever drives the job now resumes with the answer instead of sending again."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        old = await layer.claim("one")
        assert old is not None

        async def fall_asleep(_request: object) -> None:
            layer.clock.now += LEASE_SECONDS + 1
            assert await layer.claim("two") is not None

        service.before = fall_asleep
        with pytest.raises(LeaseLostError):
            await layer.driver.step(*old)
        service.before = None
        job = await layer.step("two")
    assert job.task == RemoteTask(remote_id="task-1")
    assert service.count("POST", "jobs") == 1


async def test_a_refusal_is_kept_although_the_lease_was_lost_meanwhile(tmp_path: Path) -> None:
    """A proven refusal is an event, too: the next owner does not call it uncertain."""
    service = Service(submit=[broken(402)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        old = await layer.claim("one")
        assert old is not None

        async def fall_asleep(_request: object) -> None:
            layer.clock.now += LEASE_SECONDS + 1
            assert await layer.claim("two") is not None

        service.before = fall_asleep
        with pytest.raises(LeaseLostError):
            await layer.driver.step(*old)
        service.before = None
        job = await layer.step("two")
    assert job.status == "failed"
    assert job.fault is not None
    assert job.fault.code == "payment_required"
    assert service.count("POST", "jobs") == 1


async def test_an_ended_job_is_driven_by_nobody(tmp_path: Path) -> None:
    """What has ended stays as it is, whatever is asked of it."""
    async with open_job_layer(tmp_path, Service(submit=[broken(400)])) as layer:
        await layer.add()
        ended = await layer.step()
        await layer.store.request_cancel("job_1")
        layer.clock.now += 3600
        assert await layer.claim() is None
        assert list(await layer.store.unowned()) == []
        assert (await layer.read()).fault == ended.fault


async def test_events_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    """Attempts are append-only and belong to one job."""
    async with open_job_layer(tmp_path, Service()) as layer:
        for job_id in ("job_1", "job_2"):
            await layer.add(job_id)
            answer = Submission(task=RemoteTask(remote_id=f"of {job_id}"), report=Report(phase="queued"))
            await layer.store.append(job_id, SubmissionEvent.of("answer", answer))
        for message in ("first", "second"):
            await layer.store.append("job_1", SubmissionEvent.of("unknown", Fault(code="timed_out", message=message)))
        told = [Fault.model_validate_json(row).message for row in await layer.events("unknown")]
        (answer_of_two,) = await layer.events("answer", "job_2")
    assert told == ["first", "second"]
    assert "of job_2" in answer_of_two
    assert PRINCIPAL
