"""Two processes on one data folder: one drives a job, the other does not, until the first is gone."""

from pathlib import Path

import pytest

from controlnet_mcp.jobs.store import LeaseLostError
from controlnet_mcp.jobs.submission_log import SubmissionEvent
from controlnet_mcp.providers.types import Fault, RemoteTask, Report, Submission
from tests.support.job_layer import LEASE_SECONDS, PRINCIPAL, Clock, Service, broken, open_workshop, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def test_a_leased_job_is_left_alone(tmp_path: Path) -> None:
    """Whoever holds the lease may take it again; nobody else may, until it runs out."""
    clock = Clock()
    async with (
        open_workshop(tmp_path, Service(), clock=clock) as one,
        open_workshop(tmp_path, Service(), clock=clock) as two,
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
    async with open_workshop(tmp_path, Service()) as shop:
        await shop.add()
        claimed = await shop.claim("one")
        assert claimed is not None
        shop.clock.now += LEASE_SECONDS - 1
        assert await shop.store.renew("one") == 1
        shop.clock.now += LEASE_SECONDS - 1
        assert await shop.claim("two") is None


async def test_a_released_lease_is_free_at_once(tmp_path: Path) -> None:
    """A process that stops in good order does not make others wait."""
    async with open_workshop(tmp_path, Service()) as shop:
        await shop.add()
        claimed = await shop.claim("one")
        assert claimed is not None
        await shop.store.release(claimed[1])
        assert await shop.claim("two") is not None


async def test_a_lost_lease_writes_nothing(tmp_path: Path) -> None:
    """A process that was asleep while another took over neither changes the record nor prolongs its lease."""
    async with open_workshop(tmp_path, Service(poll=[says("running", progress=0.9)])) as shop:
        await shop.add(state="running", task=RemoteTask(remote_id="task-1"), progress=0.1)
        old = await shop.claim("one")
        shop.clock.now += LEASE_SECONDS + 1
        new = await shop.claim("two")
        assert old is not None
        assert new is not None
        before = await shop.read()
        with pytest.raises(LeaseLostError):
            await shop.driver.step(*old)
        assert await shop.read() == before
        assert await shop.store.renew("one") == 0
        await shop.store.release(old[1])
        assert await shop.claim("three") is None, "the new owner's lease is untouched"


async def test_an_answer_is_kept_although_the_lease_was_lost_meanwhile(tmp_path: Path) -> None:
    """The provider accepted: whoever drives the job now resumes with the answer instead of sending again."""
    service = Service()
    async with open_workshop(tmp_path, service) as shop:
        await shop.add()
        old = await shop.claim("one")
        assert old is not None

        async def fall_asleep(_request: object) -> None:
            shop.clock.now += LEASE_SECONDS + 1
            assert await shop.claim("two") is not None

        service.before = fall_asleep
        with pytest.raises(LeaseLostError):
            await shop.driver.step(*old)
        service.before = None
        job = await shop.step("two")
    assert job.task == RemoteTask(remote_id="task-1")
    assert service.count("POST", "jobs") == 1


async def test_a_refusal_is_kept_although_the_lease_was_lost_meanwhile(tmp_path: Path) -> None:
    """A proven refusal is an event, too: the next owner does not call it uncertain."""
    service = Service(submit=[broken(402)])
    async with open_workshop(tmp_path, service) as shop:
        await shop.add()
        old = await shop.claim("one")
        assert old is not None

        async def fall_asleep(_request: object) -> None:
            shop.clock.now += LEASE_SECONDS + 1
            assert await shop.claim("two") is not None

        service.before = fall_asleep
        with pytest.raises(LeaseLostError):
            await shop.driver.step(*old)
        service.before = None
        job = await shop.step("two")
    assert job.status == "failed"
    assert job.fault is not None
    assert job.fault.code == "payment_required"
    assert service.count("POST", "jobs") == 1


async def test_an_ended_job_is_driven_by_nobody(tmp_path: Path) -> None:
    """What has ended stays as it is, whatever is asked of it."""
    async with open_workshop(tmp_path, Service(submit=[broken(400)])) as shop:
        await shop.add()
        ended = await shop.step()
        await shop.store.request_cancel("job_1")
        shop.clock.now += 3600
        assert await shop.claim() is None
        assert list(await shop.store.unowned()) == []
        assert (await shop.read()).fault == ended.fault


async def test_events_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    """Attempts are append-only and belong to one job."""
    async with open_workshop(tmp_path, Service()) as shop:
        for job_id in ("job_1", "job_2"):
            await shop.add(job_id)
            answer = Submission(task=RemoteTask(remote_id=f"of {job_id}"), report=Report(phase="queued"))
            await shop.store.append(job_id, SubmissionEvent.of("answer", answer))
        for message in ("first", "second"):
            await shop.store.append("job_1", SubmissionEvent.of("unknown", Fault(code="timed_out", message=message)))
        told = [Fault.model_validate_json(row).message for row in await shop.events("unknown")]
        (answer_of_two,) = await shop.events("answer", "job_2")
    assert told == ["first", "second"]
    assert "of job_2" in answer_of_two
    assert PRINCIPAL
