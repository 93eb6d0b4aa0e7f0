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
from tests.support.job_layer import PRINCIPAL, Service, Workshop, open_workshop
from tests.support.mcp_session import open_session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

DAY = 86400.0


def pixel(number: int, pictures: Path) -> bytes:
    """A small picture unlike the others: its bytes count, not what it shows."""
    return (pictures / "blank.png").read_bytes() + bytes([number])


async def keep(shop: Workshop, job_id: str, content: bytes, **changes: object) -> str:
    """Keep a finished, delivered job with a picture, as old as the clock says; gives the picture's hash."""
    sha256 = await to_thread.run_sync(shop.blobs.put, content, "image/png")
    await to_thread.run_sync(shop.blobs.annotate, sha256, job_id, b"{}")
    path = await to_thread.run_sync(shop.blobs.path, sha256)
    os.utime(path, (shop.clock.now, shop.clock.now))
    picture = StoredPicture(sha256=sha256, mime_type="image/png", width=1, height=1, size_bytes=len(content))
    await shop.add(job_id)
    claimed = await shop.claim("one", job_id)
    assert claimed is not None
    ended = claimed[0].model_copy(
        update={"state": "succeeded", "measured": True, "images": (ResultImage(picture=picture),)} | changes
    )
    await shop.store.save(ended, claimed[1])
    await shop.store.mark_delivered(job_id)
    return sha256


def notes(folder: Path, sha256: str) -> set[str]:
    """The jobs that something is noted of beside a picture, which may be gone."""
    return {path.name.split(".")[1] for path in folder.rglob(f"{sha256}.*.json")}


def retention_of(shop: Workshop, days: float = 30) -> Retention:
    """What forgets in a workshop."""
    return Retention(shop.store, shop.blobs, days, shop.clock)


async def exists(shop: Workshop, job_id: str) -> bool:
    """Whether a job is known."""
    try:
        job: JobRecord = await shop.store.get(job_id, PRINCIPAL)
    except RequestError:
        return False
    return job.job_id == job_id


async def test_what_is_old_and_delivered_is_forgotten(tmp_path: Path, pictures: Path) -> None:
    """The job, its events and its picture go; a younger job keeps all of its own."""
    async with open_workshop(tmp_path, Service()) as shop:
        old = await keep(shop, "job_old", pixel(1, pictures))
        shop.clock.now += 20 * DAY
        young = await keep(shop, "job_young", pixel(2, pictures))
        shop.clock.now += 20 * DAY
        assert await retention_of(shop).delete_old() == (1, 1)
        assert not await exists(shop, "job_old")
        assert await exists(shop, "job_young")
        assert not await to_thread.run_sync(shop.blobs.exists, old)
        assert await to_thread.run_sync(shop.blobs.exists, young)
        assert (notes(tmp_path, old), notes(tmp_path, young)) == (set(), {"job_young"})
        assert not (await shop.store.events("job_old")).rows


async def test_what_was_not_delivered_is_kept(tmp_path: Path, pictures: Path) -> None:
    """However old: an answer that names it may still be wanted, and so may the truth about an uncertain one."""
    async with open_workshop(tmp_path, Service()) as shop:
        picture = await keep(shop, "job_waiting", pixel(1, pictures))
        await shop.database.run(lambda db: db.execute("UPDATE jobs SET delivered = 0"))
        await keep(shop, "job_uncertain", pixel(2, pictures), state="uncertain", images=())
        await shop.add("job_open")
        shop.clock.now += 400 * DAY
        assert await retention_of(shop).delete_old() == (0, 1)
        assert all([await exists(shop, name) for name in ("job_waiting", "job_uncertain", "job_open")])
        assert await to_thread.run_sync(shop.blobs.exists, picture)


async def test_a_picture_that_another_job_names_is_kept(tmp_path: Path, pictures: Path) -> None:
    """Pictures are shared by their content: the job that is left keeps its own."""
    async with open_workshop(tmp_path, Service()) as shop:
        shared = await keep(shop, "job_old", pixel(1, pictures))
        shop.clock.now += 40 * DAY
        await keep(shop, "job_young", pixel(1, pictures))
        path = await to_thread.run_sync(shop.blobs.path, shared)
        os.utime(path, (0, 0))
        assert notes(tmp_path, shared) == {"job_old", "job_young"}
        assert await retention_of(shop).delete_old() == (1, 0)
        assert await to_thread.run_sync(shop.blobs.exists, shared)
        assert notes(tmp_path, shared) == {"job_young"}


async def test_a_picture_that_is_stored_again_is_young_again(tmp_path: Path, pictures: Path) -> None:
    """It may be about to be named by a job that is just being made."""
    async with open_workshop(tmp_path, Service()) as shop:
        sha256 = await keep(shop, "job_old", pixel(1, pictures))
        shop.clock.now += 40 * DAY
        os.utime(await to_thread.run_sync(shop.blobs.path, sha256), (0, 0))
        await to_thread.run_sync(shop.blobs.put, pixel(1, pictures), "image/png")
        await to_thread.run_sync(shop.blobs.delete, sha256, 1_000_000_000.0)
        assert await to_thread.run_sync(shop.blobs.exists, sha256)


async def test_nothing_is_forgotten_unless_the_operator_says_so(settings: Settings) -> None:
    """The setting is off by default, and works in a running server when it is set."""
    assert settings.retention_days is None
    async with open_session(settings) as session:
        job = (await session.generate()).job
        await session.application.services.jobs.store.page("local", status=None, provider=None, limit=1, cursor=None)
    async with open_session(settings.model_copy(update={"retention_days": 1e-9})) as session:
        with anyio.fail_after(30):
            while (await session.call("list_jobs")).listed:
                await anyio.lowlevel.checkpoint()
        assert (await session.call("job_status", job_id=job.job_id)).error.code == "not_found"
