"""Waiting for jobs: how long, with which progress, and how each simulated course ends."""

import time

import mcp_types as types
import pytest
from anyio import create_task_group, fail_after
from pydantic import JsonValue

from controlnet_mcp.tools.views import Job
from tests.support.mcp_session import Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


def simulated(mode: str, seconds: float) -> dict[str, JsonValue]:
    """Arguments that make the draft engine behave in a certain way."""
    return {"provider_options": {"simulate": mode, "seconds": seconds}}


class Heard:
    """Collects progress notifications, with the moments at which they came."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self.rows: list[tuple[float, float, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one."""
        assert total == 1.0
        self.rows.append((time.monotonic(), progress, message))


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("queued", "succeeded", None),
        ("progress", "succeeded", None),
        ("moderated", "failed", "moderated"),
        ("payment_required", "failed", "payment_required"),
        ("rate_limited", "failed", "rate_limited"),
        ("failed", "failed", "provider_failed"),
        ("timed_out", "failed", "timed_out"),
    ],
)
async def test_a_simulated_course_ends_as_it_says(session: Session, mode: str, status: str, code: str | None) -> None:
    """Test mode shows every end that a paid provider's job can have, without money."""
    job = (await session.generate(**simulated(mode, 0.2))).job
    assert (job.status, job.error.code if job.error else None) == (status, code)
    assert job.next
    assert job.eta_seconds is None
    if job.error is not None:
        assert job.error.message
        assert job.error.hint
        assert job.images is None


@pytest.mark.parametrize(("mode", "status"), [("queued", "queued"), ("progress", "running"), ("failed", "running")])
async def test_an_unfinished_job_tells_how_it_stands(session: Session, mode: str, status: str) -> None:
    """Status, stage, remaining and elapsed time are there, and what to do next."""
    first = (await session.generate(wait_seconds=0, **simulated(mode, 60))).job
    job = await session.until(first.job_id, lambda seen: seen.stage is not None)
    assert job.status == status
    assert job.eta_seconds is not None
    assert 40 < job.eta_seconds <= 60
    assert 0 <= job.elapsed_seconds < 30
    assert job.job_id in job.next
    assert (job.progress is None) == (mode == "queued")


async def test_the_next_wait_is_one_that_the_caller_bears(session: Session) -> None:
    """H2: `next` proposes 4 s to a client that asked for no progress, which may give up after 5, and 30 s to others."""
    silent = (await session.generate(wait_seconds=0, **simulated("queued", 60))).job
    talkative = (await session.generate(Heard(), prompt="other", wait_seconds=0, **simulated("queued", 60))).job
    assert "and wait_seconds=4;" in silent.next
    assert "and wait_seconds=30;" in talkative.next
    for job in (silent, talkative):
        assert "wait_seconds=4;" in (await session.call("job_status", job_id=job.job_id)).job.next
        assert "wait_seconds=30;" in (await session.call("job_status", Heard(), job_id=job.job_id)).job.next
        (contents,) = await session.read(f"controlnet://jobs/{job.job_id}")
        assert isinstance(contents, types.TextResourceContents)
        assert "wait_seconds=4;" in contents.text
    assert {"wait_seconds=4;" in job.next for job in (await session.call("list_jobs")).listed} == {True}


async def test_no_wait_answers_at_once(session: Session) -> None:
    """`wait_seconds=0` gives the job as it was accepted."""
    with fail_after(50):
        job = (await session.generate(wait_seconds=0, **simulated("queued", 300))).job
    assert job.status == "queued"


async def test_a_wait_ends_when_the_job_does(session: Session) -> None:
    """Nobody waits longer than needed."""
    with fail_after(50):
        job = (await session.generate(wait_seconds=300, **simulated("queued", 0.3))).job
    assert job.status == "succeeded"


async def test_a_wait_ends_when_its_time_is_up(session: Session) -> None:
    """The job is then given back as it stands, and goes on."""
    with fail_after(50):
        started = time.monotonic()
        job = (await session.generate(wait_seconds=0.6, **simulated("queued", 60))).job
    assert job.status == "queued"
    assert time.monotonic() - started >= 0.5


async def test_progress_is_told_when_asked_for(session: Session) -> None:
    """Values rise, at most two come in a second, and each says what is being done."""
    heard = Heard()
    job = (await session.generate(heard, **simulated("progress", 1.3))).job
    assert job.status == "succeeded"
    assert len(heard.rows) >= 2
    values = [progress for _, progress, _ in heard.rows]
    assert values == sorted(set(values)), "the protocol wants each value above the last"
    assert 0 <= values[0] <= values[-1] <= 1
    assert all(message and "draft" in message for _, _, message in heard.rows)
    assert any(message and "s left" in message for _, _, message in heard.rows)
    moments = [moment for moment, _, _ in heard.rows]
    assert len(moments) <= 2 * (moments[-1] - moments[0]) + 2


async def test_progress_rises_while_the_job_waits_in_line(session: Session) -> None:
    """A queue has no progress of its own, and the protocol allows no value twice."""
    heard = Heard()
    await session.generate(heard, **simulated("queued", 1.3))
    values = [progress for _, progress, _ in heard.rows]
    assert len(values) >= 2
    assert values == sorted(set(values))


async def test_waiting_for_a_job_tells_progress_too(session: Session) -> None:
    """`job_status` with a wait is as talkative as `controlnet_generate`."""
    first = (await session.generate(wait_seconds=0, **simulated("progress", 1.2))).job
    heard = Heard()
    job = (await session.call("job_status", heard, job_id=first.job_id, wait_seconds=20)).job
    assert job.status == "succeeded"
    assert heard.rows


async def test_the_default_wait_is_short_without_progress_and_long_with_it(session: Session) -> None:
    """Some hosts give a call five seconds; those that ask for progress can hold their clock."""
    services = session.application.services
    assert (services.wait_seconds_without_progress, services.wait_seconds) == (4, 45)
    jobs: dict[str, Job] = {}

    async def ask(name: str, progress: Heard | None) -> None:
        with fail_after(50):
            reply = await session.generate(progress, prompt=name, wait_seconds=None, **simulated("queued", 6))
        jobs[name] = reply.job

    async with create_task_group() as tasks:
        tasks.start_soon(ask, "silent", None)
        tasks.start_soon(ask, "talkative", Heard())
    assert {name: job.status for name, job in jobs.items()} == {"silent": "queued", "talkative": "succeeded"}
    assert 3 <= jobs["silent"].elapsed_seconds < 5
