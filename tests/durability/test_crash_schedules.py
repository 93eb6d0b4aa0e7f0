"""Every schedule of crashes and pauses over every commit and every request, with every outcome on the network.

What must hold at the end of each: at most one charge, nothing that was bought is lost, and the job has ended. Rules
that are broken on purpose are caught, so the enumeration can fail.
"""

import io
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count, product
from typing import TypeAlias, get_args

import anyio
import pytest
from anyio.abc import TaskGroup
from PIL import Image

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore, Lease
from controlnet_mcp.jobs.submission_log import (
    LookUp,
    NextAction,
    ResumeAccepted,
    Send,
    SubmissionEvents,
    next_action,
)
from controlnet_mcp.providers.types import Deduplication, Submission
from tests.support.crash_simulation import UNPREPARED, Ending, Outcome, Process, Rules, Service, World, memory

pytestmark = pytest.mark.anyio

CLASSES: tuple[Deduplication, ...] = get_args(Deduplication)
SINGLE: tuple[Outcome, ...] = get_args(Outcome)
FIRST: tuple[Outcome, ...] = ("lost before", "lost after", "too many")
SECOND: tuple[Outcome, ...] = ("lost after", "error after", "unreachable")


Store: TypeAlias = tuple[BlobStore, str]


@dataclass(frozen=True, slots=True)
class Case:
    """A provider's class, what becomes of its first submissions and of the task, and whether the job is unprepared."""

    deduplication: Deduplication
    outcomes: tuple[Outcome, ...] = ("accepted",)
    ending: Ending = "well"
    prepares: bool = False


MENDED: Mapping[Ending, Ending] = {"forgotten": "well", "picture gone": "picture late"}
"""Endings that need help: the job has failed with the reason, and its picture comes when it is asked for again."""
LATE: tuple[Ending, ...] = ("known late", "picture late")
COMMON: tuple[Outcome, ...] = ("accepted", "lost after", "too many")
LEAST_RUNS: Mapping[Deduplication, int] = {"none": 400, "lookup": 900, "key": 700}
"""Schedules that there are at least, by class of provider."""
OTHERS = tuple(Case(row, (outcome,)) for row, outcome in product(CLASSES, SINGLE) if outcome not in COMMON)
TWICE = tuple(Case(row, outcomes) for row, outcomes in product(CLASSES, product(FIRST, SECOND)))
"""Submissions that go wrong two times, where there is a second one."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[BlobStore, str]:
    """A store that has the result already, a picture of one pixel, and its hash."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    blobs = BlobStore(tmp_path_factory.mktemp("pictures"))
    return blobs, blobs.put(buffer.getvalue(), "image/png")


def wrong_with(world: World, job: JobRecord) -> list[str]:
    """What must never be, as far as it is."""
    charges = len(world.service.charges)
    recorded = world.connection.execute("SELECT count(*) FROM attempts WHERE kind = 'answer'").fetchone()[0]
    heard = recorded or any(process.heard and not process.dead for process in world.processes)
    lost = job.state != "succeeded"
    found = {
        "bought twice": charges > 1,
        "never ends": not job.ended,
        "bought and told as failed": charges > 0 and job.state in {"failed", "canceled"},
        "an answer was heard and is lost": bool(heard) and lost,
        "could have been found and is lost": charges > 0 and world.service.deduplication != "none" and lost,
        "bought before it was prepared": charges > 0 and job.request.prompt == UNPREPARED,
        "nothing bought and a picture": charges == 0 and job.state == "succeeded",
    }
    return [text for text, wrong in found.items() if wrong]


async def aftermath(world: World) -> JobRecord:
    """Let healthy processes take over until nothing is left to do."""
    for _ in range(4):
        world.forget_leases()
        await world.live(Process())
        if (await world.read()).ended:
            break
    job = await world.read()
    mended = MENDED.get(world.service.ending)
    if mended is None or not job.can_be_fetched:
        return job
    assert job.fault is not None
    assert (job.state, job.fault.code) == ("failed", "not_found")
    await world.fetch_again(mended)
    return await world.read()


async def crashes(world: World) -> AsyncGenerator[str]:
    """No crash, one, and two: at every point of the first process, and then at every point of the second."""
    for first in count(1):
        one = Process()
        for second in count(1):
            await world.begin()
            one, two = Process(dies_at=first), Process(dies_at=second)
            await world.live(one)
            if one.dead:
                world.forget_leases()
                await world.live(two)
            yield f"dies at {first}, then at {second}"
            if not two.dead:
                break
        if not one.dead:
            return


async def pauses(world: World) -> AsyncGenerator[str]:
    """The first process falls asleep at a point, another takes over and falls asleep too, then both go on in turn."""
    for first in count(1):
        one = Process()
        for second in count(1):
            await world.begin()
            one, two = Process(sleeps_at=first), Process(sleeps_at=second)
            async with anyio.create_task_group() as tasks:
                await start(world, one, tasks)
                world.forget_leases()
                await start(world, two, tasks)
                world.forget_leases()
                one.woken.set()
                await one.done.wait()
                two.woken.set()
            yield f"sleeps at {first}, the other at {second}"
            if not two.asleep.is_set():
                break
        if not one.asleep.is_set():
            return


async def start(world: World, process: Process, tasks: TaskGroup) -> None:
    """Let a process run until it sleeps or is done."""

    async def live() -> None:
        await world.live(process)
        process.done.set()

    tasks.start_soon(live)
    async with anyio.create_task_group() as either:
        for event in (process.asleep, process.done):
            either.start_soon(end_with, event, either.cancel_scope)


async def end_with(event: anyio.Event, scope: anyio.CancelScope) -> None:
    """Cancel a scope at an event."""
    await event.wait()
    scope.cancel()


async def survey(
    store: Store, rules: Rules, cases: tuple[Case, ...], *, first_only: bool = False
) -> tuple[int, list[str]]:
    """Run every schedule of every case, or up to the first that goes wrong; gives their number, and what was wrong."""
    blobs, picture = store
    runs, wrong = 0, list[str]()
    with memory() as connection:
        for case, schedules in product(cases, (crashes, pauses)):
            service = Service(case.deduplication, case.outcomes, picture, blobs.get(picture), ending=case.ending)
            world = World(service, blobs, connection, rules, prepares=case.prepares)
            async with aclosing(schedules(world)) as schedule:
                async for label in schedule:
                    job = await aftermath(world)
                    runs += 1
                    wrong += [
                        f"{case.deduplication}, {case.outcomes}, {label}: {text}" for text in wrong_with(world, job)
                    ]
                    if wrong and first_only:
                        return runs, wrong
    return runs, wrong


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("deduplication", "least"), LEAST_RUNS.items())
async def test_no_schedule_buys_twice_or_loses_anything(store: Store, deduplication: Deduplication, least: int) -> None:
    """Every schedule of up to two crashes or two pauses, for a class of provider and the usual outcomes."""
    runs, wrong = await survey(store, Rules(), tuple(Case(deduplication, (outcome,)) for outcome in COMMON))
    assert wrong == []
    assert runs > least, runs


@pytest.mark.timeout(600)
async def test_no_schedule_does_so_to_a_job_that_is_on_record_before_it_is_prepared(store: Store) -> None:
    """H3: the process that prepares it dies or sleeps before, while and after its request is written."""
    cases = tuple(Case(row, ("lost after",), prepares=True) for row in CLASSES)
    runs, wrong = await survey(store, Rules(), cases)
    assert wrong == []
    assert runs > 500, runs


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", LATE)
async def test_e1_e2_no_schedule_gives_up_what_comes_late(store: Store, ending: Ending) -> None:
    """E1, E2: a task that is not known at first, and a picture that is not there at first: the job succeeds."""
    runs, wrong = await survey(store, Rules(), (Case("none", ending=ending),))
    assert wrong == []
    assert runs > 200, runs


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", MENDED)
async def test_e1_e2_no_schedule_loses_what_was_given_up(store: Store, ending: Ending) -> None:
    """E1, E2: the job has failed with the true code, and is bought once; asked for again, the picture comes."""
    runs, wrong = await survey(store, Rules(), tuple(Case(row, ending=ending) for row in CLASSES))
    assert wrong == []
    assert runs > 1000, runs


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
async def test_no_schedule_does_so_whatever_the_network_does(store: Store) -> None:
    """The same for every other outcome and for pairs of them."""
    runs, wrong = await survey(store, Rules(), OTHERS + TWICE)
    assert wrong == []
    assert runs > 8000


def send_again(events: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> NextAction:
    """Broken: what may have been accepted is sent again."""
    action = next_action(events, deduplication, in_time=in_time)
    return Send(again=False) if events.unresolved > 0 and not isinstance(action, ResumeAccepted) else action


def trust_an_empty_lookup(events: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> NextAction:
    """Broken: what the provider does not know yet is sent again."""
    action = next_action(events, deduplication, in_time=in_time)
    return Send(again=False) if isinstance(action, LookUp) and events.empty_lookups else action


def resume_nothing(events: SubmissionEvents, deduplication: Deduplication, *, in_time: bool) -> NextAction:
    """Broken: an acceptance in the log is not looked at."""
    others = SubmissionEvents([row for row in events.rows if row.kind != "answer"])
    return next_action(others, deduplication, in_time=in_time)


class StoreWithoutIntents(JobStore):
    """Broken: what is about to be sent is not written first."""

    async def intend(self, job: JobRecord, lease: Lease, *, unless_canceled: bool) -> JobRecord | None:  # noqa: ARG002  # the point
        """Write the state, not the event."""
        submitting = job.model_copy(update={"state": "submitting"})
        return await self._database.run(lambda db: self.write_row(db, submitting, lease))


class StoreThatForgetsLateAnswers(JobStore):
    """Broken: a process that lost its lease writes nothing."""

    async def accept(self, job: JobRecord, lease: Lease, submission: Submission) -> JobRecord:
        """Write the acceptance only together with the job."""
        await self._database.run(lambda db: self.write_row(db, job, lease))
        return await super().accept(job, lease, submission)


class StoreThatEndsBlindly(JobStore):
    """Broken: a job ends although events came in since that was decided."""

    async def save(self, job: JobRecord, lease: Lease, *, judged: int | None = None) -> JobRecord:  # noqa: ARG002  # the point
        """Write whatever comes."""
        return await self._database.run(lambda db: self.write_row(db, job, lease))


MUTANTS: Mapping[str, tuple[Rules, Case]] = {
    "no intent": (Rules(store=StoreWithoutIntents), Case("none", ("accepted",))),
    "blind resend": (Rules(decide=send_again), Case("none", ("lost after",))),
    "resend after an empty look-up": (Rules(decide=trust_an_empty_lookup), Case("lookup", ("accepted",))),
    "resume nothing": (Rules(decide=resume_nothing), Case("none", ("accepted",))),
    "forget late answers": (Rules(store=StoreThatForgetsLateAnswers), Case("none", ("accepted",))),
    "end blindly": (Rules(store=StoreThatEndsBlindly), Case("none", ("accepted",))),
}


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_broken_rule_is_caught(store: Store, mutant: str) -> None:
    """Each rule is needed: without it some schedule goes wrong."""
    rules, case = MUTANTS[mutant]
    assert (await survey(store, rules, (case,), first_only=True))[1]
