"""Jobs as tools answer with them: the view of a job, the next step with it, waiting with progress, and the answer."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from anyio import to_thread
from pydantic import BaseModel, ConfigDict

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.structure_score import LOW_SCORE
from controlnet_mcp.jobs.record import JobRecord, ResultImage, Status
from controlnet_mcp.jobs.request import MAX_WEIGHT
from controlnet_mcp.jobs.resource_uris import control_map_uri, image_uri, sheet_uri
from controlnet_mcp.providers.types import Cost, Fault, RequestWarning
from controlnet_mcp.tools.tool import Answer, Call, Services, Shown


class View(BaseModel):
    """An immutable part of an answer."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ControlView(View):
    """One control of a job."""

    modality: str
    weight: float


class StructureView(View):
    """Structure score of a picture: the measure's name, its score (0 to 1) and its own figure."""

    metric: str
    score: float
    raw: float


class ImageView(View):
    """One finished picture; `path` only where caller and server share a machine."""

    uri: str
    width: int
    height: int
    mime_type: str
    size_bytes: int
    sha256: str
    path: Path | None = None
    flagged: bool | None = None
    structure: StructureView | None = None

    @classmethod
    def of(cls, uri: str, image: ResultImage, paths: Mapping[str, Path]) -> Self:
        """Show a picture; `paths` as for `job_view`."""
        picture, score = image.picture, image.structure
        return cls(
            uri=uri,
            width=picture.width,
            height=picture.height,
            mime_type=picture.mime_type,
            size_bytes=picture.size_bytes,
            sha256=picture.sha256,
            path=paths.get(picture.sha256),
            flagged=image.flagged or None,
            structure=score
            and StructureView(metric=score.metric, score=round(score.score, 3), raw=round(score.raw, 3)),
        )


class Job(View):
    """A job as callers see it; nulls are left out when it is written."""

    job_id: str
    status: Status
    progress: float | None = None
    stage: str | None = None
    provider: str
    model: str | None = None
    ai_generated: bool | None = None
    controls: tuple[ControlView, ...]
    prompt: str
    seed: int | None = None
    created_at: datetime
    updated_at: datetime
    elapsed_seconds: float
    eta_seconds: float | None = None
    images: tuple[ImageView, ...] | None = None
    control_map_uri: str | None = None
    sheet_uri: str | None = None
    cost: Cost | None = None
    credits_left: float | None = None
    warnings: tuple[RequestWarning, ...] | None = None
    error: Fault | None = None
    next: str


_WAIT_SECONDS, _WAIT_SECONDS_WITHOUT_PROGRESS = 30, 4
"""Wait that is proposed to a caller who asked for progress, which keeps a client from giving up, and to any other: some
hosts give a call five seconds."""


def job_view(
    record: JobRecord,
    *,
    now: float,
    paths: Mapping[str, Path],
    ai_generated: bool,
    patience_seconds: int = _WAIT_SECONDS_WITHOUT_PROGRESS,
) -> Job:
    """Show a record.

    Args:
        record: The job.
        now: Seconds since the epoch.
        paths: Files of originals by hash: of those that are there and that the caller may see.
        ai_generated: Whether a model draws; only a no is shown.
        patience_seconds: A wait that the caller has shown to bear.
    """
    second_charges = [
        RequestWarning(
            kind="charge",
            feature="provider",
            detail=f"{record.provider} accepted this a second time, as {remote_id[:100]}: its picture is in the "
            "provider's own history, and the charge can be disputed there.",
        )
        for remote_id in record.orphans
    ]
    return Job(
        job_id=record.job_id,
        status=record.status,
        progress=None if record.progress is None else round(record.progress, 3),
        stage=record.stage,
        provider=record.provider,
        model=record.request.model,
        ai_generated=None if ai_generated else False,
        controls=tuple(ControlView(modality=row.modality, weight=row.weight) for row in record.request.controls),
        prompt=record.request.prompt,
        seed=record.seed,
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
        elapsed_seconds=round((record.finished_at or now) - record.created_at, 2),
        eta_seconds=None if record.eta_seconds is None else round(record.eta_seconds, 1),
        images=tuple(
            ImageView.of(image_uri(record.job_id, index), row, paths) for index, row in enumerate(record.images)
        )
        or None,
        control_map_uri=control_map_uri(record.job_id) if record.control_map else None,
        sheet_uri=sheet_uri(record.job_id) if record.state == "succeeded" else None,
        cost=record.cost,
        credits_left=record.credits_left,
        warnings=(*record.warnings, *second_charges) or None,
        error=record.fault,
        next=next_step(record, patience_seconds),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)


_LONGEST_URL, _MOST_URLS = 2000, 4
"""Addresses of results that are told; a longer one is cut."""
FETCH_AGAIN = "fetch=true"
"""The argument that `next` names where a job that ended may still be got."""
_RAISE = 1.4
"""Factor by which a weight is raised."""


def advice(job: JobRecord) -> str:
    """Part of a sentence on how much of the structure was kept, with its semicolon; often empty."""
    scores = [image.structure for image in job.images if image.structure]
    controls = job.request.controls
    if not scores:
        named = next((row.modality for row in controls if MODALITIES[row.modality].structure != "photo"), None)
        return f"how well the {named} was kept was not measured, so look; " if named else ""
    worst = min(scores, key=lambda row: row.score)
    if worst.score >= LOW_SCORE:
        return ""
    where = "it" if len(scores) == 1 else "one of them"
    lost = f"little of the {worst.modality} structure is in {where} ({worst.metric} scores {worst.score:.2f} of 1)"
    control = next(row for row in controls if row.modality == worst.modality)
    heavier = min(MAX_WEIGHT, control.weight * _RAISE)
    ways = [f"modality={worst.modality}:{heavier:.2g}"] if heavier > control.weight else []
    ways.append(f"modality={'lineart' if worst.modality == 'canny' else 'canny'}")  # holds it to more of the picture
    if control.is_map and job.control_map is None:
        last = "control_is_map=false if the control picture is no map"
    else:
        last = "control_is_map=true if the control picture already is a map"
    return f"{lost}, so to keep more, try again with {', '.join(ways)}, or {last}; "


def next_step(job: JobRecord, patience_seconds: int = _WAIT_SECONDS_WITHOUT_PROGRESS) -> str:
    """Say what to do next, with a wait that the caller bears."""
    match job.state:
        case "succeeded":
            pictures = "picture" if len(job.images) == 1 else f"{len(job.images)} pictures"
            said = (
                f"Show the user the {pictures}; {advice(job)}to build on one, pass its uri as "
                "control_image or init_image of controlnet_generate."
            )
            if job.can_be_fetched:
                said = f"{said} job_status with job_id={job.job_id} and {FETCH_AGAIN} tries for the missing ones."
        case "failed":
            hint = job.fault.hint if job.fault else ""
            said = hint or "Tell the user why it failed."
            if job.can_be_fetched:
                place = _place_of(job)
                at_place = f"; the provider had it at {place}" if place else "."
                said = f"{said} job_status with job_id={job.job_id} and {FETCH_AGAIN} tries again to get it{at_place}"
        case "canceled":
            said = "Nothing more will happen; call controlnet_generate for a new job."
        case "uncertain":
            said = (
                "Ask the user to look in the provider's history: this may have been accepted and charged. "
                f"What they find they can tell with `controlnet-mcp jobs resolve {job.job_id}`. "
                "Nothing is sent again unless asked for with a new request_key."
            )
        case "fetching" if job.failures and _place_of(job):
            said = (
                f"The picture is finished but cannot be stored yet: job_status with job_id={job.job_id} tells when it "
                f"is. Until then the provider has it at {_place_of(job)}"
            )
        case _ if job.cancel_answered:
            said = f"It could not be stopped. If its picture comes, it is kept: job_status with job_id={job.job_id}."
        case _:
            wait = f"wait_seconds={patience_seconds}"
            said = f"Call job_status with job_id={job.job_id} and {wait}; do not submit it again."
    return said


def _place_of(job: JobRecord) -> str:
    """The links to pictures that are not stored here."""
    urls = [output.url for output in job.outputs if output.url and not output.sha256]
    return " ".join(url if len(url) <= _LONGEST_URL else shortened(url) for url in urls[:_MOST_URLS])


_NOTIFICATION_SECONDS = 0.5
"""Progress is told at most twice a second."""
_SCORE_SECONDS = (0.5, 3.0)
"""Time that an answer waits for the structure scores of a job that has just succeeded: within its own time or a little
over it, because some hosts give a call five seconds."""


async def wait_for(
    services: Services, call: Call, job: JobRecord, wait_seconds: float | None, started: float
) -> JobRecord:
    """Wait for a job as long as the caller wants, measured from `started` (seconds since the epoch).

    By default, a caller that asked for progress waits longer: progress keeps such a client from giving up.
    """
    progress = call.progress
    if wait_seconds is None:
        wait_seconds = services.wait_seconds if progress else services.wait_seconds_without_progress
    last_told, last_fraction = 0.0, -1.0

    async def tell(now: JobRecord) -> None:
        nonlocal last_told, last_fraction
        moment = services.jobs.clock()
        if progress is not None and (moment - last_told >= _NOTIFICATION_SECONDS or now.ended):
            fraction = 1.0 if now.state == "succeeded" else min(now.progress or 0.0, 0.99)
            above = last_fraction + (1.0 - last_fraction) / 1000  # the protocol wants every value above the last
            last_told, last_fraction = moment, fraction if fraction > last_fraction else above
            eta = "" if now.eta_seconds is None else f", about {now.eta_seconds:.0f} s left"
            await progress(last_fraction, f"{now.provider}: {now.stage or now.status}{eta}")

    if progress is not None and not job.ended:
        await tell(job)
    until = started + wait_seconds
    job = await services.jobs.wait(job, until, tell)
    patience = min(max(until - services.jobs.clock(), _SCORE_SECONDS[0]), _SCORE_SECONDS[1])
    return await services.jobs.scored(job, patience)


async def views_of(
    services: Services, call: Call, jobs: Sequence[JobRecord], *, look_up: bool = True
) -> tuple[Job, ...]:
    """Show jobs to their caller.

    Pictures that were found before are looked up again unless `look_up` is off: asking often for a job costs little.
    """
    pictures = {image.picture.sha256 for job in jobs for image in job.images} if call.caller.local else set[str]()
    blobs = services.blobs

    def find() -> None:  # the store remembers those that it finds, and forgets the others
        for sha256 in pictures:
            with suppress(RequestError):
                blobs.path(sha256)

    if pictures and (look_up or not pictures <= blobs.seen.keys()):
        await to_thread.run_sync(find)
    paths = blobs.seen if call.caller.local else {}
    machines = {entry.name for entry in services.entries if not entry.capabilities.ai_generated}
    now = services.jobs.clock()
    patience = _WAIT_SECONDS if call.progress else _WAIT_SECONDS_WITHOUT_PROGRESS
    return tuple(
        job_view(job, now=now, paths=paths, ai_generated=job.provider not in machines, patience_seconds=patience)
        for job in jobs
    )


async def job_answer(services: Services, call: Call, job: JobRecord, *, previews: bool) -> Answer:
    """Answer with a job: its facts, and its pictures as previews and links."""
    pictures = tuple(
        Shown(image_uri(job.job_id, index), f"{job.job_id}-{index + 1}", image.picture)
        for index, image in enumerate(job.images)
    )
    (view,) = await views_of(services, call, (job,), look_up=False)
    return Answer(
        view,
        pictures,
        previews=previews and services.previews,
        job_id=None if job.delivered else job.job_id,
    )
