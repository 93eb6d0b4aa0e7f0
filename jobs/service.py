"""Everything that tools can do with jobs: plan, submit, follow, cancel, resolve, list, and delete what is old."""

import hashlib
import logging
import math
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio import CancelScope, to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import RequestError, StorageError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import NO_MODELS, MapModels
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.budget import DAY_SECONDS, Admission, AskUser, Spending
from controlnet_mcp.jobs.driver import JobRunner, Preparation, PreparedJob, build_driver, repeat
from controlnet_mcp.jobs.prepare import Prepared, Preparer
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import CONTROL, MASK, PICTURES, REMOVABLE, START, GenerateRequest, extra_name
from controlnet_mcp.jobs.resource_uris import source_uri
from controlnet_mcp.jobs.results import Scorer
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.jobs.submission_log import SubmissionEvent
from controlnet_mcp.jobs.subscriptions import JobSubscriptions
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.registry import ProviderEntry, entry_of
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Cost, RequestWarning

_RETENTION_PAUSE_SECONDS = 3600.0
_OF_THE_PROVIDER = ("model", "scheduler", "provider_options")
"""Settings that mean something to one provider only."""
_log = logging.getLogger(__name__)

OnChange: TypeAlias = Callable[[JobRecord], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a tool, to whom jobs belong.

    Attributes:
        local: Whether caller and server share a machine, so that paths mean something.
        ask_user: How to ask the person behind the caller; `None` where that cannot be done.
        roots: Folders that the caller's client declares: relative paths may start there.
    """

    principal: str
    local: bool
    ask_user: AskUser | None = None
    roots: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The call that a request would become, with placeholders for uploads and for our reference."""

    provider: str
    call: HttpCall
    price: Cost | None
    warnings: tuple[RequestWarning, ...]


@dataclass(frozen=True, slots=True)
class JobService:
    """Everything a tool can do with jobs.

    Attributes:
        deadline_seconds: How long a job may take.
        patience_seconds: How long a call waits for its request to be prepared; then the job is put on record as it is.
    """

    store: JobStore
    preparer: Preparer
    runner: JobRunner
    subscriptions: JobSubscriptions
    sender: Sender
    clock: Callable[[], float]
    deadline_seconds: float
    patience_seconds: float
    spending: Spending = field(default_factory=Spending)

    def start(self, tasks: TaskGroup) -> None:
        """Drive jobs in tasks of this group, those of earlier processes first."""
        self.runner.start(tasks)
        self.subscriptions.start(tasks)

    async def submit(
        self,
        asked: GenerateRequest,
        caller: Caller,
        request_key: str | None = None,
        *,
        warnings: tuple[RequestWarning, ...] = (),
    ) -> JobRecord:
        """Start a generation, or return the job that this request, or its key, already started.

        The job begins with the `warnings` that are handed in. It is put on record when it is ready to be sent, or after
        `patience_seconds`: then it is prepared beside its call, and what goes wrong is told by the job. A call that may
        have to ask the user stays until that is settled.

        Raises:
            ControlNetError: What no attempt could make right; nothing was sent.
        """
        fingerprint = hashlib.sha256(asked.model_dump_json().encode()).hexdigest()
        earlier, unfinished = await self.store.earlier(
            caller.principal, request_key=request_key, fingerprint=fingerprint
        )
        if earlier is not None and earlier.state == "preparing" and not self.runner.prepares(earlier.job_id):
            self.runner.wake(earlier.job_id)  # it fails now if no process prepares it any more
            earlier = await self.wait(earlier, self.clock() + self.patience_seconds)
        if earlier is not None and not earlier.begins_again:
            return _with_mismatch(earlier, asked)
        with self.spending.room(caller.principal, unfinished):
            outlined, may_ask = self._outlined(asked, caller, warnings, earlier)
            preparation = Preparation(partial(self._prepared, outlined, asked, caller))
            await self.runner.prepare(preparation, outlined.job_id)
            kept, lease = outlined, None
            try:
                with anyio.move_on_after(math.inf if may_ask else self.patience_seconds):
                    await preparation.ended.wait()
                ready = preparation.job() if preparation.ended.is_set() else None
                job = ready or PreparedJob(outlined, Admission(self.spending, paid=False, cost=None))
                await checkpoint_if_cancelled()
                with CancelScope(shield=True):  # nobody else drives a job that this process has claimed
                    kept, lease = await self.store.add(
                        job.record,
                        request_key=request_key,
                        fingerprint=fingerprint,
                        admit=job.admit,
                        owner=self.runner.owner,
                    )
                    self.runner.wake(kept.job_id, (kept, lease) if lease else None, None if ready else preparation)
            finally:
                if lease is None:
                    preparation.stop()
        return kept if lease else _with_mismatch(kept, asked)

    def _outlined(
        self, asked: GenerateRequest, caller: Caller, warnings: tuple[RequestWarning, ...], earlier: JobRecord | None
    ) -> tuple[JobRecord, bool]:
        """A job before its pictures are read, and whether its caller may be asked about its price.

        It takes the place of an `earlier` one that failed before that.

        Raises:
            RequestError: What is wrong whatever the pictures are.
        """
        providers, request = self.preparer.outline(asked)
        now, job_id = self.clock(), earlier.job_id if earlier else f"job_{secrets.token_hex(16)}"
        outlined = JobRecord(
            job_id=job_id,
            principal=caller.principal,
            provider=providers[0].name,
            state="preparing",
            stage="preparing",
            request=request,
            reference=secrets.token_hex(16),
            created_at=earlier.created_at if earlier else now,
            updated_at=now,
            deadline_at=now + self.deadline_seconds,
            asked=recorded_request(asked, job_id),
            seed=asked.seed,
            warnings=warnings,
            prepared=False,
        )
        return outlined, caller.ask_user is not None and any(map(self.spending.may_ask, providers))

    async def _prepared(self, outlined: JobRecord, asked: GenerateRequest, caller: Caller) -> PreparedJob:
        """Prepare the request of a job and agree on its price."""
        prepared = await self.preparer.prepare(
            asked, local_paths=caller.local, owner=caller.principal, roots=caller.roots
        )
        provider, pictures = prepared.provider, prepared.request.num_images
        admit = await self.spending.agree(provider, pictures, lambda: self._price(prepared), caller.ask_user)
        changes = {
            "provider": provider.name,
            "state": "new",
            "prepared": True,
            "stage": None,
            "request": prepared.request,
            "deadline_at": self.clock() + self.deadline_seconds,
            "asked": recorded_request(asked, outlined.job_id, prepared.sources),
            "sources": prepared.sources,
            "control_map": prepared.control_map,
            "seed": prepared.request.seed,
            "warnings": (*outlined.warnings, *prepared.warnings),
        }
        return PreparedJob(outlined.model_copy(update=changes), admit)

    async def plan(self, asked: GenerateRequest, caller: Caller) -> Plan:
        """Prepare a request and ask for its price, without submitting it."""
        prepared = await self.preparer.prepare(
            asked, local_paths=caller.local, owner=caller.principal, roots=caller.roots
        )
        call = prepared.provider.build(prepared.request, "(a fresh reference)", prepared.planned_uploads())
        return Plan(prepared.provider.name, call, await self._price(prepared), prepared.warnings)

    async def rerun(
        self, job_id: str, changes: Mapping[str, JsonValue], caller: Caller
    ) -> tuple[GenerateRequest, tuple[RequestWarning, ...]]:
        """The request of an earlier job with changed fields (checked already), and warnings about what is lost.

        Raises:
            RequestError: `not_found`, or `unsupported` when the record of the job is too old to be repeated.
        """
        earlier = await self.get(job_id, caller)
        name = changes.get("provider", earlier.provider)
        entry = entry_of(self.preparer.entries, str(name))
        by_link = entry is not None and entry.capabilities.needs_public_url
        return rerun_request(earlier, changes, by_link=by_link)

    async def get(self, job_id: str, caller: Caller) -> JobRecord:
        """Read a job of the caller, as `JobStore.get` does."""
        return await self.store.get(job_id, caller.principal)

    async def wait(self, job: JobRecord, until: float, on_change: OnChange | None = None) -> JobRecord:
        """Wait until a job ends or the clock passes `until` (seconds since the epoch), telling of changes."""
        with self.subscriptions.follow(job) as followed:
            while not (job.ended or followed.closed) and (left := until - self.clock()) > 0:
                before = job
                with anyio.move_on_after(left):
                    job = await followed.after(job)
                if on_change is not None and job is not before:
                    await on_change(job)
        return job

    async def scored(self, job: JobRecord, seconds: float) -> JobRecord:
        """Wait a little for the structure scores of a job that has just succeeded, if this process is at them."""
        if job.state == "succeeded" and not job.measured:
            with self.subscriptions.follow(job) as followed, anyio.move_on_after(seconds):
                while not followed.closed and self.subscriptions.drives(job.job_id) and not job.measured:
                    job = await followed.after(job)
        return job

    async def cancel(self, job_id: str, caller: Caller, until: float) -> JobRecord:
        """Ask for a job to be stopped and wait shortly for the provider's answer."""
        job = await self.get(job_id, caller)
        if job.ended:
            return job
        with self.subscriptions.follow(job) as followed:
            await self.store.request_cancel(job_id)
            self.runner.wake(job_id)
            while not (job.cancellation_settled or followed.closed) and (left := until - self.clock()) > 0:
                with anyio.move_on_after(left):
                    job = await followed.after(job)
        return job

    async def resolve(self, job_id: str, caller: Caller, found: SubmissionEvent, *, ends: bool) -> JobRecord:
        """Take a person's word for the outcome of an uncertain submission: the job ends by it, or is driven again.

        Raises:
            RequestError: `not_found`, or `invalid_request` when the job is not uncertain.
        """
        await self.get(job_id, caller)
        if not await self.store.resolve(job_id, found, None if ends else self.clock() + self.deadline_seconds):
            raise RequestError(
                "invalid_request",
                f"The job {job_id} is not uncertain, so there is nothing to resolve.",
                hint="job_status shows how it stands.",
            )
        self.runner.wake(job_id)
        return await self.get(job_id, caller)

    async def fetch(self, job_id: str, caller: Caller) -> JobRecord:
        """Ask the provider at once for pictures that a job still lacks, also where they were given up.

        Nothing is submitted. A job that lacks none, was never accepted or is not done yet is returned as it is.

        Raises:
            RequestError: `not_found`.
        """
        job = await self.get(job_id, caller)
        if job.state != "fetching" and not await self.store.reopen(job_id, self.clock() + self.deadline_seconds):
            return job
        self.runner.wake(job_id)
        return await self.get(job_id, caller)

    async def hold_map(self, sha256: str, caller: Caller) -> None:
        """Write that a caller made a map, so that its URI opens for them and nobody else.

        Where the record fails, the map is still worth looking at; nothing could be made of it then anyway.
        """
        try:
            await self.store.hold_map(caller.principal, sha256)
        except StorageError as error:
            _log.warning("It could not be noted whose map %s is: %s", sha256, error)

    async def _price(self, prepared: Prepared) -> Cost | None:
        provider = prepared.provider
        if not provider.capabilities.prices:
            return None
        return await self.sender.run(provider, provider.price(prepared.request, prepared.planned_uploads()))


def _with_mismatch(job: JobRecord, asked: GenerateRequest) -> JobRecord:
    """The job, with a warning about settings that it was not made with: an earlier job may have had the same key."""
    made_with = job.asked or asked
    others = [name for name in GenerateRequest.model_fields if name not in PICTURES]
    differing = [name for name in others if getattr(made_with, name) != getattr(asked, name)]
    if not differing:
        return job
    detail = (
        f"The request_key was used for this job before, with another {', '.join(differing)}; what is asked for now was "
        "not drawn. Use a new request_key for a new job."
    )
    warning = RequestWarning(kind="adjusted", feature="request_key", detail=detail)
    return job.model_copy(update={"warnings": (*job.warnings, warning)})


def recorded_request(asked: GenerateRequest, job_id: str, sources: Container[str] | None = None) -> GenerateRequest:
    """The request as it goes into the record: pictures that were read, or still are, are named by the job's own URIs.

    A path, a link or a `data:` URI says little later: files change and links end. The pictures are kept with the job
    under `controlnet://jobs/{job_id}/sources/{name}`, which belongs to the job's caller as the job does. What was never
    read here (an asset of the provider, a link only it can follow) stays as it was written.
    """
    if sources is None:
        sources = asked.pictures
    extras = [
        extra.model_copy(update={"image": source_uri(job_id, extra_name(index))})
        if extra_name(index) in sources
        else extra
        for index, extra in enumerate(asked.extra_controls)
    ]
    named = {name: source_uri(job_id, name) for name in (CONTROL, START, MASK) if name in sources}
    return asked.model_copy(update={**named, "extra_controls": extras})


def rerun_request(
    earlier: JobRecord, changes: Mapping[str, JsonValue], *, by_link: bool = False
) -> tuple[GenerateRequest, tuple[RequestWarning, ...]]:
    """The request of an earlier job with changes.

    The changes are fields that were checked already. It goes to the provider that drew it and with the seed that was
    used, unless the changes name others. An empty text takes out what the earlier job had (a start image, a negative
    prompt).

    Where the provider only takes links (`by_link`), those that the earlier job was given are used again, and not the
    pictures that were read from them. Returns warnings about what could not be taken over, too.

    Raises:
        RequestError: `unsupported` when the record of the job is too old to be repeated, or its pictures were not read.
    """
    if earlier.asked is None:
        raise RequestError(
            "unsupported",
            f"The job {earlier.job_id} was made by a version that did not keep enough to repeat it.",
            hint="Give prompt and control_image without like_job; job_status shows what it was.",
        )
    if not earlier.prepared and CONTROL not in changes:
        raise RequestError(
            "unsupported",
            f"The pictures of the job {earlier.job_id} are not prepared, so it cannot be repeated.",
            hint="Give prompt and control_image without like_job.",
        )
    seed = earlier.request.seed if earlier.seed is None else earlier.seed
    before = earlier.asked.model_dump(mode="json") | {"provider": earlier.provider, "seed": seed}
    if by_link:
        request = earlier.request
        links = {CONTROL: request.controls[0].source_url, START: request.init_url, MASK: request.mask_url}
        before |= {name: link for name, link in links.items() if link}
        further = earlier.asked.extra_controls
        if len(request.controls) > len(further):
            sent = zip(further, request.controls[len(request.controls) - len(further) :], strict=True)
            before["extra_controls"] = [
                extra.model_copy(update={"image": control.source_url or extra.image}).model_dump(mode="json")
                for extra, control in sent
            ]
    provider = changes.get("provider", earlier.provider)
    lost = [name for name in _OF_THE_PROVIDER if provider != earlier.provider and name not in changes and before[name]]
    if CONTROL in changes:
        before.pop("control_is_map")  # said of the earlier picture
    removed = {name for name in REMOVABLE if changes.get(name) == ""}
    given = {name: value for name, value in changes.items() if name not in removed}
    if START in removed:
        removed |= {MASK, "strength"}
    kept = {name: value for name, value in before.items() if name not in {*lost, *removed}}
    warnings = [
        RequestWarning(
            kind="adjusted",
            feature=name,
            detail=f"{name} of the earlier job means something to {earlier.provider} only and was not taken over; "
            f"give {name} for one of the new provider's.",
        )
        for name in lost
    ]
    return GenerateRequest.model_validate(kept | given), tuple(warnings)


def build_service(  # noqa: PLR0913  # the parts and choices of the job layer, by name
    store: JobStore,
    sender: Sender,
    entries: Sequence[ProviderEntry],
    reader: PictureReader,
    blobs: BlobStore,
    *,
    scorer: Scorer | None = None,
    map_models: MapModels = NO_MODELS,
    reachable: bool = False,
    deadline_seconds: float = 600.0,
    patience_seconds: float = 3.0,
    submissions_in_flight: int = 4,
    spending: Spending | None = None,
) -> JobService:
    """Put the job layer of one process together; `JobService.start` lets it drive jobs.

    Entries are in the operator's order; `reachable` tells that providers can fetch pictures from this server.
    """
    owner = f"{socket.gethostname()}-{secrets.token_hex(8)}"  # no other process on the data folder has this name
    driver = build_driver(store, sender, entries, blobs, scorer=scorer, submissions_in_flight=submissions_in_flight)
    subscriptions = JobSubscriptions(store)
    return JobService(
        store,
        Preparer(entries, reader, blobs, map_models, reachable=reachable),
        JobRunner(driver, subscriptions, owner),
        subscriptions,
        sender,
        driver.clock,
        deadline_seconds,
        patience_seconds,
        replace(spending or Spending(), run=owner),
    )


@dataclass(frozen=True, slots=True)
class Retention:
    """Deletes jobs and pictures that are older than `days`: jobs first, then pictures that no job names any more.

    A job is deleted when it was created long ago, has ended, and an answer that names it went out. A picture is deleted
    when it was not stored or asked for since then either.
    """

    store: JobStore
    blobs: BlobStore
    days: float
    clock: Callable[[], float] = time.time

    async def delete_old(self) -> tuple[int, int]:
        """Delete what is old; returns the number of jobs and the number of pictures.

        Raises:
            StorageError: The record cannot be read or written.
        """
        before = self.clock() - self.days * DAY_SECONDS
        jobs: set[str] = set()
        while deleted := await self.store.delete_old(before):
            jobs |= deleted
        if jobs:
            await to_thread.run_sync(self.blobs.delete_notes, jobs)
        old = await to_thread.run_sync(self.blobs.older_than, before)
        unreferenced = await self.store.unreferenced(old) if old else old
        for sha256 in unreferenced:
            await to_thread.run_sync(self.blobs.delete, sha256, before)
        _log.info("%d jobs and %d pictures were deleted because of their age.", len(jobs), len(unreferenced))
        return len(jobs), len(unreferenced)

    async def run(self) -> None:
        """Delete what is old, now and every hour; a failure is logged and tried again."""
        await repeat(self.delete_old, _RETENTION_PAUSE_SECONDS, "Old jobs could not be deleted")
