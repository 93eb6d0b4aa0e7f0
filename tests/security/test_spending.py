"""Attacks on the operator's money: many calls at once, prices that nobody knows, and buying without being asked.

WaveSpeed's simulator is the paid provider: it tells a price, and counts what it was paid for. Each control is also
taken away, to show that the attack works without it.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp.client.session import ClientRequestContext
from pydantic import BaseModel, JsonValue, ValidationError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.jobs.service import Caller, JobService
from controlnet_mcp.jobs.store import Account, Admit, JobStore, Lease
from controlnet_mcp.providers.types import Cost
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from tests.support.hosted_providers import Hosted, keys_of, serving
from tests.support.mcp_session import Reply, Session, connect, open_session, settings_for

pytestmark = pytest.mark.anyio
PAID = "wavespeed"
AT_ONCE = 6


@pytest.fixture(scope="module")
def paid() -> Generator[Hosted]:
    """The paid provider."""
    with serving(PAID) as hosted:
        yield hosted


@dataclass(frozen=True, slots=True)
class Rules:
    """Makes settings of a server whose only provider but `draft` is the paid one."""

    folder: Path
    pictures: Path
    paid: Hosted

    def __call__(self, **rules: object) -> Settings:
        """Settings with rules on spending, and a data folder of its own."""
        return settings_for(self.folder, self.pictures, keys=keys_of([self.paid]), **rules)


@pytest.fixture
def rules(tmp_path: Path, pictures: Path, paid: Hosted) -> Rules:
    """Settings to be made."""
    return Rules(tmp_path / "data", pictures, paid)


async def buy(session: Session, **more: JsonValue) -> Reply:
    """Ask for a picture from the paid provider, without waiting for it."""
    return await session.generate(provider=PAID, wait_seconds=0, **more)


class Priced(BaseModel):
    """What is needed of a dry run."""

    price: Cost


async def price_of(session: Session) -> float:
    """What a picture costs there, as a dry run tells."""
    return Priced.model_validate_json((await buy(session, dry_run=True)).text).price.amount


async def codes_of(session: Session, count: int) -> Counter[str]:
    """What comes of many calls at the same time: jobs, or the codes of refusals."""
    codes: Counter[str] = Counter()

    async def one(number: int) -> None:
        reply = await buy(session, prompt=f"picture {number}")
        codes[reply.error.code if reply.result.is_error else "job"] += 1

    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
    return codes


async def test_fifty_calls_at_once_spend_exactly_the_cap(rules: Rules) -> None:
    """Seven prices are allowed, seven are spent."""
    async with open_session(rules()) as session:
        price = await price_of(session)
    async with open_session(rules(max_cost_per_day={PAID: price * 7})) as session:
        assert await codes_of(session, 50) == {"job": 7, "payment_required": 43}
        refused = (await buy(session, prompt="another")).error
    assert f"{price * 7:g}" in refused.message
    assert not refused.retryable


class CarelessStore(JobStore):
    """Looks first and writes afterwards, as if that were the same."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        super().__init__(database)
        self.database = database
        self.waiting = 0
        self.all_checked = anyio.Event()

    async def add(
        self,
        record: JobRecord,
        *,
        request_key: str | None,
        fingerprint: str,
        admit: Admit | None = None,
        owner: str | None = None,
    ) -> tuple[JobRecord, Lease | None]:
        """Insert a job in a transaction of its own."""

        def check(db: sqlite3.Connection) -> None:
            assert admit is not None
            db.execute("SAVEPOINT look")
            admit(Account(db, record.principal), record)
            db.execute("ROLLBACK TO look")  # it only looks

        await self.database.run(check)
        self.waiting += 1
        if self.waiting == AT_ONCE:
            self.all_checked.set()
        await self.all_checked.wait()
        return await super().add(record, request_key=request_key, fingerprint=fingerprint, owner=owner)


async def test_the_cap_holds_because_it_is_checked_where_the_job_is_written(rules: Rules) -> None:
    """Six at once pass a cap of three as soon as another call can come between check and job."""
    async with open_application(rules(max_cost_per_day={"jobs": 3})) as application:
        await application.table.load()
        service = application.services.jobs
        requests = requests_for(rules, AT_ONCE)
        with closing(Database(rules.folder / "jobs.sqlite3")) as database:
            careless = replace(service, store=CarelessStore(database))
            assert await admitted(careless, requests, Caller("a", local=True)) == AT_ONCE
        assert await admitted(service, requests, Caller("b", local=True)) == 3


def requests_for(rules: Rules, count: int) -> list[GenerateRequest]:
    """Several requests for the paid provider."""
    photo = str(rules.pictures / "photo.png")
    return [GenerateRequest(prompt=f"p {number}", control_image=photo, provider=PAID) for number in range(count)]


async def admitted(service: JobService, requests: list[GenerateRequest], caller: Caller) -> int:
    """How many of several requests at the same time become jobs."""
    jobs: list[JobRecord] = []

    async def submit(request: GenerateRequest) -> None:
        with suppress(RequestError):
            jobs.append(await service.submit(request, caller))

    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for request in requests:
                tasks.start_soon(submit, request)
    return len(jobs)


async def test_budgets_are_each_callers_own(rules: Rules) -> None:
    """What one spent is not taken from another, and one caller's day is over for the session too."""
    async with open_application(rules(max_cost_per_day={"jobs": 2})) as application:
        await application.table.load()
        requests = requests_for(rules, 3)
        for name in ("a", "b"):
            assert await admitted(application.services.jobs, requests, Caller(name, local=True)) == 2


async def test_a_session_ends_with_the_server_a_day_does_not(rules: Rules) -> None:
    """A restart gives a new session's budget; what was spent today stays spent."""
    for period, after in (("max_cost_per_session", "job"), ("max_cost_per_day", "payment_required")):
        settings = rules(**{period: {"jobs": 1}}).model_copy(update={"data_dir": rules.folder / period})
        async with open_session(settings) as session:
            assert await codes_of(session, 2) == {"job": 1, "payment_required": 1}
        async with open_session(settings) as session:
            reply = await buy(session, prompt="tomorrow")
            assert (reply.error.code if reply.result.is_error else "job") == after


async def test_one_job_may_not_cost_too_much(rules: Rules, paid: Hosted) -> None:
    """One picture is allowed, two are not; nothing was submitted."""
    async with open_session(rules()) as session:
        price = await price_of(session)
    async with open_session(rules(max_cost_per_job={PAID: price})) as session:
        before = paid.studio.charges
        refused = (await buy(session, num_images=2)).error
        assert refused.code == "payment_required"
        assert paid.studio.charges == before
        assert await codes_of(session, 1) == {"job": 1}


async def test_the_same_wish_again_costs_nothing_again(rules: Rules) -> None:
    """It is the job that was bought already, and no cap stands in its way."""
    async with open_session(rules(max_cost_per_day={"jobs": 1})) as session:
        first, again = [(await buy(session, request_key="k")).job.job_id for _ in range(2)]
        assert first == again
        assert (await buy(session, request_key="other")).error.code == "payment_required"


async def test_free_engines_need_no_budget(rules: Rules) -> None:
    """Nobody charges for a draft."""
    async with open_session(rules(max_cost_per_day={"jobs": 0}, confirm_above={"jobs": 0})) as session:
        assert (await session.generate(provider="draft")).job.status == "succeeded"


async def test_a_provider_that_no_cap_covers_is_not_used(rules: Rules) -> None:
    """Else `auto` would find a way round every cap; a cap on jobs covers all."""
    async with open_session(rules(max_cost_per_day={"segmind": 5.0})) as session:
        refused = (await buy(session)).error
    assert (refused.code, "segmind" in refused.hint) == ("not_configured", True)
    async with open_session(rules(max_cost_per_day={"segmind": 5.0, "jobs": 5})) as session:
        assert (await buy(session)).job.status == "queued"


@pytest.mark.parametrize("rule", ["max_cost_per_job", "confirm_above", "cost_estimates"])
def test_a_rule_for_nobody_is_told_at_the_start(rules: Rules, rule: str) -> None:
    """A slip of the pen would cap nothing: the settings are refused, with the name that may be meant."""
    with pytest.raises(ValidationError, match=r"wavespede.*Did you mean wavespeed"):
        rules(**{rule: {"wavespede": 1.0}})


@pytest.mark.parametrize(
    "text", ["wavespeed", "wavespeed=much", "wavespeed=-1", "wavespeed=nan", "wavespeed=inf", "=,"]
)
def test_an_amount_that_makes_no_sense_is_an_error(rules: Rules, text: str) -> None:
    """As the operator writes it."""
    with pytest.raises(ValueError, match="max_cost_per_day"):
        rules(max_cost_per_day=text)
    assert rules(max_cost_per_day=" wavespeed = 1.5,jobs=3 ").max_cost_per_day == {PAID: 1.5, "jobs": 3.0}


@dataclass(slots=True)
class User:
    """Answers questions, and remembers them."""

    action: str = "accept"
    heard: list[str] = field(default_factory=list[str])

    async def __call__(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Answer one."""
        assert context.request_id is not None
        self.heard.append(params.message)
        return types.ElicitResult.model_validate({"action": self.action})


@asynccontextmanager
async def asked(settings: Settings, mode: str, user: User | None) -> AsyncGenerator[Session]:
    """A session whose client asks a user, where there is one."""
    async with (
        open_application(settings) as application,
        connect(build_server(application, local=True), mode, elicit=user) as client,
    ):
        yield Session(client, application, settings.allowed_folders[0])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_above_the_threshold_the_user_decides(rules: Rules, mode: str) -> None:
    """In both eras of the protocol: yes buys, no and closing the question do not."""
    settings = rules(confirm_above={PAID: 0.0001})
    for action, outcome in (("accept", "job"), ("decline", "canceled"), ("cancel", "canceled")):
        user = User(action)
        async with asked(settings, mode, user) as session:
            price = await price_of(session)
            assert await codes_of(session, 1) == {outcome: 1}
        assert len(user.heard) == 1
        assert f"{price:g}" in user.heard[0]
        assert PAID in user.heard[0]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_cannot_ask_buys_nothing_dear(rules: Rules, mode: str, paid: Hosted) -> None:
    """And says why; below the threshold, or without one, nobody has to be asked."""
    charges = paid.studio.charges
    async with asked(rules(confirm_above={"jobs": 0}), mode, None) as session:
        refused = (await buy(session)).error
        assert refused.code == "payment_required"
        assert "cannot ask" in refused.message
    assert paid.studio.charges == charges
    async with asked(rules(confirm_above={PAID: 1000.0}), mode, None) as session:
        assert await codes_of(session, 1) == {"job": 1}


async def test_a_yes_that_nobody_asked_for_counts_for_nothing(rules: Rules) -> None:
    """An answer without our sealed question, or with another's, makes us ask."""
    user = User("decline")
    async with asked(rules(confirm_above={"jobs": 0}), "auto", user) as session:
        photo = str(session.pictures / "photo.png")
        arguments: dict[str, JsonValue] = {"prompt": "p", "control_image": photo, "provider": PAID}
        yes: types.InputResponses = {"confirm": types.ElicitResult(action="accept")}
        result = await session.client.session.call_tool(
            "controlnet_generate", arguments, input_responses=yes, allow_input_required=True
        )
        assert isinstance(result, types.InputRequiredResult)
        forged = {**arguments, "prompt": "another"}
        with pytest.raises(Exception, match="requestState"):
            await session.client.session.call_tool(
                "controlnet_generate",
                forged,
                input_responses=yes,
                request_state=result.request_state,
                allow_input_required=True,
            )
