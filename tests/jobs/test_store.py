"""The record as callers see it: repeated requests, other people's jobs, pages."""

from pathlib import Path

import pytest

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.record import JobRecord
from tests.support.job_layer import PRINCIPAL, JobLayer, Service, open_job_layer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def ask(
    layer: JobLayer, job_id: str, *, key: str | None = None, fingerprint: str = "w", who: str = PRINCIPAL
) -> JobRecord:
    """Hand in a new job for a request, and give the job that it means."""
    template = await layer.add(f"job_template_of_{job_id}")
    fresh = template.model_copy(update={"job_id": job_id, "principal": who})
    kept, _ = await layer.store.add(fresh, request_key=key, fingerprint=fingerprint)
    return kept


async def test_the_same_key_is_the_same_job_for_ever(tmp_path: Path) -> None:
    """Delivered or not, whatever else is asked for: a key means one job."""
    async with open_job_layer(tmp_path, Service()) as layer:
        first = await ask(layer, "job_1", key="k")
        await layer.store.mark_delivered("job_1")
        again = await ask(layer, "job_2", key="k", fingerprint="something else")
        looked_up, _ = await layer.store.earlier(PRINCIPAL, request_key="k", fingerprint="w")
    assert first.job_id == again.job_id == "job_1"
    assert looked_up is not None
    assert looked_up.job_id == "job_1"


async def test_a_key_belongs_to_whoever_uses_it(tmp_path: Path) -> None:
    """Another principal's key of the same text is another key."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await ask(layer, "job_1", key="k")
        assert (await ask(layer, "job_2", key="k", who="somebody else")).job_id == "job_2"


async def test_the_same_request_is_the_same_job_until_its_answer_went_out(tmp_path: Path) -> None:
    """A host that timed out and tried again gets the job it never heard of; a later request is a new one."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await ask(layer, "job_1")
        assert (await ask(layer, "job_2")).job_id == "job_1"
        await layer.store.mark_delivered("job_1")
        assert (await ask(layer, "job_3")).job_id == "job_3"
        assert (await ask(layer, "job_4")).job_id == "job_3"


async def test_a_job_with_a_key_is_not_found_by_its_request(tmp_path: Path) -> None:
    """Somebody who names requests means other jobs than somebody who does not."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await ask(layer, "job_1", key="k")
        assert (await ask(layer, "job_2")).job_id == "job_2"


async def test_jobs_of_others_do_not_exist(tmp_path: Path) -> None:
    """A foreign job and an unknown one give the same answer."""
    async with open_job_layer(tmp_path, Service()) as layer:
        await layer.add("job_1")
        told: list[str] = []
        for job_id, who in (("job_1", "somebody else"), ("job_2", PRINCIPAL)):
            with pytest.raises(RequestError) as caught:
                await layer.store.get(job_id, who)
            told.append(str(caught.value).replace(job_id, "?"))
        page = await layer.store.page("somebody else", status=None, provider=None, limit=10, cursor=None)
    assert told[0] == told[1]
    assert page.jobs == ()


async def test_pages_show_every_job_once_newest_first(tmp_path: Path) -> None:
    """Jobs of the same moment are neither lost nor shown twice where a page ends between them."""
    async with open_job_layer(tmp_path, Service()) as layer:
        for number in range(7):
            layer.clock.now += number % 2
            await layer.add(f"job_{number}")
        seen: list[str] = []
        cursor = None
        for _ in range(4):
            page = await layer.store.page(PRINCIPAL, status=None, provider=None, limit=2, cursor=cursor)
            seen.extend(job.job_id for job in page.jobs)
            cursor = page.next_cursor
    assert seen == [f"job_{number}" for number in reversed(range(7))]
    assert cursor is None


async def test_a_record_survives_writing_and_reading(tmp_path: Path) -> None:
    """Every field comes back as it was, from another connection too."""
    async with open_job_layer(tmp_path, Service()) as layer, open_job_layer(tmp_path, Service()) as other:
        job = await layer.add(progress=0.25, stage="drawing \u2603", seed=4294967295)
        assert await other.read() == job


async def test_a_finished_job_that_is_kept_in_memory_stays_its_owner_s(tmp_path: Path) -> None:
    """A document is parsed once; somebody else who knows its id still gets nothing."""
    async with open_job_layer(tmp_path, Service()) as layer:
        job = await ask(layer, "job_1")
        claimed = await layer.store.claim("job_1", "here")
        assert claimed is not None
        await layer.store.save(job.model_copy(update={"state": "succeeded"}), claimed[1])
        await layer.store.mark_delivered("job_1")
        assert (await layer.store.get("job_1", PRINCIPAL)).state == "succeeded"
        assert (await layer.store.get("job_1", PRINCIPAL)).delivered
        with pytest.raises(RequestError) as caught:
            await layer.store.get("job_1", "somebody else")
    assert caught.value.code == "not_found"
