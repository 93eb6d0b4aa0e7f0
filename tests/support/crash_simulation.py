"""A small world in which processes die or fall asleep at any point of a job's life, driven by the real job layer.

Processes share one SQLite database in memory and one provider that counts its charges. A point is every moment before
a commit, before a request arrives and after it was answered: between a commit and the next of them nothing happens that
others could see. A process that died is gone at once: nothing of it runs any more, not even what would have cleaned up
after it. One that fell asleep goes on later, with all it knew.
"""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import anyio
import httpx2

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.database import MIGRATIONS, Database
from controlnet_mcp.jobs.driver import Preparation, PreparedJob, build_driver
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import JobStore, LeaseLostError
from controlnet_mcp.jobs.submission_log import Decide, next_action
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, Deduplication, ResolvedRequest
from tests.support.job_layer import LEASE_SECONDS, PRINCIPAL, URL, Clock, ScriptedProvider

ResultT = TypeVar("ResultT")
JOB_ID = "job_1"
UNPREPARED = "not prepared"
"""The prompt of a job until it is prepared."""
RESULT_URL = f"{URL}/results/1.png"
Outcome: TypeAlias = Literal["accepted", "lost before", "lost after", "error after", "unreachable", "too many"]
"""What becomes of a submission on its way: only the first, third and fourth are charged, only the first is answered."""
Ending: TypeAlias = Literal["well", "known late", "picture late", "forgotten", "picture gone"]
"""What becomes of an accepted task: the second and third are well after some answers, the others only when mended."""
_LATE = 3
"""Answers until a task is known, or its picture is there."""


class Crash(BaseException):  # no error: the end of a process
    """The process is gone."""


@dataclass(slots=True)
class Service:
    """The provider: what it was asked, and what it charged.

    Attributes:
        deduplication: Whether it recognises our reference as a key, can be asked about it, or neither.
        outcomes: What becomes of each submission, in order; those after the last are accepted.
        picture: SHA-256 of the result, which is stored already.
        content: Its bytes, for endings in which it is downloaded.
        charges: Our reference of every accepted submission; the task's id is its place.
        ending: What becomes of accepted tasks.
        refusals: How often a task or a picture was not there.
    """

    deduplication: Deduplication
    outcomes: Sequence[Outcome]
    picture: str
    content: bytes = b""
    charges: list[str] = field(default_factory=list[str])
    submissions: int = 0
    ending: Ending = "well"
    refusals: int = 0

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, or break the connection."""
        match request.method, request.url.path.split("/")[1:]:
            case "POST", ["jobs"]:
                return self._submitted(request)
            case "GET", ["jobs", _] if self._refuses("forgotten", "known late"):
                return httpx2.Response(404)
            case "GET", ["jobs", task]:
                place = {"sha256": self.picture} if "picture" not in self.ending else {"url": RESULT_URL}
                return httpx2.Response(200, json={"id": task, "phase": "succeeded", **place})
            case "GET", ["results", _] if self._refuses("picture gone", "picture late"):
                return httpx2.Response(404)
            case "GET", ["results", _]:
                return httpx2.Response(200, content=self.content)
            case "GET", ["references", reference]:
                known = reference in self.charges
                return self._told(self.charges.index(reference)) if known else httpx2.Response(404)
            case _:
                raise AssertionError(f"nobody asks for {request.url}")

    def _refuses(self, always: Ending, at_first: Ending) -> bool:
        refuses = self.ending == always or (self.ending == at_first and self.refusals < _LATE)
        self.refusals += refuses
        return refuses

    def _submitted(self, request: httpx2.Request) -> httpx2.Response:
        self.submissions += 1
        outcome = self.outcomes[self.submissions - 1] if self.submissions <= len(self.outcomes) else "accepted"
        if outcome == "unreachable":
            raise httpx2.ConnectError("no route")
        if outcome == "lost before":
            raise httpx2.ReadTimeout("no answer")
        if outcome == "too many":
            return httpx2.Response(429, headers={"retry-after": "1"})
        task = self._charge(request.headers["x-reference"])
        if outcome == "lost after":
            raise httpx2.ReadTimeout("no answer")
        return httpx2.Response(500) if outcome == "error after" else self._told(task, 201)

    def _charge(self, reference: str) -> int:
        if self.deduplication == "key" and reference in self.charges:
            return self.charges.index(reference)
        self.charges.append(reference)
        return len(self.charges) - 1

    def _told(self, task: int, status: int = 200) -> httpx2.Response:
        return httpx2.Response(status, json={"id": f"task-{task}", "phase": "running"})


@dataclass(frozen=True, slots=True)
class Rules:
    """The parts of the job layer that a mutant replaces."""

    decide: Decide = next_action
    store: type[JobStore] = JobStore


@dataclass(slots=True)
class Process:
    """One process: where it dies or sleeps, counted in points, and whether it heard that a submission was accepted."""

    dies_at: int = 0
    sleeps_at: int = 0
    points: int = 0
    dead: bool = False
    heard: bool = False
    asleep: anyio.Event = field(default_factory=anyio.Event)
    woken: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)

    async def point(self) -> None:
        """A moment at which a process may die or fall asleep."""
        self.alive()
        self.points += 1
        if self.points == self.dies_at:
            self.dead = True
            raise Crash
        if self.points == self.sleeps_at:
            self.asleep.set()
            await self.woken.wait()

    def alive(self) -> None:
        """Nothing is done by the dead."""
        if self.dead:
            raise Crash


class SharedDatabase(Database):
    """The database as one process sees it: everybody's connection, without a thread."""

    def __init__(self, process: Process, connection: sqlite3.Connection) -> None:
        super().__init__(Path("shared"))
        self._connection = connection
        self._process = process

    async def run(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Commit, with a point before it."""
        await self._process.point()
        outcome = self.also(work)
        self._commit()
        return outcome.result()

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Read."""
        self._process.alive()
        return work(self._open())


class Wire(httpx2.AsyncBaseTransport):
    """The way to the provider, with a point on either side of it."""

    def __init__(self, process: Process, service: Service) -> None:
        self._process = process
        self._service = service

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry a request and its answer."""
        await self._process.point()
        try:
            response = self._service.answer(request)
        finally:
            await self._process.point()
        self._process.heard |= response.status_code == 201
        return response


@dataclass(slots=True)
class World:
    """One job, its provider, and a succession of processes.

    Attributes:
        prepares: Whether the job is on record before it is prepared, by the first process.
    """

    service: Service
    blobs: BlobStore
    connection: sqlite3.Connection
    rules: Rules = field(default_factory=Rules)
    clock: Clock = field(default_factory=Clock)
    processes: list[Process] = field(default_factory=list[Process])
    prepares: bool = False

    async def begin(self) -> None:
        """Forget everything, and keep one new job, or one that the first process still prepares."""
        self.processes.clear()
        self.service.charges.clear()
        self.service.submissions = self.service.refusals = 0
        for table in ("jobs", "attempts"):
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608  # two names
        now = self.clock()
        prompt, state = (UNPREPARED, "preparing") if self.prepares else ("a", "new")
        request = ResolvedRequest(prompt=prompt, controls=(Control(modality="canny"),), width=64, height=64, seed=1)
        job = JobRecord(
            job_id=JOB_ID,
            principal=PRINCIPAL,
            provider="scripted",
            state="new",
            request=request,
            reference="our-reference",
            created_at=now,
            updated_at=now,
            deadline_at=now + 3600,
        ).model_copy(update={"state": state})
        store = JobStore(SharedDatabase(Process(), self.connection))
        await store.add(job, request_key=None, fingerprint="")

    async def read(self) -> JobRecord:
        """The job as it is written down."""
        return await JobStore(SharedDatabase(Process(), self.connection)).get(JOB_ID, PRINCIPAL)

    async def live(self, process: Process, most: int = 40) -> None:
        """Let a process drive the job until it ends, another process has it, or the process dies."""
        self.processes.append(process)
        with suppress(Crash, LeaseLostError):
            await self._drive(process, f"process {len(self.processes)}", most)

    async def _drive(self, process: Process, owner: str, most: int) -> None:
        database = SharedDatabase(process, self.connection)
        provider = ScriptedProvider(self.service.deduplication, cancels=True)
        wires = {provider.name: Wire(process, self.service)}
        store = self.rules.store(database, self.clock, LEASE_SECONDS)
        async with aclosing(Sender(PictureSource(self.blobs), _no_fetch, wires)) as sender:
            entries = (ProviderEntry(provider.name, provider.capabilities, provider, ()),)
            driver = build_driver(
                store, sender, entries, self.blobs, clock=self.clock, chance=lambda: 0.5, decide=self.rules.decide
            )
            claimed = await store.claim(JOB_ID, owner)
            if claimed is None:
                return
            job, lease = claimed
            if self.prepares and process is self.processes[0]:
                preparation = Preparation(lambda: _prepared(process, job))
                driver.preparations.running[JOB_ID] = preparation
                await preparation.run()
            for _ in range(most):
                if job.ended:
                    return
                self.clock.now = max(self.clock.now, job.wake_at)
                await store.renew(owner)
                job = await driver.step(job, lease)

    async def fetch_again(self, ending: Ending) -> None:
        """Mend the provider, and ask again for what the job lacks, as a person does; then end as it does now."""
        usual, self.service.ending = self.service.ending, ending
        store = JobStore(SharedDatabase(Process(), self.connection), self.clock)
        await store.reopen(JOB_ID, self.clock() + 600)
        await self.live(Process())
        self.service.ending = usual

    def forget_leases(self) -> None:
        """Let so much time pass that nobody's lease is in force."""
        self.clock.now += LEASE_SECONDS + 1


async def _prepared(process: Process, outlined: JobRecord) -> PreparedJob:
    """A job with its request, which everybody admits; its process may die or sleep before it is ready."""
    await process.point()
    request = outlined.request.model_copy(update={"prompt": "a"})
    return PreparedJob(outlined.model_copy(update={"state": "new", "request": request}), lambda _account, _job: None)


async def _no_fetch(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")


@contextmanager
def memory() -> Generator[sqlite3.Connection]:
    """An empty database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in (line for migration in MIGRATIONS for line in migration):
        connection.execute(statement)
    with closing(connection):
        yield connection
