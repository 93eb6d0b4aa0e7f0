"""What the record counts as spent, and how many jobs one caller may have: ways round a cap by time or by number."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.budget import DAY_SECONDS, Admission, Spending
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.providers.types import Cost
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.settings import Settings
from tests.support.job_layer import PRINCIPAL, Answer, JobLayer, Service, broken, open_job_layer, says

pytestmark = pytest.mark.anyio
RULES = Spending(per_day={"scripted": 1.0}, run="run")
CAP = Admission(RULES, paid=True, cost=Cost(amount=0.3, unit="USD"))
"""Three of 0.3 fit into 1 a day, a fourth does not."""


@dataclass(slots=True)
class Till:
    """One caller's way to jobs in a job layer's record."""

    layer: JobLayer
    admission: Admission = CAP
    count: int = 0

    async def buy(self) -> str:
        """Add a job; gives its id."""
        self.count += 1
        return (await self.layer.add(f"job_{self.count}", admit=self.admission)).job_id

    async def fits(self) -> int:
        """How many more jobs fit; they are bought."""
        for number in range(20):
            try:
                await self.buy()
            except RequestError:
                return number
        raise AssertionError("there is no end")


@pytest.fixture
async def till(tmp_path: Path) -> AsyncGenerator[Till]:
    """A till whose provider takes everything."""
    async with open_job_layer(tmp_path, Service()) as layer:
        yield Till(layer)


async def settled(folder: Path, *answers: Answer, cancel: bool = False) -> int:
    """How many jobs fit into a day's cap after one whose submission was answered so."""
    async with open_job_layer(folder, Service(submit=answers or [says("queued", 201)])) as layer:
        till = Till(layer)
        job_id = await till.buy()
        if cancel:
            await layer.store.request_cancel(job_id)
        await layer.step(job_id=job_id)
        return await till.fits()


async def test_what_is_reserved_counts_before_it_is_charged(till: Till) -> None:
    """Exactly: tenths add up as people add them."""
    assert await till.fits() == 3
    till.admission = replace(CAP, cost=Cost(amount=0.1, unit="USD"))
    assert await till.fits() == 1


async def test_a_submission_that_was_refused_gives_its_money_back(tmp_path: Path) -> None:
    """So does one that was called off before it left; one that may have been accepted does not."""
    assert await settled(tmp_path / "refused", broken(402)) == 3
    assert await settled(tmp_path / "called off", cancel=True) == 3
    assert await settled(tmp_path / "accepted") == 2
    assert await settled(tmp_path / "uncertain", broken(500)) == 2


async def test_what_was_charged_takes_the_place_of_what_was_expected(till: Till) -> None:
    """Dearer or cheaper; nonsense of a provider does not make room."""
    for charged, fits in ((0.9, 0), (0.1, 3), (0.0, 3), (-5.0, 3), (float("nan"), 2), (None, 2)):
        till.layer.clock.now += DAY_SECONDS + 1
        job_id = await till.buy()
        claimed = await till.layer.claim(job_id=job_id)
        assert claimed is not None
        job, lease = claimed
        cost = None if charged is None else Cost(amount=charged, unit="USD")
        await till.layer.store.save(job.model_copy(update={"cost": cost}), lease)
        assert await till.fits() == fits, charged


async def test_a_second_charge_counts_twice(till: Till, tmp_path: Path) -> None:
    """Where a provider took one job for two, the caller's budget knows it."""
    job_id = await till.buy()
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as record, record:
        record.execute("""UPDATE jobs SET orphans = '["task-2"]' WHERE job_id = ?""", (job_id,))
    assert await till.fits() == 1


async def test_a_job_that_is_forgotten_was_paid_for_all_the_same(till: Till, tmp_path: Path) -> None:
    """Deleting old jobs makes no room in a cap."""
    job_id = await till.buy()
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as record, record:
        record.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))
    assert await till.fits() == 2


async def test_a_day_is_any_24_hours(till: Till) -> None:
    """Not twice the cap around midnight."""
    assert await till.fits() == 3
    till.layer.clock.now += DAY_SECONDS - 1
    assert await till.fits() == 0
    till.layer.clock.now += 2
    assert await till.fits() == 3


async def test_a_session_is_one_run_of_the_server(till: Till) -> None:
    """The next run starts anew."""
    till.admission = replace(CAP, rules=Spending(per_session={"scripted": 1.0}, run="run"))
    assert await till.fits() == 3
    till.admission = replace(till.admission, rules=replace(till.admission.rules, run="the next"))
    assert await till.fits() == 3


async def test_nobody_is_charged_for_others(till: Till) -> None:
    """A cap is each caller's own."""
    assert await till.fits() == 3
    job = await till.layer.read("job_1")
    theirs = job.model_copy(update={"job_id": "theirs", "principal": "another"})
    kept, _ = await till.layer.store.add(theirs, request_key=None, fingerprint="x", admit=CAP)
    assert kept.principal != PRINCIPAL


async def test_a_cap_on_jobs_counts_those_of_all_providers(till: Till) -> None:
    """Whatever each costs, known or not."""
    till.admission = replace(CAP, rules=Spending(per_day={"jobs": 2}, run="run"), cost=None)
    assert await till.fits() == 2


@pytest.mark.parametrize("told", [None, float("nan"), float("inf"), -1.0])
async def test_a_price_that_is_none_is_not_taken_for_nothing(till: Till, told: float | None) -> None:
    """Without the operator's own estimate, nothing is bought; with it, that counts for every picture."""

    async def price() -> Cost | None:
        return None if told is None else Cost(amount=told, unit="USD")

    provider = till.layer.provider
    with pytest.raises(RequestError, match="does not tell") as caught:
        await Spending(per_day={"scripted": 1.0}).agree(provider, 3, price, None)
    assert "COST_ESTIMATES" in caught.value.hint
    admission = await Spending(per_day={"scripted": 1.0}, estimates={"scripted": 0.2}).agree(provider, 3, price, None)
    assert admission.cost is not None
    assert admission.cost.amount == pytest.approx(0.6)


def test_a_job_that_was_just_added_counts_once() -> None:
    """It is on record while its call still holds its place; the next call may have the last one."""
    rules = Spending(jobs_in_flight=2)
    with rules.room("a", 0), rules.room("a", 1), pytest.raises(RequestError, match="2 unfinished jobs"):
        rules.room("a", 1).__enter__()


async def test_a_thousand_calls_start_no_more_jobs_than_one_caller_may_have(settings: Settings) -> None:
    """Nor are pictures read for those that are refused; somebody else is served meanwhile."""
    options: dict[str, JsonValue] = {"simulate": "queued", "seconds": 60}
    photo = str(settings.allowed_folders[0] / "photo.png")
    codes: list[str] = []
    async with open_application(settings.model_copy(update={"max_jobs_in_flight": 5})) as application:
        await application.table.load()
        service = application.services.jobs

        async def call(number: int, caller: Caller) -> None:
            request = GenerateRequest(
                prompt=f"p {number}", control_image=photo, provider="draft", provider_options=options
            )
            try:
                codes.append((await service.submit(request, caller)).status)
            except RequestError as error:
                codes.append(error.code)

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for number in range(1000):
                    tasks.start_soon(call, number, Caller("a", local=True))
        assert (codes.count("queued"), codes.count("rate_limited")) == (5, 995)
        await call(0, Caller("b", local=True))
        assert codes[-1] == "queued"
        service = replace(service, spending=Spending())
        for number in range(6):
            await call(number, Caller("c", local=True))
        assert codes[-6:] == ["queued"] * 6, "without the control it works"
