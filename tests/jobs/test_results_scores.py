"""Scores are measured in passing: a job that was paid for neither fails nor waits for them."""

import logging
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import httpx2
import numpy as np
import pytest
from anyio import to_thread

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.structure_score import StructureScore
from controlnet_mcp.jobs.driver import JobRunner
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.jobs.results import Scorer
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.providers.types import Control, ResolvedRequest
from controlnet_mcp.server.transports.shutdown import background
from tests.support.job_layer import LEASE_SECONDS, PRINCIPAL, Service, open_job_layer
from tests.support.sample_drawings import depth_map, house, vase
from tests.support.structure_pairs import Rgb, map_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

PAGE = house(128)
LINES = map_of(PAGE, "canny")


def request_for(*controls: Control) -> ResolvedRequest:
    """A generation with these controls."""
    return ResolvedRequest(prompt="a house", controls=controls, width=128, height=128, seed=1)


def job_for(*controls: Control) -> JobRecord:
    """A job that is about to succeed."""
    return JobRecord(
        job_id="job_1",
        principal="somebody",
        provider="scripted",
        state="fetching",
        request=request_for(*controls),
        reference="reference-1",
        created_at=0,
        updated_at=0,
        deadline_at=600,
    )


async def control_of(blobs: BlobStore, rgb: Rgb, modality: str = "canny", weight: float = 1.0) -> Control:
    """A ready map as a control."""
    picture = await to_thread.run_sync(blobs.put_pixels, rgb)
    return Control(modality=modality, picture=picture, is_map=True, weight=weight)


async def scored(scorer: Scorer, result: Rgb, *controls: Control) -> StructureScore | None:
    """The score of one result."""
    job = job_for(*controls)
    image = ResultImage(picture=await to_thread.run_sync(scorer.blobs.put_pixels, result))
    (found,) = await scorer.scored(job, (image,))
    assert found.picture == image.picture
    return found.structure


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """An empty store of pictures."""
    return BlobStore(tmp_path / "pictures")


async def test_a_finished_job_keeps_the_score_of_every_picture(tmp_path: Path) -> None:
    """It is in the record, beside the picture."""
    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(request=request_for(await control_of(layer.blobs, LINES)))
        await layer.steps()
        (image,) = (await layer.read()).images
    assert image.structure is not None
    assert (image.structure.modality, image.structure.metric) == ("canny", "edge_f1")
    assert image.structure.score > 0.95


async def test_a_job_succeeds_when_its_pictures_cannot_be_scored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The control picture is gone from the store: no score, and the log says why."""
    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    async with open_job_layer(tmp_path, service) as layer:
        control = await control_of(layer.blobs, LINES)
        assert control.picture is not None
        path = await to_thread.run_sync(layer.blobs.path, control.picture.sha256)
        assert path is not None
        await anyio.Path(path).unlink()
        await layer.add(request=request_for(control))
        with caplog.at_level(logging.ERROR, "controlnet_mcp.jobs.results"):
            job = await layer.steps()
    assert (job.status, [image.structure for image in job.images]) == ("succeeded", [None])
    assert "could not be scored" in caplog.text


async def test_a_job_does_not_wait_long_for_its_scores(blobs: BlobStore, caplog: pytest.LogCaptureFixture) -> None:
    """What takes longer than is allowed for goes on by itself; the pictures go out without a score."""
    release = threading.Event()

    def model(rgb: Rgb) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        assert release.wait(120)
        return np.asarray(rgb[..., 0], dtype=np.float32)

    control = await control_of(blobs, depth_map(64), "depth")
    with anyio.fail_after(120):
        try:
            assert await scored(Scorer(blobs, model, patience_seconds=0.05), depth_map(64), control) is None
        finally:
            release.set()
    assert "were not scored in 0.05 seconds" in caplog.text


async def test_one_job_is_scored_at_a_time(blobs: BlobStore) -> None:
    """Three jobs that finish together do not take three processors from the server."""
    working = threading.Semaphore(1)
    overlaps: list[bool] = []

    def model(rgb: Rgb) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        free = working.acquire(blocking=False)
        overlaps.append(not free)
        levels = np.asarray(np.sort(rgb[..., 0].repeat(64, axis=0), axis=0)[:64], dtype=np.float32)
        if free:
            working.release()
        return levels

    scorer = Scorer(blobs, model)
    control = await control_of(blobs, depth_map(64), "depth")
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(partial(scored, scorer, depth_map(64), control))
    assert overlaps == [False] * 3


async def test_the_first_control_that_can_be_measured_is_looked_for(blobs: BlobStore) -> None:
    """A pose has no measure, depth none without a model, and a control without weight asks for nothing."""
    pose = await control_of(blobs, PAGE, "pose")
    depth = await control_of(blobs, depth_map(128), "depth")
    unweighted = await control_of(blobs, map_of(vase(128), "canny"), weight=0)
    lines = await control_of(blobs, map_of(PAGE, "lineart"), "lineart")
    found = await scored(Scorer(blobs), PAGE, pose, depth, unweighted, lines)
    assert found is not None
    assert (found.modality, found.score > 0.95) == ("lineart", True)
    assert await scored(Scorer(blobs), PAGE, pose, depth) is None
    assert await scored(Scorer(blobs), PAGE, Control(modality="canny", asset_id="asset_1")) is None


class Fatal(BaseException):  # no error: the end of a process
    """The process is gone."""


class FatalScorer(Scorer):
    """Ends the process, as a library that crashes would."""

    async def scored(self, job: JobRecord, images: tuple[ResultImage, ...]) -> tuple[ResultImage, ...]:  # noqa: ARG002  # the point
        """End."""
        raise Fatal


async def test_scores_that_a_process_did_not_live_to_measure_are_made_good(tmp_path: Path) -> None:
    """The next process measures them; such a job counts as finished meanwhile, and nobody submits anything."""
    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(request=request_for(await control_of(layer.blobs, LINES)))
        fatal = replace(layer, driver=replace(layer.driver, scorer=FatalScorer(layer.blobs)))
        with pytest.raises(Fatal):
            await fatal.steps()
        _, unfinished = await layer.store.earlier(PRINCIPAL, request_key=None, fingerprint="")
        assert ((await layer.read()).status, unfinished) == ("succeeded", 0)
        layer.clock.now += LEASE_SECONDS + 1
        async with background() as tasks:
            runner = JobRunner(layer.driver, JobSubscriptions(layer.store), "two")
            runner.start(tasks)
            with anyio.fail_after(120):
                while not (await layer.read()).settled:
                    await anyio.lowlevel.checkpoint()
        (image,) = (await layer.read()).images
        assert await layer.claim("three") is None
    assert image.structure is not None
    assert (image.structure.score > 0.95, service.count("POST", "jobs")) == (True, 1)


async def test_whoever_follows_a_job_hears_of_its_scores_too(tmp_path: Path) -> None:
    """The pictures may be told of first; the last word has the scores."""
    told: list[JobRecord] = []

    async def tell(job: JobRecord) -> None:
        told.append(job)

    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    async with open_job_layer(tmp_path, service) as layer, background() as tasks:
        job = await layer.add(request=request_for(await control_of(layer.blobs, LINES)))
        subscriptions = JobSubscriptions(layer.store)
        subscriptions.start(tasks)
        JobRunner(layer.driver, subscriptions, "one").start(tasks)
        with anyio.fail_after(120):
            await subscriptions.announce(job, tell, 0)
    assert [image.structure is not None for image in told[-1].images] == [True]


async def test_pictures_that_end_processes_are_not_scored_for_ever(tmp_path: Path) -> None:
    """Two processes died of it: the job is final without scores."""
    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    async with open_job_layer(tmp_path, service) as layer:
        await layer.add(request=request_for(await control_of(layer.blobs, LINES)))
        fatal = replace(layer, driver=replace(layer.driver, scorer=FatalScorer(layer.blobs)))
        for _ in range(2):
            with pytest.raises(Fatal):
                await fatal.steps()
            layer.clock.now += LEASE_SECONDS + 1
        job = await fatal.step()
    assert (job.settled, [image.structure for image in job.images]) == (True, [None])


async def test_a_job_with_nothing_to_score_is_final_as_it_succeeds(tmp_path: Path) -> None:
    """Its last commit says so; one whose pictures are still to be scored is not final yet."""
    service = Service(download=[httpx2.Response(200, content=encode_png(PAGE))])
    for modality, final in (("canny", False), ("pose", True)):
        async with open_job_layer(tmp_path / modality, service) as layer:
            await layer.add(request=request_for(await control_of(layer.blobs, LINES, modality)))
            claimed = await layer.claim()
            assert claimed is not None
            job, lease = claimed
            while not job.ended:
                layer.clock.now = max(layer.clock.now, job.wake_at)
                job = await layer.driver.step(job, lease)
            assert (job.state, (await layer.read()).measured) == ("succeeded", final)
