"""A state machine over one job, two workers and a clock: whatever happens in whatever order, the promises hold."""

import io
from contextlib import ExitStack
from dataclasses import dataclass
from typing import get_args

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from PIL import Image

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.types import Deduplication
from tests.durability.test_crash_schedules import aftermath, send_again, wrong_with
from tests.support.crash_simulation import Outcome, Process, Rules, Service, World, memory

WORKERS = st.integers(0, 1)
OUTCOMES = st.lists(st.sampled_from(get_args(Outcome)), max_size=3)


@dataclass(slots=True)
class Stepped(Process):
    """A process that halts at every point until it is told to go on."""

    async def point(self) -> None:
        """Halt."""
        self.alive()
        self.asleep.set()
        await self.woken.wait()
        self.woken = anyio.Event()
        self.alive()


class Life(RuleBasedStateMachine):
    """One job, driven by two workers that are started, moved on and killed at will."""

    store: tuple[BlobStore, str]
    broken = Rules()

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        self.portal = self.resources.enter_context(start_blocking_portal())
        self.connection = self.resources.enter_context(memory())
        self.workers: list[Stepped | None] = [None, None]

    @initialize(deduplication=st.sampled_from(get_args(Deduplication)), outcomes=OUTCOMES)
    def begin(self, deduplication: Deduplication, outcomes: list[Outcome]) -> None:
        """Choose the provider, and what becomes of its first submissions."""
        blobs, picture = self.store
        self.world = World(Service(deduplication, outcomes, picture), blobs, self.connection, self.broken)
        self.portal.call(self.world.begin)

    @rule(number=WORKERS)
    def start(self, number: int) -> None:
        """Start a worker that is not there."""
        if self.workers[number] is None:
            process = self.portal.call(Stepped)
            self.portal.start_task_soon(self._live, process)
            self.portal.call(process.asleep.wait)
            self.workers[number] = process

    @rule(number=WORKERS)
    def go_on(self, number: int) -> None:
        """Let a worker reach its next point."""
        worker = self.workers[number]
        if worker is not None and not self.portal.call(_to_next_point, worker):
            self.workers[number] = None

    @rule(number=WORKERS)
    def kill(self, number: int) -> None:
        """End a worker where it stands."""
        worker = self.workers[number]
        if worker is not None:
            worker.dead = True
            self.portal.call(_to_next_point, worker)
            self.workers[number] = None

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        """Turn the clock, perhaps past a lease."""
        self.world.clock.now += seconds

    @invariant()
    def it_is_bought_once_at_most(self) -> None:
        """Never twice, at no moment."""
        world = getattr(self, "world", None)
        assert world is None or len(world.service.charges) <= 1

    def teardown(self) -> None:
        """Let everybody finish, and see what became of the job."""
        with self.resources:
            for number in (0, 1):
                while self.workers[number] is not None:
                    self.go_on(number)
            if hasattr(self, "world"):
                job = self.portal.call(aftermath, self.world)
                assert not wrong_with(self.world, job)

    async def _live(self, process: Stepped) -> None:
        try:
            await self.world.live(process)
        finally:
            process.done.set()
            process.asleep.set()


async def _to_next_point(worker: Stepped) -> bool:
    """Let a worker go on to its next point; false when it is done."""
    if worker.done.is_set():
        return False
    worker.asleep = anyio.Event()
    worker.woken.set()
    await worker.asleep.wait()
    return not worker.done.is_set()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> type[Life]:
    """The machine, with a store that has the result already."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    blobs = BlobStore(tmp_path_factory.mktemp("pictures"))

    class Stored(Life):
        """A life with pictures."""

        store = (blobs, blobs.put(buffer.getvalue(), "image/png"))

    return Stored


SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None)


def test_the_promises_hold_in_any_order(machine: type[Life]) -> None:
    """At most one charge at every moment, and nothing lost in the end."""
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_the_machine_finds_a_broken_rule(machine: type[Life]) -> None:
    """It can fail; the first failure is enough, and the shortest way to it is not searched for."""

    class Broken(machine):  # type: ignore[misc,valid-type]  # a subclass of a fixture's class
        """A life under a rule that resends."""

        broken = Rules(decide=send_again)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=settings(SETTINGS, phases=[Phase.generate]))
