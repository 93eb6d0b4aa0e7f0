"""The tools that only look: `list_jobs`, `list_modalities`, `list_models`, and `cancel_job`."""

import json

import pytest
from pydantic import JsonValue

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.tools.list_jobs import JobList
from controlnet_mcp.tools.list_modalities import ModalityList
from controlnet_mcp.tools.list_models import ModelList
from tests.support.mcp_session import Reply, Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

WAITING: dict[str, JsonValue] = {"provider_options": {"simulate": "queued", "seconds": 60}, "wait_seconds": 0}
FAILING: dict[str, JsonValue] = {"provider_options": {"simulate": "failed", "seconds": 0}}


def jobs_of(reply: Reply) -> list[str]:
    """Ids of the listed jobs, in order."""
    assert reply.result.structured_content == json.loads(reply.text)
    return [job.job_id for job in JobList.model_validate_json(reply.text).jobs]


async def test_jobs_are_listed_newest_first_page_by_page(session: Session) -> None:
    """The cursor of one page leads to the next, and the last page has none."""
    made = [(await session.generate(prompt=f"number {n}", **WAITING)).job.job_id for n in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        reply = await session.call("list_jobs", limit=2, cursor=cursor)
        seen.extend(jobs_of(reply))
        cursor = JobList.model_validate_json(reply.text).next_cursor
    assert seen == made[::-1]
    assert cursor is None


async def test_jobs_can_be_filtered(session: Session) -> None:
    """By status and by provider."""
    waiting = (await session.generate(**WAITING)).job.job_id
    failed = (await session.generate(**FAILING)).job.job_id
    done = (await session.generate()).job.job_id
    for status, expected in (("queued", [waiting]), ("failed", [failed]), ("succeeded", [done]), ("canceled", [])):
        assert jobs_of(await session.call("list_jobs", status=status)) == expected
    assert jobs_of(await session.call("list_jobs", provider="draft")) == [done, failed, waiting]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "12~job_1~3~"}, "cursor"),
        ({"status": "unfinished"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"provider": "scenaro"}, "provider"),
    ],
)
async def test_a_wrong_filter_is_told(session: Session, arguments: dict[str, JsonValue], named: str) -> None:
    """A cursor that is not ours, a status that there is not, a page that is too large."""
    reply = await session.call("list_jobs", **arguments)
    assert reply.error.code == "invalid_request"
    assert named in reply.error.message


async def test_a_listed_job_is_the_job(session: Session) -> None:
    """The list shows the same facts as `job_status`."""
    done = (await session.generate()).job
    (listed,) = JobList.model_validate_json((await session.call("list_jobs")).text).jobs
    assert listed == done


async def test_a_list_stays_small_however_long_the_prompts_are(session: Session) -> None:
    """No message may reach a million bytes, and a model has to read the list."""
    store = session.application.services.jobs.store
    first = await store.get((await session.generate(**WAITING)).job.job_id, "local")
    request = first.request.model_copy(update={"prompt": "\u4e00" * 8000, "negative_prompt": "x" * 8000})
    for number in range(100):
        copy = first.model_copy(update={"job_id": f"job_{number:032x}", "request": request})
        await store.add(copy, request_key=None, fingerprint=str(number))
    reply = await session.call("list_jobs", limit=100)
    assert len(jobs_of(reply)) == 100
    assert len(reply.result.model_dump_json(by_alias=True).encode()) < 400_000
    (contents,) = await session.read("controlnet://jobs")
    assert len(contents.model_dump_json().encode()) < 400_000


async def test_every_modality_is_listed(session: Session) -> None:
    """With its meaning, whether its map can be made here, and who offers it."""
    listed = ModalityList.model_validate_json((await session.call("list_modalities")).text)
    assert {row.name for row in listed.modalities} == set(MODALITIES)
    for row in listed.modalities:
        assert row.keeps
        assert "draft" in [offer.provider for offer in row.offers]
    draft = next(row for row in listed.providers if row.name == "draft")
    assert draft.ready
    assert draft.ai_generated is False
    assert draft.max_side


async def test_providers_that_are_not_ready_name_what_is_missing(session: Session) -> None:
    """A provider without its key is listed with the variable to set."""
    listed = ModalityList.model_validate_json((await session.call("list_modalities")).text)
    for row in listed.providers:
        assert row.ready != bool(row.missing)
        assert all(name.isupper() for name in row.missing or ())


async def test_the_lists_can_be_narrowed(session: Session) -> None:
    """To one provider, to one modality under any of its names; a wrong name gets the nearest one."""
    narrow = ModalityList.model_validate_json(
        (await session.call("list_modalities", provider="draft", modality="openpose")).text
    )
    assert [row.name for row in narrow.modalities] == ["pose"]
    assert [row.name for row in narrow.providers] == ["draft"]
    for arguments, nearest in (({"modality": "depht"}, "depth"), ({"provider": "draught"}, "draft")):
        error = (await session.call("list_modalities", **arguments)).error
        assert error.code == "invalid_request"
        assert f"Did you mean {nearest}" in error.hint


async def test_models_of_the_draft_engine_are_listed(session: Session) -> None:
    """With the names of its own options and the limits of its sizes."""
    reply = await session.call("list_models", provider="draft")
    listed = ModelList.model_validate_json(reply.text)
    assert reply.result.structured_content == json.loads(reply.text)
    assert {"watercolour", "ink"} <= {row.name for row in listed.models}
    assert {"simulate", "seconds"} <= set(listed.options)
    assert all(listed.options.values()), "every option is described"
    assert listed.sizes.minimum <= 64 < listed.sizes.maximum


async def test_a_listed_model_can_be_asked_for(session: Session) -> None:
    """The name from the list is the name to use."""
    job = (await session.generate(model="ink")).job
    assert (job.status, job.model) == ("succeeded", "ink")


async def test_typed_answers_fit_their_schemas(session: Session) -> None:
    """A client that has listed the tools checks them, and takes every answer."""
    job_id = (await session.generate()).job.job_id
    listed = {tool.name for tool in (await session.client.list_tools()).tools if tool.output_schema}
    calls: dict[str, dict[str, JsonValue]] = {
        "list_modalities": {},
        "list_models": {"provider": "draft"},
        "list_jobs": {},
        "cancel_job": {"job_id": job_id},
    }
    assert listed == set(calls)
    for tool, arguments in calls.items():
        assert not (await session.call(tool, **arguments)).result.is_error


async def test_a_queued_job_is_stopped(session: Session) -> None:
    """It ends as canceled, and stays so."""
    job_id = (await session.generate(**WAITING)).job.job_id
    reply = await session.call("cancel_job", job_id=job_id)
    assert reply.result.structured_content == json.loads(reply.text)
    assert reply.job.status == "canceled"
    assert (await session.call("job_status", job_id=job_id, wait_seconds=1)).job.status == "canceled"
    assert (await session.call("cancel_job", job_id=job_id)).job.status == "canceled"


async def test_a_running_job_is_stopped(session: Session) -> None:
    """Work in progress, too."""
    running: dict[str, JsonValue] = {"provider_options": {"simulate": "progress", "seconds": 60}, "wait_seconds": 0.2}
    job_id = (await session.generate(**running)).job.job_id
    assert (await session.call("cancel_job", job_id=job_id)).job.status == "canceled"


async def test_a_finished_job_is_not_undone(session: Session) -> None:
    """Stopping it afterwards changes nothing and loses nothing."""
    done = (await session.generate()).job
    after = (await session.call("cancel_job", job_id=done.job_id)).job
    assert (after.status, after.images) == ("succeeded", done.images)


async def test_a_list_survives_a_picture_that_was_deleted(session: Session) -> None:
    """The job is still known; only the path and the preview of what is gone are missing."""
    done = (await session.generate()).job
    assert done.images is not None
    assert done.images[0].path is not None
    done.images[0].path.unlink()
    (listed,) = JobList.model_validate_json((await session.call("list_jobs")).text).jobs
    assert listed.images is not None
    assert listed.images[0].path is None
    reply = await session.call("job_status", job_id=done.job_id)
    assert reply.job.status == "succeeded"
    assert reply.previews == []
