"""E1 to E4 by a turned clock: what can never end well ends within two minutes, what still may is never given up."""

from pathlib import Path

import httpx2
import pytest

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.tools.views import next_step
from tests.support.job_layer import PICTURE_URL, Answer, JobLayer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

START = 1_800_000_000.0
DONE = says("succeeded", url=PICTURE_URL)
TWO = says("succeeded", url=PICTURE_URL, more="results/2.png")
PAGE = httpx2.Response(200, text="<html>Your trial has ended</html>")
SVG = httpx2.Response(200, text='<svg xmlns="http://www.w3.org/2000/svg"/>')
LOST = httpx2.ReadTimeout("no answer")
RESET = httpx2.RemoteProtocolError("cut off")
UNKNOWN = broken(404, "no such job")


@pytest.fixture
def picture(pictures: Path) -> httpx2.Response:
    """A finished picture as the provider serves it."""
    return httpx2.Response(200, content=(pictures / "photo.png").read_bytes())


async def fetch_again(layer: JobLayer) -> JobRecord:
    """Ask again for what an ended job lacks, as the job service does, and drive it to its end."""
    assert await layer.store.reopen("job_1", layer.clock.now + 600)
    return await layer.steps()


@pytest.mark.parametrize("unknown", [UNKNOWN, broken(410), broken(404, "<html>Not Found</html>")])
async def test_e1_a_job_that_the_provider_forgot_is_over_after_a_minute(tmp_path: Path, unknown: Answer) -> None:
    """E1: 404 on every look for a minute: it has failed with `not_found`, and not before; its task stays on record."""
    async with open_job_layer(tmp_path, Service(poll=[says("running"), unknown])) as layer:
        await layer.add(deadline_seconds=1800)
        while not (job := await layer.step()).failures:
            pass
        first = layer.clock.now
        job = await layer.steps()
        assert 60 <= layer.clock.now - first <= 75
        stored = await layer.read()
    assert (job.status, stored.task) == ("failed", job.task)
    assert job.task is not None
    assert job.fault is not None
    assert job.fault.code == "not_found"


async def test_e1_a_job_that_is_not_known_right_after_its_submission_goes_on(
    tmp_path: Path, picture: httpx2.Response
) -> None:
    """E1: seven times 404, for 45 seconds, and then it is there."""
    service = Service(poll=[UNKNOWN] * 7 + [says("running"), DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
        assert layer.clock.now - START > 45
    assert job.status == "succeeded"


async def test_e1_another_answer_in_between_starts_the_minute_anew(tmp_path: Path, picture: httpx2.Response) -> None:
    """E1: a provider whose servers do not agree may still have the job."""
    mixed = [UNKNOWN, UNKNOWN, says("running")] * 6 + [UNKNOWN, broken(503)] * 10 + [DONE]
    async with open_job_layer(tmp_path, Service(poll=mixed, download=[picture])) as layer:
        await layer.add(deadline_seconds=1800)
        assert (await layer.steps(most=100)).status == "succeeded"
        assert layer.clock.now - START > 180


async def test_e1_a_computer_that_slept_asks_more_than_twice(tmp_path: Path, picture: httpx2.Response) -> None:
    """E1: two looks an hour apart are not a minute of looks."""
    service = Service(poll=[UNKNOWN, UNKNOWN, DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        await layer.step()
        await layer.step()
        layer.clock.now += 3600
        assert (await layer.steps()).status == "succeeded"


async def test_e1_the_minute_outlasts_a_restart(tmp_path: Path) -> None:
    """E1: it is counted from the record, so that a host which restarts often does not prolong it."""
    service = Service(poll=[UNKNOWN])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        for _ in range(6):
            await layer.step()
    async with open_job_layer(tmp_path, service, clock=layer.clock) as successor:
        job = await successor.steps()
        assert successor.clock.now - START <= 80
    assert job.fault is not None
    assert job.fault.code == "not_found"


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (broken(404), "not_found", "404"),
        (broken(410), "not_found", "410"),
        (broken(451), "provider_failed", "451"),
        (PAGE, "provider_failed", "web page"),
        (SVG, "provider_failed", "SVG"),
        (broken(200, ""), "provider_failed", "could not be downloaded"),
        (httpx2.Response(200, content=b"\x89PNG\r\n\x1a\n" + bytes(80)), "provider_failed", "damaged"),
    ],
)
async def test_e2_a_result_that_can_never_be_had_fails_within_two_minutes(
    tmp_path: Path, picture: httpx2.Response, answer: Answer, code: str, reason: str
) -> None:
    """E2: with the reason and its code; its address stays, and a later try brings it without a second charge."""
    service = Service(poll=[DONE], download=[answer])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps()
        assert 60 < layer.clock.now - START < 120
        assert job.status == "failed"
        assert job.fault is not None
        assert job.fault.code == code
        assert reason in job.fault.message
        assert [row.url for row in (await layer.read()).outputs] == [PICTURE_URL]
        service.download = [picture]
        job = await fetch_again(layer)
    assert (job.status, len(job.images), job.fault) == ("succeeded", 1, None)
    assert service.count("POST", "jobs") == 1


@pytest.mark.parametrize("answer", [broken(500), broken(503), broken(429), broken(408), broken(401), LOST, RESET])
async def test_e2_what_may_pass_is_tried_until_the_deadline(
    tmp_path: Path, picture: httpx2.Response, answer: Answer
) -> None:
    """E2: ten minutes of it, and then the picture comes."""
    service = Service(poll=[DONE], download=[answer] * 40 + [picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps()
        assert layer.clock.now - START > 500
    assert job.status == "succeeded"


async def test_e2_a_page_now_and_then_is_no_end(tmp_path: Path, picture: httpx2.Response) -> None:
    """E2: only the same kind of answer each time is an end; a server error in between leaves hope."""
    service = Service(poll=[DONE], download=[PAGE, PAGE, PAGE, broken(502)] * 4 + [picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        assert (await layer.steps()).status == "succeeded"
        assert layer.clock.now - START > 150


async def test_e2_one_of_two_pictures_is_kept_and_the_other_can_be_fetched(
    tmp_path: Path, picture: httpx2.Response, pictures: Path
) -> None:
    """E2: within two minutes the job succeeds with one and says so; the other comes by a later try, said no more."""
    other = httpx2.Response(200, content=(pictures / "blank.png").read_bytes())
    service = Service(poll=[TWO], download=[picture, broken(404)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps()
        assert layer.clock.now - START < 120
        assert (job.status, len(job.images)) == ("succeeded", 1)
        assert ["1 of 2" in row.detail for row in job.warnings] == [True]
        assert "fetch=true" in next_step(job)
        again = await fetch_again(layer)
        assert (again.status, len(again.images), len(again.warnings)) == ("succeeded", 1, 1)
        service.download = [other]
        job = await fetch_again(layer)
    assert (job.status, len(job.images), job.warnings) == ("succeeded", 2, ())
    assert job.images[0] == again.images[0]


async def test_e2_a_picture_that_may_come_keeps_the_job_although_another_never_will(
    tmp_path: Path, picture: httpx2.Response
) -> None:
    """E2: the one that fails for good does not end the wait for the one that fails for now."""
    service = Service(poll=[TWO], download=[broken(404), broken(503)] * 20 + [broken(404), picture, broken(404)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps(most=100)
    assert (job.status, len(job.images)) == ("succeeded", 1)


async def test_e2_a_link_that_expired_is_asked_for_anew(tmp_path: Path, picture: httpx2.Response) -> None:
    """E2: the provider names a fresh one, as often as the old one fails."""
    fresh = says("succeeded", url=f"{PICTURE_URL}?signature=2")
    service = Service(poll=[DONE, fresh], download=[broken(403), picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
    assert job.status == "succeeded"
    assert str(service.requests[-1].url).endswith("?signature=2")


async def test_e2_a_job_that_ran_out_of_time_can_be_asked_about_again(tmp_path: Path, picture: httpx2.Response) -> None:
    """E2: it was paid for, and the provider may have finished meanwhile."""
    service = Service(poll=[says("running")] * 8 + [DONE], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=5)
        while not (job := await layer.step()).ended:
            service.poll = [says("running")]
        assert job.fault is not None
        assert job.fault.code == "timed_out"
        service.poll = [DONE]
        job = await fetch_again(layer)
    assert job.status == "succeeded"
    assert service.count("POST", "jobs") == 1


@pytest.mark.parametrize("service", [Service(poll=[says("failed")]), Service(submit=[broken(402)])])
async def test_e2_what_the_provider_ended_or_refused_is_not_asked_for_again(tmp_path: Path, service: Service) -> None:
    """E2: there is nothing to be had."""
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
        assert not await layer.store.reopen("job_1", layer.clock.now + 600)
        assert (await layer.read()).fault == job.fault


async def test_e3_done_without_a_picture_is_waited_for_and_then_fails(tmp_path: Path, picture: httpx2.Response) -> None:
    """E3: of every provider: pictures may come after the word, within two minutes."""
    async with open_job_layer(tmp_path, Service(poll=[says("succeeded")])) as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps()
        assert 60 < layer.clock.now - START < 120
    assert job.fault is not None
    assert "without a picture" in job.fault.message
    service = Service(poll=[says("succeeded")] * 6 + [DONE], download=[picture])
    async with open_job_layer(tmp_path / "late", service) as layer:
        await layer.add(deadline_seconds=1800)
        assert (await layer.steps()).status == "succeeded"


async def test_e4_empty_look_ups_end_as_uncertain_after_two_minutes(tmp_path: Path) -> None:
    """E4: a lost answer, and then a provider that can be asked and knows nothing: nothing is sent again."""
    service = Service(submit=[LOST])
    async with open_job_layer(tmp_path, service, deduplication="lookup") as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps()
        assert 110 <= layer.clock.now - START <= 130
    assert (job.status, service.count("POST", "jobs")) == ("uncertain", 1)


async def test_e4_look_ups_that_are_not_answered_are_no_empty_ones(tmp_path: Path, picture: httpx2.Response) -> None:
    """E4: a computer that is offline for ten minutes finds its job afterwards."""
    service = Service(
        submit=[LOST],
        look_up=[httpx2.ConnectError("no route")] * 40 + [broken(404), says("running")],
        poll=[DONE],
        download=[picture],
    )
    async with open_job_layer(tmp_path, service, deduplication="lookup") as layer:
        await layer.add(deadline_seconds=1800)
        job = await layer.steps(most=100)
        assert layer.clock.now - START > 500
    assert (job.status, service.count("POST", "jobs")) == ("succeeded", 1)
