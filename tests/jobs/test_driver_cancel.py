"""Stopping a job: before it is sent, where the provider can, and where it cannot."""

from pathlib import Path

import anyio
import httpx2
import pytest

from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import ResolvedRequest
from controlnet_mcp.server.transports.shutdown import background
from tests.support.job_layer import PICTURE_URL, Answer, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

RUNNING = says("running", progress=0.5)
DONE = says("succeeded", url=PICTURE_URL)


@pytest.fixture
def picture(pictures: Path) -> httpx2.Response:
    """A finished picture as the provider serves it."""
    return httpx2.Response(200, content=(pictures / "photo.png").read_bytes())


async def test_a_job_is_canceled_before_it_is_sent(tmp_path: Path) -> None:
    """A job that is stopped before its submission costs nothing."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.store.request_cancel("job_1")
        job = await layer.step()
    assert (job.status, service.requests) == ("canceled", [])


async def test_a_cancel_that_comes_while_a_job_waits_in_line_keeps_it_from_being_sent(tmp_path: Path) -> None:
    """Whoever drives it learns of it in the transaction that would have written the intent."""
    service = Service()
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        claimed = await layer.claim()
        assert claimed is not None
        await layer.store.request_cancel("job_1")
        job = await layer.driver.step(*claimed)
        assert await layer.events("intent") == []
    assert (job.status, service.requests) == ("canceled", [])


async def test_a_job_whose_uploads_fail_can_be_canceled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again first, and has not failed."""
    tries: list[str] = []

    async def prepare(_self: Sender, _to: Provider, _request: ResolvedRequest, reference: str) -> None:
        tries.append(reference)
        raise ProviderError("provider_failed", "No room.", provider="scripted", retryable=True, delivery="not_sent")

    monkeypatch.setattr(Sender, "prepare", prepare)
    async with open_job_layer(tmp_path, Service()) as layer:
        await layer.add()
        assert (await layer.step()).failures == 1
        await layer.store.request_cancel("job_1")
        job = await layer.step()
    assert (job.status, len(tries)) == ("canceled", 1)


async def test_a_cancel_told_to_another_process_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only written down, and nobody wakes the job, which would not be looked at for a long time."""
    monkeypatch.setattr("controlnet_mcp.jobs.driver.CANCEL_SECONDS", 0.01)
    service = Service([says("queued", 201, eta=500)], [RUNNING])
    async with open_job_layer(tmp_path, service) as layer, background() as tasks:
        await layer.add()
        runner = JobRunner(layer.driver, JobSubscriptions(layer.store), "one")
        runner.start(tasks)
        with anyio.fail_after(120):
            while (await layer.read()).task is None:
                await anyio.lowlevel.checkpoint()
            await layer.store.request_cancel("job_1")
            while not (await layer.read()).ended:
                await anyio.lowlevel.checkpoint()
        assert (await layer.read()).status == "canceled"
    assert (service.count("DELETE", "jobs"), service.count("GET", "jobs")) == (1, 0)


async def test_a_running_job_is_canceled_at_the_provider(tmp_path: Path) -> None:
    """The provider is told once, and its yes ends the job."""
    service = Service(poll=[RUNNING])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        await layer.store.request_cancel("job_1")
        job = await layer.step()
    assert (job.status, job.images) == ("canceled", ())
    assert service.count("DELETE", "jobs") == 1


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_job_that_cannot_be_stopped_goes_on(tmp_path: Path, picture: httpx2.Response, *, cancels: bool) -> None:
    """A warning says so, the provider is not asked again, and the result is kept."""
    service = Service(poll=[RUNNING, RUNNING, DONE], cancel=[broken(409)], download=[picture])
    async with open_job_layer(tmp_path, service, cancels=cancels) as layer:
        await layer.add()
        await layer.step()
        await layer.store.request_cancel("job_1")
        job = await layer.step()
        assert (job.status, job.cancel_answered) == ("queued", True)
        job = await layer.steps()
    assert (job.status, len(job.images)) == ("succeeded", 1)
    assert [row.feature for row in job.warnings] == ["cancel"]
    assert service.count("DELETE", "jobs") == int(cancels)


@pytest.mark.parametrize("fault", [broken(500), broken(429), httpx2.ReadTimeout("slow"), broken(404), broken(403)])
async def test_a_fault_of_the_cancellation_does_not_lose_the_result(
    tmp_path: Path, picture: httpx2.Response, fault: Answer
) -> None:
    """While the provider fails to stop the job it is polled all the same."""
    service = Service(poll=[RUNNING, RUNNING, DONE], cancel=[fault], download=[picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        await layer.store.request_cancel("job_1")
        job = await layer.steps()
    assert (job.status, len(job.images)) == ("succeeded", 1)


async def test_a_cancellation_that_failed_at_first_is_tried_again(tmp_path: Path) -> None:
    """A moment of trouble at the provider does not turn a cancel into nothing."""
    service = Service(poll=[RUNNING], cancel=[broken(500), httpx2.ReadTimeout("slow"), broken(204, "")])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        await layer.step()
        await layer.store.request_cancel("job_1")
        job = await layer.steps()
    assert job.status == "canceled"
    assert service.count("DELETE", "jobs") == 3


async def test_a_job_that_the_provider_canceled_is_canceled(tmp_path: Path) -> None:
    """Somebody may stop it in the provider's own pages."""
    async with open_job_layer(tmp_path, Service(poll=[says("canceled")])) as layer:
        await layer.add()
        job = await layer.steps()
    assert job.status == "canceled"
