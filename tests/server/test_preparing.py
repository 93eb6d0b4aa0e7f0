"""Jobs whose pictures take longer to read than a call may: on record before that, and prepared beside the call.

The control picture comes by a link that is held until a test lets it go; calls are made by a client in memory.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext, ElicitationFnT
from pydantic import JsonValue, SecretStr

from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.views import Job
from tests.support.mcp_session import Reply, connect, settings_for
from tests.support.server_process import Place, piped
from tests.support.simulators.wavespeed import KEY
from tests.support.stalled_provider import StalledProvider

pytestmark = pytest.mark.anyio
_SECONDS = 120
_NUMBERS = count()
SOON: dict[str, JsonValue] = {"wait_seconds": 1}


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has."""
    return f"preparing-{next(_NUMBERS)}"


@pytest.fixture
def settings(tmp_path: Path, pictures: Path, vendor: StalledProvider) -> Settings:
    """Settings of a server whose paid provider and pictures are the vendor's, with the waits that users have."""
    origin = vendor.studio.origin
    keys = {"WAVESPEED_API_KEY": SecretStr(KEY), "WAVESPEED_BASE_URL": SecretStr(origin)}
    hosts = frozenset({origin.removeprefix("http://")})
    return settings_for(tmp_path / "data", pictures, keys=keys, trusted_hosts=hosts, wait_seconds_without_progress=4)


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    patience_seconds: float | None = 0.01,
    elicit: ElicitationFnT | None = None,
    mode: str = "auto",
) -> AsyncGenerator[tuple[Client, Application]]:
    """Open a server that waits so long for a request to be prepared, and a client on it."""
    async with open_application(settings) as usual:
        jobs = usual.services.jobs
        jobs = replace(jobs, patience_seconds=jobs.patience_seconds if patience_seconds is None else patience_seconds)
        application = replace(usual, services=replace(usual.services, jobs=jobs))
        async with connect(build_server(application, local=True), mode, elicit=elicit) as client:
            with anyio.fail_after(_SECONDS):
                yield client, application


async def generate(client: Client, vendor: StalledProvider, prompt: str, **more: JsonValue) -> Reply:
    """Ask for a picture of the vendor's link, and do not wait for it."""
    given = vendor.arguments(prompt) | {"wait_seconds": 0} | more
    return Reply(await client.call_tool("controlnet_generate", given))


async def settled(
    client: Client, job_id: str, holds: Callable[[Job], bool] = lambda job: job.stage != "preparing"
) -> Job:
    """Look at a job until something holds of it: that it is prepared, unless told otherwise."""
    while True:
        job = Reply(await client.call_tool("job_status", {"job_id": job_id, "wait_seconds": 1})).job
        if holds(job):
            return job


def told(result: dict[str, JsonValue]) -> Job:
    """The job that a line of the server holds."""
    match result:
        case {"content": [{"type": "text", "text": str(text)}, *_], "isError": False}:
            return Job.model_validate_json(text)
        case _:
            raise AssertionError(result)


def has_ended(job: Job) -> bool:
    """True for a job that is over."""
    return job.status not in {"queued", "running"}


async def test_a_slow_link_keeps_no_call_waiting(settings: Settings, vendor: StalledProvider, prompt: str) -> None:
    """H3: a call with the usual waits answers with a job on record although its picture has not come yet."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings, patience_seconds=None) as (client, _):
        given = {name: value for name, value in vendor.arguments(prompt).items() if name != "wait_seconds"}
        first = Reply(await client.call_tool("controlnet_generate", given)).job
        assert (first.status, first.stage, first.provider) == ("queued", "preparing", "wavespeed")
        assert [control.modality for control in first.controls] == ["canny"]
        assert first.job_id in first.next
        listed = Reply(await client.call_tool("list_jobs", {"status": "queued", "provider": "wavespeed"})).listed
        assert [row.job_id for row in listed] == [first.job_id]
        assert vendor.charges(prompt) == 0
        hold.release()
        job = await settled(client, first.job_id, has_ended)
    assert job.status == "succeeded", job.error
    assert (job.job_id, job.created_at, job.seed) == (first.job_id, first.created_at, 1)
    assert vendor.charges(prompt) == 1


async def test_what_goes_wrong_later_is_told_by_the_job(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: a slow picture that cannot be read fails its job with the sentence that the call would have got."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings) as (client, _):
        broken: dict[str, JsonValue] = {"extra_controls": [{"modality": "lineart", "image": "/nowhere.png"}]}
        first = (await generate(client, vendor, prompt, provider="draft", **broken)).job
        assert first.stage == "preparing"
        hold.release()
        job = await settled(client, first.job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "image_blocked"
        assert job.stage != "preparing"
        again = Reply(await client.call_tool("controlnet_generate", {"like_job": job.job_id}))
        assert again.error.code == "unsupported"
        assert "without like_job" in again.error.hint
    assert vendor.charges(prompt) == 0


async def test_a_mistake_in_the_arguments_is_an_error_of_its_call(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: whatever is wrong before a picture is read needs no job."""
    async with opened(settings, patience_seconds=0) as (client, _):
        for wrong in ({"modality": "cany"}, {"provider": "nobody"}, {"control_image": "asset_1"}, {"width": 1}):
            refused = await generate(client, vendor, prompt, **wrong)
            assert refused.error.code in {"invalid_request", "unsupported"}, wrong
        assert Reply(await client.call_tool("list_jobs", {})).listed == ()


async def test_a_quick_picture_that_is_none_is_an_error_of_its_call(settings: Settings) -> None:
    """H3: what is found out within the patience of a call is told by the call, and leaves no job."""
    async with opened(settings, patience_seconds=30) as (client, _):
        given = {"prompt": "a house", "control_image": "data:image/png;base64,aGVsbG8=", "wait_seconds": 0}
        assert Reply(await client.call_tool("controlnet_generate", given)).error.code == "image_unreadable"
        assert Reply(await client.call_tool("list_jobs", {})).listed == ()


async def test_a_job_is_stopped_while_it_is_prepared(settings: Settings, vendor: StalledProvider, prompt: str) -> None:
    """H3: cancel_job ends it at once, and nothing is bought when the picture comes after all."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings) as (client, application):
        first = (await generate(client, vendor, prompt)).job
        await hold.arrived()
        assert Reply(await client.call_tool("cancel_job", {"job_id": first.job_id})).job.status == "canceled"
        hold.release()
        assert (await settled(client, first.job_id)).status == "canceled"
        assert not application.services.jobs.runner.prepares(first.job_id)
    assert vendor.charges(prompt) == 0


@pytest.mark.parametrize("request_key", [None, "one"])
async def test_the_same_call_again_is_given_the_job_that_is_prepared(
    settings: Settings, vendor: StalledProvider, prompt: str, request_key: str | None
) -> None:
    """H3: calls that no answer reached, and calls with a key, have one job and one charge, however many come."""
    hold = vendor.hold(prompt, "reading")
    more: dict[str, JsonValue] = {"wait_seconds": 20, "request_key": request_key}
    jobs = list[Job]()
    async with opened(settings) as (client, _):

        async def call() -> None:
            jobs.append((await generate(client, vendor, prompt, **more)).job)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await hold.arrived()
            while not Reply(await client.call_tool("list_jobs", {})).listed:
                await anyio.lowlevel.checkpoint()
            for _ in range(5):
                tasks.start_soon(call)
            hold.release()
        assert len({job.job_id for job in jobs}) == 1
        assert {job.status for job in jobs} == {"succeeded"}
        assert len(Reply(await client.call_tool("list_jobs", {})).listed) == 1
    assert vendor.charges(prompt) == 1


async def test_a_call_that_is_given_up_keeps_its_job(settings: Settings, vendor: StalledProvider, prompt: str) -> None:
    """H3: the host cancels the call after the job is on record; the same call finds it, prepared and drawn once."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings) as (client, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: generate(client, vendor, prompt, wait_seconds=20))
            while not Reply(await client.call_tool("list_jobs", {})).listed:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        hold.release()
        job = (await generate(client, vendor, prompt, wait_seconds=20)).job
        assert job.status == "succeeded", job.error
    assert vendor.charges(prompt) == 1


async def test_a_process_that_ends_leaves_a_job_that_cost_nothing(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: the next process on the data folder fails what nobody prepares any more, and says what to do."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings) as (client, _):
        first = (await generate(client, vendor, prompt)).job
        await hold.arrived()
    hold.release()
    async with opened(settings) as (client, _):
        job = await settled(client, first.job_id, has_ended)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.retryable
        assert "nothing was bought" in job.error.message
        assert "controlnet_generate again" in job.error.hint
        again = (await generate(client, vendor, prompt, wait_seconds=20)).job
        assert (again.job_id != first.job_id, again.status) == (True, "succeeded")
    assert vendor.charges(prompt) == 1


@pytest.mark.parametrize("request_key", [None, "one"])
async def test_the_same_call_prepares_a_job_again_that_failed_before(
    settings: Settings, vendor: StalledProvider, prompt: str, request_key: str | None
) -> None:
    """H3: its process ended and no answer named it, or it has a key: it is one job, prepared again and bought once."""
    hold = vendor.hold(prompt, "reading")
    more: dict[str, JsonValue] = {"wait_seconds": 50, "request_key": request_key}
    async with opened(settings) as (client, _), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: generate(client, vendor, prompt, **more))
        while not Reply(await client.call_tool("list_jobs", {})).listed:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    hold.release()
    async with opened(settings, patience_seconds=60) as (client, _):
        job = (await generate(client, vendor, prompt, **more)).job
        assert job.status == "succeeded", job.error
        listed = Reply(await client.call_tool("list_jobs", {})).listed
        assert [row.job_id for row in listed] == [job.job_id]
        if request_key:
            assert (await generate(client, vendor, prompt, **more)).job == job
    assert vendor.charges(prompt) == 1


async def test_a_cap_holds_for_what_is_prepared_beside_its_call(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: spending is checked when the job is ready and before anything is sent; a job that passes the cap fails."""
    prompts = [f"{prompt}-{number}" for number in range(3)]
    holds = [vendor.hold(name, "reading") for name in prompts]
    async with opened(settings.model_copy(update={"max_cost_per_day": {"jobs": 1.0}})) as (client, _):
        jobs = [(await generate(client, vendor, name)).job for name in prompts]
        for hold in holds:
            hold.release()
        ended = [await settled(client, job.job_id, has_ended) for job in jobs]
    assert sorted(job.status for job in ended) == ["failed", "failed", "succeeded"]
    assert {job.error.code for job in ended if job.error} == {"payment_required"}
    assert sum(vendor.charges(name) for name in prompts) == 1


async def test_jobs_that_are_prepared_count_as_unfinished(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: nobody has more jobs at once than are allowed by letting their pictures come slowly."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings.model_copy(update={"max_jobs_in_flight": 1})) as (client, _):
        first = (await generate(client, vendor, prompt)).job
        refused = await generate(client, vendor, f"{prompt}-more")
        assert refused.error.code == "rate_limited"
        hold.release()
        assert (await settled(client, first.job_id, has_ended)).status == "succeeded"
    assert vendor.charges(prompt) == 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_question_about_the_price_keeps_its_call(
    settings: Settings, vendor: StalledProvider, prompt: str, mode: str
) -> None:
    """H3: where the user may have to agree, the call stays until they did, and the job is on record after that."""
    asked = list[str]()

    async def agree(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert context.request_id is not None
        asked.append(params.message)
        return types.ElicitResult(action="accept")

    replies = list[Reply]()
    hold = vendor.hold(prompt, "reading")
    rules = settings.model_copy(update={"confirm_above": {"jobs": 0.0}})
    async with opened(rules, elicit=agree, mode=mode) as (client, _):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                replies.append(await generate(client, vendor, prompt, wait_seconds=20))

            tasks.start_soon(call)
            await hold.arrived()
            assert Reply(await client.call_tool("list_jobs", {})).listed == ()
            hold.release()
        (reply,) = replies
        assert reply.job.status == "succeeded"
    assert len(asked) == 1
    assert vendor.charges(prompt) == 1


async def test_who_cannot_be_asked_buys_nothing_later_either(
    settings: Settings, vendor: StalledProvider, prompt: str
) -> None:
    """H3: a dear job of a client without a way to ask fails when its price is known."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings.model_copy(update={"confirm_above": {"jobs": 0.0}})) as (client, _):
        first = (await generate(client, vendor, prompt)).job
        hold.release()
        job = await settled(client, first.job_id)
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", "payment_required")
    assert vendor.charges(prompt) == 0


async def test_a_dry_run_waits_for_its_picture(settings: Settings, vendor: StalledProvider, prompt: str) -> None:
    """H3: the request that would be sent is exact, so its picture is read first; there is no job."""
    hold = vendor.hold(prompt, "reading")
    async with opened(settings) as (client, _), anyio.create_task_group() as tasks:
        replies = list[Reply]()

        async def call() -> None:
            replies.append(await generate(client, vendor, prompt, dry_run=True))

        tasks.start_soon(call)
        await hold.arrived()
        assert replies == []
        hold.release()
        while not replies:
            await anyio.lowlevel.checkpoint()
        assert '"dry_run":true' in replies[0].text
        assert Reply(await client.call_tool("list_jobs", {})).listed == ()


async def test_a_process_that_is_killed_leaves_a_job_that_cost_nothing(
    vendor: StalledProvider, prompt: str, pictures: Path, tmp_path: Path
) -> None:
    """H3: a server over stdio dies while the picture is on its way; the next one says so when the lease is over."""
    place = Place(tmp_path / "data", pictures)
    variables = {**vendor.variables, "CONTROLNET_MCP_LEASE_SECONDS": "2"}
    hold = vendor.hold(prompt, "reading")
    with anyio.fail_after(_SECONDS):
        async with piped(place, tmp_path / "one", **variables) as one:
            text, _ = await one.ask("tools/call", name="controlnet_generate", arguments=vendor.arguments(prompt) | SOON)
            first = told(text)
            assert (first.status, first.stage) == ("queued", "preparing")
            one.process.kill()
            await one.process.wait()
        async with piped(place, tmp_path / "two", **variables) as two:
            while True:
                result, _ = await two.ask("tools/call", name="job_status", arguments={"job_id": first.job_id, **SOON})
                if has_ended(job := told(result)):
                    break
    hold.release()
    assert job.status == "failed"
    assert job.error is not None
    assert "nothing was bought" in job.error.message
    assert vendor.charges(prompt) == 0
