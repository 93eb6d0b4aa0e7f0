"""The one step that can cost money: what is written before and after it, and what follows from each outcome."""

import json
from pathlib import Path

import anyio
import httpx2
import pytest

from controlnet_mcp.jobs.submission_log import SubmissionEvent
from controlnet_mcp.providers.types import Deduplication, RemoteTask, Report, Submission
from tests.support.job_layer import Clock, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

LOST = httpx2.ReadTimeout("no answer")
"""The request left and nothing came back: it may have been accepted."""
UNREACHABLE = httpx2.ConnectError("no route")
"""The request never left."""


def references(service: Service) -> list[str]:
    """Our reference in every submission that was sent."""
    sent = [row for row in service.requests if row.method == "POST"]
    return [json.loads(row.content)["reference"] for row in sent]


async def test_the_intent_is_on_disk_before_the_request_leaves(tmp_path: Path) -> None:
    """While the provider reads the request, another process already sees what is being sent."""
    service, seen = Service(), list[str]()
    async with open_job_layer(tmp_path, service) as layer, open_job_layer(tmp_path, Service()) as other:

        async def look(_request: httpx2.Request) -> None:
            seen.extend([(await other.read()).state, *await other.events("intent")])

        service.before = look
        await layer.add()
        await layer.step()
    assert seen[0] == "submitting"
    assert "a house" in seen[1]


async def test_the_answer_is_kept_as_an_event(tmp_path: Path) -> None:
    """What the provider said of the submission can be read again by anybody."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await layer.add()
        job = await layer.step()
        (event,) = await layer.events("answer")
    assert job.status == "queued"
    assert job.task == Submission.model_validate_json(event).task == RemoteTask(remote_id="task-1")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "unauthorized"),
        (402, "payment_required"),
        (404, "not_found"),
        (422, "invalid_request"),
    ],
)
async def test_a_refusal_ends_the_job(tmp_path: Path, status: int, code: str) -> None:
    """A proven refusal is a failure with the provider's reason, and is sent once."""
    service = Service(submit=[broken(status, "because of reasons")])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.step()
        assert await layer.events("refusal")
    assert (job.status, service.count("POST", "jobs")) == ("failed", 1)
    assert job.fault is not None
    assert job.fault.code == code
    assert "because of reasons" in job.fault.message


@pytest.mark.parametrize("answer", [UNREACHABLE, broken(429), broken(503, retry_after="1")])
async def test_what_was_provably_not_accepted_is_tried_again(
    tmp_path: Path, answer: httpx2.Response | httpx2.RequestError
) -> None:
    """No connection, or too busy to look at it: a little later it is sent again, and bought once."""
    service = Service(submit=[answer, answer, says("queued", 201)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.step()
        assert (job.state, "trying again" in str(job.stage)) == ("new", True)
        await layer.step()
        job = await layer.step()
    assert (job.status, job.task) == ("queued", RemoteTask(remote_id="task-1"))
    assert references(service) == ["reference-1"] * 3


@pytest.mark.parametrize("answer", [UNREACHABLE, broken(429, "because of reasons")])
async def test_trying_again_has_an_end(tmp_path: Path, answer: httpx2.Response | httpx2.RequestError) -> None:
    """A provider that refuses every time makes the job fail within seconds; the caller may try again."""
    service = Service(submit=[answer])
    async with open_job_layer(tmp_path, service) as layer:
        started = layer.clock.now
        await layer.add()
        job = await layer.steps()
        assert layer.clock.now - started < 30
    assert (job.status, service.count("POST", "jobs")) == ("failed", 4)
    assert job.fault is not None
    assert job.fault.retryable


async def test_the_pause_before_another_try_is_the_provider_s(tmp_path: Path) -> None:
    """`Retry-After` counts for submissions too, and a job that waits for another try can be stopped for free."""
    service = Service(submit=[broken(429, retry_after="50")])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.step()
        assert job.wake_at == layer.clock.now + 50
        await layer.store.request_cancel("job_1")
        assert (await layer.step()).status == "canceled"
    assert service.count("POST", "jobs") == 1


@pytest.mark.parametrize(
    "answer", [LOST, broken(500), broken(502), broken(503), httpx2.Response(201, text="gibberish")]
)
async def test_an_unknown_outcome_is_not_sent_again(
    tmp_path: Path, answer: httpx2.Response | httpx2.RequestError
) -> None:
    """Without a way to recognise a double, the job is uncertain, and says so."""
    service = Service(submit=[answer])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.step()
        assert await layer.claim() is None, "nothing drives it any further"
    assert (job.status, service.count("POST", "jobs")) == ("uncertain", 1)
    assert job.fault is not None
    assert "history" in job.fault.hint


async def test_an_unknown_outcome_is_sent_again_under_the_same_key(tmp_path: Path) -> None:
    """A provider that recognises our reference gets the same one until it answers."""
    service = Service(submit=[LOST, broken(503), broken(500), says("queued", 201)])
    async with open_job_layer(tmp_path, service, deduplication="key") as layer:
        await layer.add()
        job = await layer.step()
        assert job.status == "queued"
        for _ in range(3):
            job = await layer.step()
    assert job.task is not None
    assert references(service) == ["reference-1"] * 4


@pytest.mark.parametrize("second", [UNREACHABLE, broken(400), broken(429)])
async def test_a_refusal_of_the_second_try_proves_nothing_about_the_first(
    tmp_path: Path, second: httpx2.Response | httpx2.RequestError
) -> None:
    """The first try may have been accepted, so the job does not fail."""
    async with open_job_layer(tmp_path, Service(submit=[LOST, second]), deduplication="key") as layer:
        await layer.add()
        await layer.step()
        job = await layer.step()
    assert job.status in {"queued", "uncertain"}


async def test_tries_end_at_the_deadline_and_stay_uncertain(tmp_path: Path) -> None:
    """A provider that never answers may still have accepted."""
    async with open_job_layer(tmp_path, Service(submit=[LOST]), deduplication="key") as layer:
        await layer.add(deadline_seconds=60)
        job = await layer.steps()
        assert layer.clock.now < job.deadline_at + 60
    assert job.status == "uncertain"


@pytest.mark.parametrize("deduplication", ["key", "lookup", "none"])
async def test_a_crash_after_the_answer_loses_nothing(tmp_path: Path, deduplication: Deduplication) -> None:
    """A job left in `submitting` with an answer on record goes on without a second submission."""
    service = Service()
    async with open_job_layer(tmp_path, service, deduplication=deduplication) as layer:
        await layer.add(state="submitting")
        answer = Submission(task=RemoteTask(remote_id="task-7"), report=Report(phase="queued"))
        await layer.store.append("job_1", SubmissionEvent.of("answer", answer))
        job = await layer.step()
    assert job.task == answer.task
    assert service.count("POST", "jobs") == 0


async def test_a_crash_before_the_answer_is_uncertain(tmp_path: Path) -> None:
    """The request may have left, so it is not sent again."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        job = await layer.add(state="submitting")
        await layer.store.append("job_1", SubmissionEvent.of("intent", job.request))
        job = await layer.step()
    assert (job.status, service.requests) == ("uncertain", [])


async def test_a_crash_before_the_answer_is_made_good_under_a_key(tmp_path: Path) -> None:
    """The same reference goes out again and brings the first submission's task, if there was one."""
    service = Service()
    async with open_job_layer(tmp_path, service, deduplication="key") as layer:
        job = await layer.add(state="submitting")
        await layer.store.append("job_1", SubmissionEvent.of("intent", job.request))
        job = await layer.step()
    assert job.task is not None
    assert references(service) == ["reference-1"]


async def test_a_crash_before_the_intent_was_written_costs_nothing(tmp_path: Path) -> None:
    """Nothing can have left yet, so the job is sent, even where a double could not be recognised."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(state="submitting")
        job = await layer.step()
    assert job.task is not None
    assert references(service) == ["reference-1"]


async def test_a_job_that_was_never_sent_in_time_is_not_sent_any_more(tmp_path: Path) -> None:
    """A server that comes back hours later does not buy what nobody waits for."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=60)
        layer.clock.now += 3600
        job = await layer.step()
    assert (job.status, service.requests) == ("failed", [])
    assert job.fault is not None
    assert "Nothing was bought" in job.fault.message


async def test_giving_up_during_a_submission_does_not_interrupt_it(tmp_path: Path) -> None:
    """The answer is on record although whoever waited for it was cancelled meanwhile."""
    scope = anyio.CancelScope()

    async def give_up(_request: httpx2.Request) -> None:
        scope.cancel()

    service = Service(before=give_up)
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        with scope:
            await layer.step()
        assert scope.cancel_called
        assert len(await layer.events("answer")) == 1
    async with open_job_layer(tmp_path, service, clock=Clock(layer.clock.now + 60)) as successor:
        assert (await successor.step()).task == RemoteTask(remote_id="task-1")
    assert service.count("POST", "jobs") == 1
