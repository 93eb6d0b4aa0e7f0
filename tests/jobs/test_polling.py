"""Faults after a submission was accepted: a job that was paid for is followed until its deadline."""

import base64
from pathlib import Path

import httpx2
import pytest
from anyio import to_thread

from controlnet_mcp.providers.types import Output, RemoteTask
from tests.support.job_layer import PICTURE_URL, Answer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

DONE = says("succeeded", url=PICTURE_URL)


@pytest.fixture
def picture(pictures: Path) -> httpx2.Response:
    """A finished picture as the provider serves it."""
    return httpx2.Response(200, content=(pictures / "photo.png").read_bytes())


@pytest.mark.parametrize(
    "fault",
    [
        broken(429),
        broken(500),
        broken(503),
        broken(404),
        broken(401),
        httpx2.Response(200, text="<html>gibberish</html>"),
        httpx2.Response(200, json={"id": "task-1"}),
        httpx2.Response(302, headers={"location": "https://elsewhere.example/"}),
        httpx2.ReadTimeout("slow"),
        httpx2.ConnectError("no route"),
        httpx2.RemoteProtocolError("cut off"),
    ],
)
async def test_a_fault_while_polling_does_not_end_the_job(
    tmp_path: Path, picture: httpx2.Response, fault: Answer
) -> None:
    """Whatever comes instead of a report, the provider is asked again, and the result arrives."""
    service = Service(poll=[fault, fault, says("running", progress=0.5), fault, DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
    assert job.status == "succeeded"
    assert (service.count("POST", "jobs"), service.count("GET", "jobs")) == (1, 5)


async def test_a_look_that_tells_nothing_new_is_written_every_five_seconds_only(tmp_path: Path) -> None:
    """The process that drives the job knows of every look; others see that somebody looks, and what was told."""
    reports = [says("running", progress=value, eta=1) for value in (0.5, 0.5, 0.5, 0.6)]
    async with open_job_layer(tmp_path, Service([says("running", 201, progress=0.5, eta=1)], reports)) as layer:
        await layer.add()
        written = (await layer.step()).updated_at
        for seconds, progress in ((1, 0.5), (4.9, 0.5), (5, 0.5), (5.5, 0.6)):
            layer.clock.now = 1_800_000_000 + seconds
            job = await layer.step()
            told = await layer.read()
            assert (job.looked_at, job.progress, told.progress) == (layer.clock.now, progress, progress)
            assert told.updated_at == (written if seconds < 5 else layer.clock.now)


async def test_a_result_is_stored_as_it_was_sent(tmp_path: Path, picture: httpx2.Response) -> None:
    """The stored bytes are the provider's, and the record describes them."""
    async with open_job_layer(tmp_path, Service(download=[picture])) as layer:
        await layer.add()
        job = await layer.steps()
        (image,) = job.images
        assert await to_thread.run_sync(layer.blobs.get, image.picture.sha256) == picture.content
    assert (image.picture.width, image.picture.height, image.picture.mime_type) == (256, 256, "image/png")
    assert (job.progress, job.fault) == (1.0, None)


async def test_trouble_is_shown_while_it_lasts(tmp_path: Path) -> None:
    """A caller that looks learns why nothing moves, and nothing of it once the provider answers again."""
    service = Service(poll=[says("running", stage="drawing"), broken(500), says("running")])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        assert (await layer.step()).stage == "drawing"
        assert "HTTP 500" in str((await layer.step()).stage)
        assert (await layer.step()).stage is None


async def test_a_picture_inside_the_reply_is_kept_at_once(tmp_path: Path, picture: httpx2.Response) -> None:
    """It exists nowhere else: it is in the store before the answer is on record, and the record stays small."""
    inside = base64.b64encode(picture.content).decode()
    for name, service in (
        ("submit", Service(submit=[says("succeeded", 201, content=inside)])),
        ("poll", Service(poll=[says("succeeded", content=inside)])),
    ):
        async with open_job_layer(tmp_path / name, service) as layer:
            await layer.add()
            job = await layer.steps()
            assert job.status == "succeeded"
            assert await to_thread.run_sync(layer.blobs.get, job.images[0].picture.sha256) == picture.content
            assert len(job.model_dump_json()) < 5000
            assert all(len(row) < 5000 for row in await layer.events("answer"))


async def test_nonsense_inside_the_reply_is_no_picture(tmp_path: Path) -> None:
    """A submission that was answered with it may have been charged; a poll is repeated until the deadline."""
    inside = base64.b64encode(b"<html>no</html>").decode()
    async with open_job_layer(tmp_path / "submit", Service(submit=[says("succeeded", 201, content=inside)])) as layer:
        await layer.add()
        assert (await layer.steps()).status == "uncertain"
    async with open_job_layer(tmp_path / "poll", Service(poll=[says("succeeded", content=inside)])) as layer:
        await layer.add(deadline_seconds=30)
        job = await layer.steps()
    assert job.status == "failed"
    assert job.fault is not None
    assert job.fault.code == "provider_failed"


async def test_pauses_grow_with_every_failure_and_are_reset_by_an_answer(tmp_path: Path) -> None:
    """The pauses double up to a quarter of a minute; one good answer makes them short again."""
    service = Service(poll=[broken(500)] * 6 + [says("running"), broken(500)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        pauses = [(await layer.step()).wake_at - layer.clock.now for _ in range(8)]
    answered = pauses.pop(6)
    assert 0 < answered < 2
    assert pauses == [1, 2, 4, 8, 15, 15, 1]


async def test_the_provider_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    """`Retry-After` is obeyed, in seconds and as a date, for at most two minutes and up to the deadline."""
    date, later = "Wed, 25 Nov 2026 10:00:00 GMT", "Wed, 25 Nov 2026 10:00:30 GMT"
    asked = (
        broken(429, retry_after="40"),
        broken(503, retry_after=later, date=date),
        broken(503, retry_after="100000"),
        broken(429, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"),
        broken(503, retry_after="soon"),
    )
    async with open_job_layer(tmp_path, Service(poll=asked)) as layer:
        await layer.add()
        await layer.step()
        pauses = [(await layer.step()).wake_at - layer.clock.now for _ in asked]
        assert pauses == [40, 30, 120, 8, 15]
    async with open_job_layer(tmp_path / "late", Service(poll=asked)) as layer:
        job = await layer.add(deadline_seconds=20)
        await layer.step()
        assert (await layer.step()).wake_at == job.deadline_at


@pytest.mark.parametrize("answer", [broken(500), says("running"), says("queued", eta=0.0)])
async def test_the_deadline_ends_a_job_that_does_not_finish(tmp_path: Path, answer: Answer) -> None:
    """A job has one deadline, whether the provider fails or just never finishes; it is not polled in a frenzy."""
    service = Service(poll=[answer])
    async with open_job_layer(tmp_path, service) as layer:
        job = await layer.add(deadline_seconds=20)
        ended = await layer.steps(most=300)
        assert job.deadline_at <= layer.clock.now < job.deadline_at + 20
    assert ended.status == "failed"
    assert ended.fault is not None
    assert ended.fault.hint
    assert service.count("GET", "jobs") <= 220


@pytest.mark.parametrize(
    "fault",
    [
        broken(404),
        broken(500),
        httpx2.ReadError("cut off"),
        httpx2.Response(200, text="<html>not yet</html>"),
        broken(200, ""),
    ],
)
async def test_a_failed_download_is_tried_again(tmp_path: Path, picture: httpx2.Response, fault: Answer) -> None:
    """The picture that was paid for is fetched until it arrives whole."""
    truncated = httpx2.Response(200, content=picture.content[: len(picture.content) // 2])
    service = Service(download=[fault, truncated, picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
    assert (job.status, len(job.images)) == ("succeeded", 1)
    assert (service.count("POST", "jobs"), service.count("GET", "results")) == (1, 3)


async def test_a_result_that_is_no_picture_never_succeeds(tmp_path: Path) -> None:
    """A page instead of a picture is the provider's failure, told without advice about the caller's own pictures."""
    page = httpx2.Response(200, text="<html>Your trial has ended</html>")
    async with open_job_layer(tmp_path, Service(download=[page])) as layer:
        await layer.add(deadline_seconds=30)
        job = await layer.steps()
    assert (job.status, job.images) == ("failed", ())
    assert job.fault is not None
    assert job.fault.code == "provider_failed"
    assert "web page" in job.fault.message
    assert "pass" not in job.fault.hint


async def test_success_without_a_picture_is_not_a_success(tmp_path: Path) -> None:
    """A provider that reports success and names no picture failed."""
    async with open_job_layer(tmp_path, Service(poll=[says("succeeded")])) as layer:
        await layer.add(deadline_seconds=30)
        job = await layer.steps()
    assert job.status == "failed"
    assert job.fault is not None
    assert "without a picture" in job.fault.message


async def test_a_provider_without_its_key_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    """A key that was taken away does not leave a job open for ever, and the fault names the key."""
    async with open_job_layer(tmp_path, Service(), ready=False) as layer:
        await layer.add(deadline_seconds=30, state="running", task=RemoteTask(remote_id="task-1"))
        assert not (await layer.step()).ended
        job = await layer.steps()
    assert job.status == "failed"
    assert job.fault is not None
    assert job.fault.code == "not_configured"
    assert "SCRIPTED_KEY" in job.fault.hint


async def test_a_computer_that_slept_past_the_deadline_still_gets_its_result(
    tmp_path: Path, picture: httpx2.Response
) -> None:
    """The network comes back some seconds after the computer: the first failures do not end the job."""
    offline = httpx2.ConnectError("no route")
    async with open_job_layer(tmp_path, Service(poll=[offline, offline, DONE], download=[picture])) as layer:
        await layer.add(deadline_seconds=60)
        await layer.step()
        layer.clock.now += 3600
        job = await layer.steps()
    assert job.status == "succeeded"


async def test_a_failure_that_the_provider_reports_ends_the_job(tmp_path: Path) -> None:
    """The provider's own word for a failure is final."""
    async with open_job_layer(tmp_path, Service(poll=[says("failed")])) as layer:
        await layer.add()
        job = await layer.steps()
    assert job.status == "failed"
    assert job.fault is not None


async def test_nothing_is_fetched_twice_after_a_crash_in_between(tmp_path: Path, picture: httpx2.Response) -> None:
    """A job that was being fetched is fetched again by whoever comes next, without asking the provider anew."""
    service = Service(download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        outputs = (Output(url=PICTURE_URL),)
        await layer.add(state="fetching", task=RemoteTask(remote_id="task-1"), outputs=outputs)
        job = await layer.steps()
    assert job.status == "succeeded"
    assert [row.url.path for row in service.requests] == ["/results/1.png"]
