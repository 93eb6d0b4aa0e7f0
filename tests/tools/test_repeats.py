"""Asking twice: a host that timed out and tries again must not buy twice, and one that means it gets a new job."""

import anyio
import pytest
from pydantic import JsonValue

from tests.support.mcp_session import GiveUp, Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

SLOW: dict[str, JsonValue] = {"provider_options": {"simulate": "queued", "seconds": 0.4}}


async def job_ids(session: Session) -> list[str]:
    """All jobs that there are."""
    services = session.application.services
    jobs = (await services.jobs.store.page("local", status=None, provider=None, limit=100, cursor=None)).jobs
    return [job.job_id for job in jobs]


async def give_up_on_first_progress(session: Session, **arguments: JsonValue) -> None:
    """Call `controlnet_generate`, and cancel the call as soon as there is a job."""
    with anyio.CancelScope() as scope:
        await session.generate(GiveUp(scope), **arguments)
    assert scope.cancelled_caught


async def test_the_same_key_is_the_same_job(session: Session) -> None:
    """Before and after the answer went out, and whatever else is asked for."""
    first = (await session.generate(request_key="k", wait_seconds=0, **SLOW)).job
    again = (await session.generate(request_key="k", wait_seconds=0, **SLOW)).job
    done = (await session.generate(request_key="k", **SLOW)).job
    other_words = (await session.generate(request_key="k", prompt="something else")).job
    assert first.job_id == again.job_id == done.job_id == other_words.job_id
    assert done.status == "succeeded"
    assert len(await job_ids(session)) == 1
    assert "request_key" not in [row.feature for row in done.warnings or ()]
    assert other_words.warnings is not None
    assert "another prompt, provider_options" in other_words.warnings[-1].detail


async def test_the_same_arguments_after_an_answer_are_a_new_job(session: Session) -> None:
    """Somebody who saw the first picture and asks again wants another one."""
    first = (await session.generate()).job
    second = (await session.generate()).job
    assert first.job_id != second.job_id


async def test_the_same_arguments_after_a_call_that_was_given_up_are_the_same_job(session: Session) -> None:
    """No answer that names the job went out, so it is found again instead of being bought again."""
    await give_up_on_first_progress(session, **SLOW)
    (abandoned,) = await job_ids(session)
    job = (await session.generate(**SLOW)).job
    assert (job.job_id, job.status) == (abandoned, "succeeded")
    assert (await session.generate(wait_seconds=0, **SLOW)).job.job_id != abandoned


async def test_how_the_answer_is_asked_for_does_not_make_another_job(session: Session) -> None:
    """Waiting longer or without previews is the same request."""
    await give_up_on_first_progress(session, **SLOW)
    (abandoned,) = await job_ids(session)
    job = (await session.generate(previews=False, wait_seconds=3, **SLOW)).job
    assert job.job_id == abandoned


async def test_another_wish_is_another_job(session: Session) -> None:
    """An undelivered job is not given to somebody who wants something else."""
    await give_up_on_first_progress(session, **SLOW)
    (abandoned,) = await job_ids(session)
    job = (await session.generate(prompt="a pencil drawing", wait_seconds=0, **SLOW)).job
    assert job.job_id != abandoned


async def test_a_call_that_was_given_up_does_not_stop_its_job(session: Session) -> None:
    """The job goes on and its picture is there."""
    await give_up_on_first_progress(session, **SLOW)
    (abandoned,) = await job_ids(session)
    job = (await session.call("job_status", job_id=abandoned, wait_seconds=20)).job
    assert job.status == "succeeded", job.error


async def test_looking_at_a_job_counts_as_an_answer(session: Session) -> None:
    """Once `job_status` named the job, the same arguments mean a new one."""
    await give_up_on_first_progress(session, **SLOW)
    (abandoned,) = await job_ids(session)
    await session.call("job_status", job_id=abandoned)
    assert (await session.generate(wait_seconds=0, **SLOW)).job.job_id != abandoned


async def test_two_calls_at_once_share_one_job(session: Session) -> None:
    """A host that sends the same call twice at the same moment buys once."""
    seen: list[str] = []

    async def ask() -> None:
        seen.append((await session.generate(seed=3, **SLOW)).job.job_id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
    assert seen[0] == seen[1]
    assert len(await job_ids(session)) == 1
