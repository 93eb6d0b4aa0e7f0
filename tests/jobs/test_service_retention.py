"""Forgetting what is old, where the operator wants it: never what was not delivered, never what is still named."""

import os
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.jobs.service import Retention
from controlnet_mcp.server.settings import Settings
from tests.support.job_layer import PRINCIPAL, JobLayer, Service, open_job_layer
from tests.support.mcp_session import open_session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

DAY = 86400.0


def pixel(number: int, pictures: Path) -> bytes:
    """A small picture unlike the others: its bytes count, not what it shows."""
    return (pictures / "blank.png").read_bytes() + bytes([number])


async def keep(layer: JobLayer, job_id: str, content: bytes, **changes: object) -> str:
    """Keep a finished, delivered job with a picture, as old as the clock says; gives the picture's hash."""
    sha256 = await to_thread.run_sync(layer.blobs.put, content, "image/png")
    await to_thread.run_sync(layer.blobs.annotate, sha256, job_id, b"{}")
    path = await to_thread.run_sync(layer.blobs.path, sha256)
    os.utime(path, (layer.clock.now, layer.clock.now))
    picture = StoredPicture(sha256=sha256, mime_type="image/png", width=1, height=1, size_bytes=len(content))
    await layer.add(job_id)
    claimed = await layer.claim("one", job_id)
    assert claimed is not None
    ended = claimed[0].model_copy(
        update={"state": "succeeded", "measured": True, "images": (ResultImage(picture=picture),)} | changes
    )
    await layer.store.save(ended, claimed[1])
    await layer.store.mark_delivered(job_id)
    return sha256


def notes(folder: Path, sha256: str) -> set[str]:
    """The jobs that something is noted of beside a picture, which may be gone."""
    return {path.name.split(".")[1] for path in folder.rglob(f"{sha256}.*.json")}


def retention_of(layer: JobLayer, days: float = 30) -> Retention:
    """What forgets in a job layer."""
    return Retention(layer.store, layer.blobs, days, layer.clock)


async def exists(layer: JobLayer, job_id: str) -> bool:
    """Whether a job is known."""
    try:
        job: JobRecord = await layer.store.get(job_id, PRINCIPAL)
    except RequestError:
        return False
    return job.job_id == job_id


async def test_what_is_old_and_delivered_is_forgotten(tmp_path: Path, pictures: Path) -> None:
    """The job, its events and its picture go; a younger job keeps all of its own."""
    async with open_job_layer(tmp_path, Service()) as layer:
        old = await keep(layer, "job_old", pixel(1, pictures))
        layer.clock.now += 20 * DAY
        young = await keep(layer, "job_young", pixel(2, pictures))
        layer.clock.now += 20 * DAY
        assert await retention_of(layer).delete_old() == (1, 1)
        assert not await exists(layer, "job_old")
        assert await exists(layer, "job_young")
        assert not await to_thread.run_sync(layer.blobs.exists, old)
        assert await to_thread.run_sync(layer.blobs.exists, young)
        assert (notes(tmp_path, old), notes(tmp_path, young)) == (set(), {"job_young"})
        assert not (await layer.store.events("job_old")).rows


async def test_what_was_not_delivered_is_kept(tmp_path: Path, pictures: Path) -> None:
    """However old: an answer that names it may still be wanted, and so may the truth about an uncertain one."""
    async with open_job_layer(tmp_path, Service()) as layer:
        picture = await keep(layer, "job_waiting", pixel(1, pictures))
        await layer.database.run(lambda db: db.execute("UPDATE jobs SET delivered = 0"))
        await keep(layer, "job_uncertain", pixel(2, pictures), state="uncertain", images=())
        await layer.add("job_open")
        layer.clock.now += 400 * DAY
        assert await retention_of(layer).delete_old() == (0, 1)
        assert all([await exists(layer, name) for name in ("job_waiting", "job_uncertain", "job_open")])
        assert await to_thread.run_sync(layer.blobs.exists, picture)


async def test_a_picture_that_another_job_names_is_kept(tmp_path: Path, pictures: Path) -> None:
    """Pictures are shared by their content: the job that is left keeps its own."""
    async with open_job_layer(tmp_path, Service()) as layer:
        shared = await keep(layer, "job_old", pixel(1, pictures))
        layer.clock.now += 40 * DAY
        await keep(layer, "job_young", pixel(1, pictures))
        path = await to_thread.run_sync(layer.blobs.path, shared)
        os.utime(path, (0, 0))
        assert notes(tmp_path, shared) == {"job_old", "job_young"}
        assert await retention_of(layer).delete_old() == (1, 0)
        assert await to_thread.run_sync(layer.blobs.exists, shared)
        assert notes(tmp_path, shared) == {"job_young"}


async def test_a_picture_that_is_stored_again_is_young_again(tmp_path: Path, pictures: Path) -> None:
    """It may be about to be named by a job that is just being made."""
    async with open_job_layer(tmp_path, Service()) as layer:
        sha256 = await keep(layer, "job_old", pixel(1, pictures))
        layer.clock.now += 40 * DAY
        os.utime(await to_thread.run_sync(layer.blobs.path, sha256), (0, 0))
        await to_thread.run_sync(layer.blobs.put, pixel(1, pictures), "image/png")
        await to_thread.run_sync(layer.blobs.delete, sha256, 1_000_000_000.0)
        assert await to_thread.run_sync(layer.blobs.exists, sha256)


async def test_nothing_is_forgotten_unless_the_operator_says_so(settings: Settings) -> None:
    """The setting is off by default, and works in a running server when it is set."""
    assert settings.retention_days is None
    async with open_session(settings) as session:
        job = (await session.generate()).job
        await session.application.services.jobs.store.page("local", status=None, provider=None, limit=1, cursor=None)
    async with open_session(settings.model_copy(update={"retention_days": 1e-9})) as session:
        with anyio.fail_after(120):
            while (await session.call("list_jobs")).listed:
                await anyio.lowlevel.checkpoint()
        assert (await session.call("job_status", job_id=job.job_id)).error.code == "not_found"
