"""Downloading results when something is in the way: no room on the disk, or one picture that never comes."""

import errno
import os
from pathlib import Path

import httpx2
import pytest

from controlnet_mcp.tools.views import next_step
from tests.support.job_layer import PICTURE_URL, Service, broken, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

DONE = says("succeeded", url=PICTURE_URL)


@pytest.fixture
def picture(pictures: Path) -> httpx2.Response:
    """A finished picture as the provider serves it."""
    return httpx2.Response(200, content=(pictures / "photo.png").read_bytes())


def full(descriptor: int) -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(descriptor))


async def test_a_full_disk_never_fails_a_job_that_was_paid_for(
    tmp_path: Path, picture: httpx2.Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits past its deadline with the provider's link in sight, and is done as soon as there is room."""
    async with open_job_layer(tmp_path, Service(poll=[DONE], download=[picture])) as layer:
        job = await layer.add(deadline_seconds=20)
        await layer.step()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for _ in range(12):
                job = await layer.step()
        assert layer.clock.now > job.deadline_at
        assert (job.state, "disk" in str(job.stage)) == ("fetching", True)
        assert PICTURE_URL in next_step(job)
        job = await layer.step()
    assert (job.status, len(job.images)) == ("succeeded", 1)


async def test_pictures_that_came_are_kept_although_another_never_does(
    tmp_path: Path, picture: httpx2.Response
) -> None:
    """It is asked for until the deadline; then the job succeeds with what there is, and says so."""
    two = httpx2.Response(200, json={"id": "task-1", "phase": "succeeded", "url": PICTURE_URL, "more": "results/2.png"})
    service = Service(poll=[two], download=[picture, broken(404)])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(deadline_seconds=30)
        job = await layer.steps()
        assert layer.clock.now >= job.deadline_at
    assert (job.status, len(job.images)) == ("succeeded", 1)
    assert [row.feature for row in job.warnings] == ["num_images"]


async def test_a_picture_that_comes_late_comes_all_the_same(tmp_path: Path, picture: httpx2.Response) -> None:
    """A link that fails at first is followed again."""
    two = httpx2.Response(200, json={"id": "task-1", "phase": "succeeded", "url": PICTURE_URL, "more": "results/2.png"})
    service = Service(poll=[two], download=[picture, broken(500), picture])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add()
        job = await layer.steps()
    assert (job.status, len(job.images), job.warnings) == ("succeeded", 2, ())
