"""A provider that answers by a script, a clock that tests turn, and the job layer on top of both.

The provider's other end is an `httpx2.MockTransport`: requests and replies take the way of a paid provider's.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import httpx2
from pydantic import Base64Bytes, BaseModel

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.driver import Driver, build_driver
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import Admit, JobStore, Lease
from controlnet_mcp.jobs.submission_log import EventKind
from controlnet_mcp.providers.base import Provider, Uploaded
from controlnet_mcp.providers.http import HttpCall, HttpReply, Steps
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.refusals import refusal
from controlnet_mcp.providers.registry import ProviderEntry
from controlnet_mcp.providers.sender import Fetch, Sender
from controlnet_mcp.providers.types import (
    Capabilities,
    Control,
    Deduplication,
    Frozen,
    LookRate,
    Output,
    Phase,
    RemoteTask,
    Report,
    ResolvedRequest,
    Submission,
    Support,
)

URL = "https://scripted.example"
PICTURE_URL = f"{URL}/results/1.png"
PRINCIPAL = "tester"
LEASE_SECONDS = 30.0
Answer: TypeAlias = httpx2.Response | httpx2.RequestError
"""What the scripted service does with a request: reply, or break the connection."""


def says(phase: Phase, status: int = 200, **more: object) -> httpx2.Response:
    """A reply that tells how the task stands."""
    return httpx2.Response(status, json={"id": "task-1", "phase": phase, **more})


def broken(status: int, text: str = "no", **headers: str) -> httpx2.Response:
    """A reply that is no success."""
    return httpx2.Response(status, text=text, headers={name.replace("_", "-"): row for name, row in headers.items()})


@dataclass(slots=True)
class Clock:
    """Seconds since the epoch, turned by hand."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(slots=True)
class Service:
    """The other end: answers each kind of request in order, with the last answer again and again.

    Attributes:
        before: Called with every request, before it is answered.
    """

    submit: Sequence[Answer] = field(default_factory=lambda: [says("queued", 201)])
    poll: Sequence[Answer] = field(default_factory=lambda: [says("succeeded", url=PICTURE_URL)])
    cancel: Sequence[Answer] = field(default_factory=lambda: [broken(204, "")])
    look_up: Sequence[Answer] = field(default_factory=lambda: [broken(404)])
    download: Sequence[Answer] = ()
    requests: list[httpx2.Request] = field(default_factory=list[httpx2.Request])
    before: Callable[[httpx2.Request], Awaitable[None]] | None = None

    def count(self, method: str, path: str) -> int:
        """How many requests of a kind came; the path is its first part."""
        return sum(row.method == method and row.url.path.split("/")[1] == path for row in self.requests)

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        kind = request.method, request.url.path.split("/")[1]
        earlier = self.count(*kind)
        self.requests.append(request)
        if self.before is not None:
            await self.before(request)
        match kind:
            case "POST", "jobs":
                script = self.submit
            case "DELETE", "jobs":
                script = self.cancel
            case "GET", "jobs":
                script = self.poll
            case "GET", "references":
                script = self.look_up
            case _:
                script = self.download
        answer = script[min(earlier, len(script) - 1)]
        if isinstance(answer, httpx2.RequestError):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


class _Told(BaseModel):
    id: str
    phase: Phase
    url: str | None = None
    content: Base64Bytes | None = None
    sha256: str | None = None
    more: str | None = None
    stage: str | None = None
    progress: float | None = None
    eta: float | None = None


class ScriptedProvider(Provider):
    """Speaks to a `Service`."""

    name: str = "scripted"
    base_url: str = URL
    options: type[Frozen] = Frozen

    def __init__(self, deduplication: Deduplication, *, cancels: bool) -> None:
        """Take what differs between providers."""
        modalities = {name: Support(native=name, takes="either") for name in MODALITIES}
        self.capabilities = Capabilities(
            modalities=modalities, looks=LookRate(math.inf), deduplication=deduplication, cancels=cancels
        )

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """Send prompt and reference."""
        body: dict[str, str] = {"prompt": request.prompt, "reference": reference}
        return HttpCall("POST", f"{URL}/jobs", headers={"x-reference": reference}, json={**body}, submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """Take 201 for an acceptance."""
        if reply.status != 201:
            raise refusal(reply)
        told = reply.read(_Told)
        return Submission(task=RemoteTask(remote_id=told.id), report=_report(told))

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask how a task stands."""
        reply = yield HttpCall("GET", f"{URL}/jobs/{task.remote_id}")
        if reply.status != 200:
            raise refusal(reply)
        return _report(reply.read(_Told))

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Ask about our reference; 404 means that it is not known."""
        reply = yield HttpCall("GET", f"{URL}/references/{reference}")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise refusal(reply)
        told = reply.read(_Told)
        return Submission(task=RemoteTask(remote_id=told.id), report=_report(told))

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop; 409 means that it is too late."""
        reply = yield HttpCall("DELETE", f"{URL}/jobs/{task.remote_id}")
        if reply.status not in {204, 409}:
            raise refusal(reply)
        return reply.status == 204


def _report(told: _Told) -> Report:
    output = Output(url=told.url, content=told.content, sha256=told.sha256)
    more = (Output(url=f"{URL}/{told.more}"),) if told.more else ()
    outputs = () if output == Output() else (output, *more)
    return Report(phase=told.phase, progress=told.progress, stage=told.stage, eta_seconds=told.eta, outputs=outputs)


@dataclass(frozen=True, slots=True)
class JobLayer:
    """One process's share of the job layer, driven step by step by the test."""

    service: Service
    clock: Clock
    database: Database
    store: JobStore
    driver: Driver
    sender: Sender
    provider: ScriptedProvider
    blobs: BlobStore
    latest: dict[tuple[str, str], JobRecord] = field(default_factory=dict[tuple[str, str], JobRecord])

    async def add(
        self, job_id: str = "job_1", deadline_seconds: float = 600, admit: Admit | None = None, **changes: object
    ) -> JobRecord:
        """Keep a new job, if it is admitted."""
        now = self.clock()
        job = JobRecord(
            job_id=job_id,
            principal=PRINCIPAL,
            provider=self.provider.name,
            state="new",
            request=ResolvedRequest(
                prompt="a house", controls=(Control(modality="canny"),), width=64, height=64, seed=1
            ),
            reference="reference-1",
            created_at=now,
            updated_at=now,
            deadline_at=now + deadline_seconds,
        ).model_copy(update=changes)
        kept, _ = await self.store.add(job, request_key=None, fingerprint=job_id, admit=admit)
        return kept

    async def read(self, job_id: str = "job_1") -> JobRecord:
        """The job as it is written down."""
        return await self.store.get(job_id, PRINCIPAL)

    async def events(self, kind: EventKind, job_id: str = "job_1") -> list[str]:
        """The events of one kind as JSON, oldest first."""
        return [row.details for row in (await self.store.events(job_id)).rows if row.kind == kind]

    async def claim(self, owner: str = "one", job_id: str = "job_1") -> tuple[JobRecord, Lease] | None:
        """Try to take a job."""
        return await self.store.claim(job_id, owner)

    async def step(self, owner: str = "one", job_id: str = "job_1") -> JobRecord:
        """Take a job, let the clock reach the time of its next step, take the step, and give the job back."""
        claimed = await self.claim(owner, job_id)
        assert claimed is not None, "another process holds the job"
        job, lease = claimed
        known = self.latest.get((owner, job_id), job)
        if known.updated_at == job.updated_at:  # what is not worth a write
            job = job.model_copy(update={"looked_at": known.looked_at, "wake_at": known.wake_at})
        self.clock.now = max(self.clock.now, job.wake_at)
        after = self.latest[owner, job_id] = await self.driver.step(job, lease)
        if after.ended and not after.settled:
            after = await self.driver.score(after, lease, again=job.ended)
        await self.store.release(lease)
        return after

    async def steps(self, most: int = 50) -> JobRecord:
        """Take steps until the job ends."""
        for _ in range(most):
            job = await self.step()
            if job.ended:
                return job
        raise AssertionError(f"the job did not end in {most} steps")


async def _no_fetch(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")


@asynccontextmanager
async def open_job_layer(  # noqa: PLR0913  # all but two are named, and have defaults
    folder: Path,
    service: Service,
    *,
    clock: Clock | None = None,
    deduplication: Deduplication = "none",
    cancels: bool = True,
    ready: bool = True,
    fetch: Fetch = _no_fetch,
) -> AsyncGenerator[JobLayer]:
    """Open the job layer of one process on a data folder; several on one folder are several processes.

    Args:
        folder: The data folder.
        service: The provider's other end.
        clock: Seconds since the epoch.
        deduplication: How the provider recognises a double.
        cancels: Whether it can stop a task.
        ready: Whether its key is set.
        fetch: Downloads results from elsewhere.
    """
    clock = clock or Clock()
    blobs = BlobStore(folder / "pictures")
    provider = ScriptedProvider(deduplication, cancels=cancels)
    transports = {provider.name: httpx2.MockTransport(service.answer)}
    async with AsyncExitStack() as opened:
        database = opened.enter_context(closing(Database(folder / "jobs.sqlite3")))
        sender = await opened.enter_async_context(aclosing(Sender(PictureSource(blobs), fetch, transports)))
        store = JobStore(database, clock, LEASE_SECONDS)
        entry = ProviderEntry(provider.name, provider.capabilities, provider if ready else None, ("SCRIPTED_KEY",))
        driver = build_driver(store, sender, (entry,), blobs, clock=clock, chance=lambda: 0.5)
        yield JobLayer(service, clock, database, store, driver, sender, provider, blobs)
