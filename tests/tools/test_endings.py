"""Endings as callers read them: failures in words, look-ups that find nothing, flags, second charges, and the cap."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.jobs.store import JobStore, Lease, LeaseLostError
from controlnet_mcp.providers.types import RemoteTask, Report, Submission
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.views import Job
from tests.support.fault_server import give_up_soon
from tests.support.hosted_providers import serving, serving_file
from tests.support.mcp_session import Session, open_session, settings_for
from tests.support.simulators.scenario import ScenarioSimulator
from tests.support.simulators.scenario_store import KEY, SECRET
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import Studio
from tests.support.simulators.zhiqite import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

QUERY = f"{ROOT}/queryTaskInfo"
SIDE = 512


@dataclass(frozen=True, slots=True)
class Zhiqite:
    """The simulated service, and settings of a server that reaches it."""

    studio: Studio
    settings: Settings


@pytest.fixture
def zhiqite(tmp_path: Path, pictures: Path) -> Generator[Zhiqite]:
    """zhiqite, which fetches the control picture by a link of ours."""
    with serving("zhiqite") as hosted, serving_file(pictures / "sketch.png") as origin:
        keys = dict(hosted.variables)
        yield Zhiqite(hosted.studio, settings_for(tmp_path / "data", pictures, keys=keys, public_url=origin))


async def ended(session: Session, provider: str) -> Job:
    """Have a picture drawn, and wait for the end."""
    job = (await session.generate(provider=provider, width=SIDE, height=SIDE, modality="canny", wait_seconds=0)).job
    return await session.until_ended(job.job_id)


def task(**fields: JsonValue) -> Response:
    """An answer about a task."""
    return JSONResponse({"code": "200", "msg": "success", "data": {"id_task": "x", **fields}})


def refused(code: str, msg: str) -> Response:
    """An answer that names a fault."""
    return JSONResponse({"code": code, "msg": msg, "data": None})


IN_WORDS: Mapping[str, tuple[Response, str]] = {
    "失败": (task(status=4, desc="失败"), "provider_failed"),
    "生成失败,请重试": (task(status=4, desc="生成失败\uff0c请重试"), "provider_failed"),
    "审核不通过": (task(status=4, desc="审核不通过"), "moderated"),
    "图片审核未通过": (task(status=5, desc="图片审核未通过"), "moderated"),
    "内容违规": (task(desc="内容违规"), "moderated"),
    "参数错误": (task(status=4, desc="参数错误"), "invalid_request"),
    "steps 参数不合法": (task(status=4, desc="steps 参数不合法"), "invalid_request"),
    "rejected": (task(status=4, desc="rejected"), "provider_failed"),
    "Rejected by content audit": (task(status=4, desc="Rejected by content audit"), "moderated"),
    "failed": (task(status="failed"), "provider_failed"),
    "FAILED": (task(status=3, desc="FAILED"), "provider_failed"),
    "error": (task(status=-1, desc="error"), "provider_failed"),
    "CUDA error": (task(status=3, desc="CUDA error: out of memory"), "provider_failed"),
    "invalid parameter": (task(status=3, desc="invalid parameter: steps"), "invalid_request"),
    "nsfw": (task(status=3, desc="NSFW content"), "moderated"),
    "why": (task(status=3, desc="", failReason="生成过程中出错"), "provider_failed"),
    "beside": (JSONResponse({"code": 200, "msg": "任务失败", "data": {"status": 3}}), "provider_failed"),
}
"""Answers about a task that has failed, and the code of the failure."""


@pytest.mark.parametrize("words", IN_WORDS)
async def test_e3_a_failure_in_zhiqite_s_words_ends_the_job(zhiqite: Zhiqite, words: str) -> None:
    """E3: at once, with the code of the words and with the words themselves."""
    answer, code = IN_WORDS[words]
    zhiqite.studio.fail_next(QUERY, task(status=1, desc="drawing"), answer)
    async with open_session(zhiqite.settings) as session:
        job = await ended(session, "zhiqite")
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", code)
    assert "zhiqite said" in job.error.message
    assert zhiqite.studio.charges == 1


@pytest.mark.parametrize(
    "going_on",
    [
        task(status=1, desc="失败重试中"),
        task(status=1, desc="正在重试"),
        task(status=1, desc="审核中"),
        task(status=1, desc="审核通过\uff0c生成中"),
        task(status=1, desc="no errors so far"),
        task(status=1, desc="failed: 0"),
        task(status=1, desc="retrying after an error"),
        task(status=77, desc="in line", progress=0.99),
        task(status=1, desc="预处理完成"),
        refused("500", "系统错误"),
        refused("503", "server is busy"),
    ],
)
async def test_e3_words_that_name_no_end_do_not_end_the_job(zhiqite: Zhiqite, going_on: Response) -> None:
    """E3: an audit, a retry and a fault of the service are no failure of the task: the picture comes."""
    zhiqite.studio.fail_next(QUERY, going_on, going_on)
    async with open_session(zhiqite.settings) as session:
        assert (await ended(session, "zhiqite")).status == "succeeded"


AT_LAST: Mapping[str, tuple[Response, str, str]] = {
    "100 % as a fraction": (task(status=1, desc="drawing", progress=1.0), "provider_failed", "no picture"),
    "100 % in per cent": (task(status=1, desc="drawing", progress=100), "provider_failed", "no picture"),
    "100 % as text": (task(status=1, desc="drawing", progress="100%"), "provider_failed", "no picture"),
    "done": (task(status=2, desc="done", differentialImageRspList=[]), "provider_failed", "no picture"),
    "完成": (task(status=9, desc="任务已完成"), "provider_failed", "no picture"),
    "unknown": (refused("404", "no such task"), "not_found", "no such task"),
    "任务不存在": (refused("5001", "任务不存在"), "not_found", "任务不存在"),
    "audit": (refused("400", "审核不通过"), "moderated", "审核不通过"),
    "setting": (refused("400", "参数错误"), "invalid_request", "参数错误"),
}
"""Answers that end a job where they last."""


@pytest.mark.parametrize("name", AT_LAST)
async def test_e3_an_answer_that_lasts_ends_the_job(
    zhiqite: Zhiqite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """E3: 100 % without a picture, for one: pictures may come a little later, and then do not."""
    give_up_soon(monkeypatch)
    answer, code, words = AT_LAST[name]
    zhiqite.studio.fail_next(QUERY, *[answer] * 200)
    async with open_session(zhiqite.settings) as session:
        job = await ended(session, "zhiqite")
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", code)
        assert words in job.error.message
        zhiqite.studio.faults.clear()
        await session.call("job_status", job_id=job.job_id, fetch=True)
        job = await session.until_ended(job.job_id)
    assert (job.status, zhiqite.studio.charges) == ("succeeded", 1)


@pytest.mark.parametrize("name", ["100 % as a fraction", "done", "unknown"])
async def test_e3_a_picture_that_comes_after_the_word_is_taken(zhiqite: Zhiqite, name: str) -> None:
    """E3: a few looks later it is there."""
    zhiqite.studio.fail_next(QUERY, *[AT_LAST[name][0]] * 2)
    async with open_session(zhiqite.settings) as session:
        assert (await ended(session, "zhiqite")).status == "succeeded"


NOTHING = {
    "no data": JSONResponse({"code": "200", "msg": "success", "data": None}),
    "empty data": JSONResponse({"code": "200", "msg": "success", "data": {}}),
    "nulls": JSONResponse({"code": "200", "msg": "success", "data": {"status": None, "desc": None}}),
    "404": refused("404", "no such task"),
    "a code of its own": refused("5001", "任务不存在"),
    "500 in words": refused("500", "task not found"),
    "400": refused("400", "参数错误"),
    "HTTP 404": Response("not found", 404),
}
"""Answers to a question about a task that does not exist."""


@pytest.mark.parametrize("name", NOTHING)
async def test_e4_look_ups_that_find_nothing_end_as_uncertain(
    zhiqite: Zhiqite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """E4: the answer was lost, zhiqite knows nothing of it however often it is asked, and nothing is sent again."""
    give_up_soon(monkeypatch)
    zhiqite.studio.fail_next(f"{ROOT}/controlnet", Response("bad gateway", 502))
    zhiqite.studio.fail_next(QUERY, *[NOTHING[name]] * 200)
    async with open_session(zhiqite.settings) as session:
        job = await ended(session, "zhiqite")
    assert job.status == "uncertain"
    assert "jobs resolve" in job.next
    assert len(zhiqite.studio.calls(f"{ROOT}/controlnet")) == 1
    assert len(zhiqite.studio.calls(QUERY)) == 11


@pytest.fixture
def scenario() -> Generator[ScenarioSimulator]:
    """Scenario, whose jobs are done at the first look."""
    listening = free_socket()
    service = ScenarioSimulator(origin_of(listening), statuses=("queued", "success"))
    with running(service.app(), listening):
        yield service


def scenario_settings(scenario: ScenarioSimulator, folder: Path, pictures: Path) -> Settings:
    """Settings of a server that reaches it."""
    keys = {"SCENARIO_API_KEY": KEY, "SCENARIO_API_SECRET": SECRET, "SCENARIO_BASE_URL": f"{scenario.origin}/v1"}
    return settings_for(folder, pictures, keys=keys)


@pytest.mark.parametrize(
    ("nsfw", "flagged"),
    [
        (["nudity"], True),
        (["suggestive", "violence"], True),
        ("nudity", True),
        (True, True),
        ({"nudity": True}, True),
        ([], None),
        (None, None),
        (False, None),
        (["none"], None),
        ({"nudity": False}, None),
    ],
)
async def test_e5_a_flag_on_an_asset_is_told(
    scenario: ScenarioSimulator, tmp_path: Path, pictures: Path, nsfw: JsonValue, flagged: JsonValue
) -> None:
    """E5: what Scenario's safety filter says stands on the asset; the picture is delivered, and flagged."""
    scenario.store.nsfw = nsfw
    async with open_session(scenario_settings(scenario, tmp_path / "data", pictures)) as session:
        job = await ended(session, "scenario")
    assert job.images is not None
    assert [image.flagged for image in job.images] == [flagged]


@contextmanager
def another_process(settings: Settings) -> Generator[JobStore]:
    """The record as another process on the data folder has it open."""
    database = Database(settings.data_folder / "jobs.sqlite3")
    try:
        yield JobStore(database)
    finally:
        database.close()


async def test_f1_a_second_charge_is_told_by_a_process_that_showed_the_finished_job(settings: Settings) -> None:
    """F1: another process heard of it after the end, and this one has shown the job before."""
    async with open_session(settings) as session:
        job_id = (await session.generate()).job.job_id
        before = (await session.call("job_status", job_id=job_id)).job.warnings or ()
        with another_process(settings) as store:
            late = Submission(task=RemoteTask(remote_id="task-of-the-second-charge"), report=Report(phase="queued"))
            with pytest.raises(LeaseLostError):
                await store.accept(await store.get(job_id, "local"), Lease(job_id, 0), late)
        shown = (await session.call("job_status", job_id=job_id)).job
        listed = (await session.call("list_jobs")).listed[0]
    for told in (shown, listed):
        assert told.warnings is not None
        assert told.warnings[:-1] == before
        assert told.warnings[-1].kind == "charge"
        assert "task-of-the-second-charge" in told.warnings[-1].detail


async def test_f1_a_job_that_another_process_deleted_is_gone(settings: Settings) -> None:
    """F1: what is too old is deleted by whichever process comes first, and the others say so."""
    async with open_session(settings) as session:
        job = (await session.generate()).job
        assert (await session.call("job_status", job_id=job.job_id)).job.status == "succeeded"
        with another_process(settings) as store:
            assert await store.delete_old(time.time() + 1) == {job.job_id}
        assert (await session.call("job_status", job_id=job.job_id)).error.code == "not_found"
        assert (await session.call("list_jobs")).listed == ()


async def test_e2_only_its_owner_fetches_a_job(settings: Settings) -> None:
    """E2: for everybody else there is no such job; one that lacks nothing, or was never accepted, is shown as it is."""
    async with open_session(settings) as session:
        job = (await session.generate()).job
        service = session.application.services.jobs
        with pytest.raises(RequestError) as caught:
            await service.fetch(job.job_id, Caller("somebody else", local=True))
        assert caught.value.code == "not_found"
        assert (await session.call("job_status", job_id=job.job_id, fetch=True)).job == job
        refused_job = (await session.generate(provider_options={"simulate": "payment_required"})).job
        again = (await session.call("job_status", job_id=refused_job.job_id, fetch=True)).job
        assert (again.status, again.error) == ("failed", refused_job.error)
        assert "fetch=true" not in again.next


async def test_e2_fetching_hurries_no_submission_and_no_look(zhiqite: Zhiqite) -> None:
    """E2: a job that is not done yet is looked at when it is due, however often its pictures are asked for."""
    zhiqite.studio.fail_next(f"{ROOT}/controlnet", Response("bad gateway", 502))
    zhiqite.studio.fail_next(QUERY, *[NOTHING["404"]] * 200)
    async with open_session(zhiqite.settings) as session:
        job = (
            await session.generate(provider="zhiqite", width=SIDE, height=SIDE, modality="canny", wait_seconds=0)
        ).job
        begun = time.monotonic()
        for _ in range(30):
            job = (await session.call("job_status", job_id=job.job_id, fetch=True)).job
        elapsed = time.monotonic() - begun
        assert job.status == "queued"
        assert len(zhiqite.studio.calls(QUERY)) <= 3 + elapsed


async def test_f10_two_hundred_calls_at_once_start_as_many_jobs_as_one_caller_may_have(settings: Settings) -> None:
    """F10: one hundred, by the count in the transaction that writes the job."""
    statuses: list[str] = []
    options: dict[str, JsonValue] = {"simulate": "queued", "seconds": 600}
    async with open_session(settings) as session:

        async def call(number: int) -> None:
            reply = await session.generate(prompt=f"house {number}", wait_seconds=0, provider_options=options)
            statuses.append(reply.error.code if reply.result.is_error else reply.job.status)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(call, number)
    assert (statuses.count("queued"), statuses.count("rate_limited")) == (100, 100)


async def test_e6_all_jobs_of_a_provider_together_are_looked_at_five_times_a_second(
    scenario: ScenarioSimulator, tmp_path: Path, pictures: Path
) -> None:
    """E6: sixteen jobs that two processes drive; no limit of Scenario is documented."""
    scenario.statuses = ("queued",)
    settings = scenario_settings(scenario, tmp_path / "data", pictures)
    async with open_session(settings) as one, open_session(settings) as two:
        for number in range(16):
            session = (one, two)[number % 2]
            usual: dict[str, JsonValue] = {"provider": "scenario", "modality": "canny", "wait_seconds": 0}
            size: dict[str, JsonValue] = {"width": SIDE, "height": SIDE}
            reply = await session.generate(prompt=f"house {number}", **usual, **size)
            assert reply.job.status == "queued"
        before, begun = looks(scenario), time.monotonic()
        with anyio.fail_after(60):
            while looks(scenario) < before + 16:
                await one.call("list_jobs")
        assert time.monotonic() - begun >= 15 / 5 - 0.5


def looks(scenario: ScenarioSimulator) -> int:
    """How often the provider was asked how a job stands."""
    return sum(row.path.startswith("/v1/jobs/") for row in scenario.studio.received)
