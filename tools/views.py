"""The one shape in which tools speak of a job."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from controlnet_mcp.jobs.record import JobRecord, ResultImage, Status
from controlnet_mcp.jobs.resource_uris import control_map_uri, image_uri, sheet_uri
from controlnet_mcp.providers.types import Cost, Fault, RequestWarning
from controlnet_mcp.tools.advice import next_step


class View(BaseModel):
    """An immutable part of an answer; built when it is first used, so that a start does not wait for it."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ControlView(View):
    """One control of a job."""

    modality: str
    weight: float


class StructureView(View):
    """How much of the asked structure is in a picture: the measure's name, its score (0 to 1) and its own figure."""

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


class Job(View):
    """A job as callers see it; fields that say nothing are null and left out when it is written."""

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


def job_view(record: JobRecord, *, now: float, paths: Mapping[str, Path], ai_generated: bool) -> Job:
    """Show a record.

    Args:
        record: What is known.
        now: Seconds since the epoch.
        paths: Where originals lie, by hash, as far as the caller may see it and they are still there.
        ai_generated: Whether the provider's pictures come from a model; only a no is shown.
    """
    control_map = control_map_uri(record.job_id) if record.control_map else None
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
        images=tuple(_image(record, index, row, paths) for index, row in enumerate(record.images)) or None,
        control_map_uri=control_map,
        sheet_uri=sheet_uri(record.job_id) if record.state == "succeeded" else None,
        cost=record.cost,
        credits_left=record.credits_left,
        warnings=(*record.warnings, *(_second_charge(record.provider, row) for row in record.orphans)) or None,
        error=record.fault,
        next=next_step(record),
    )


def _image(record: JobRecord, index: int, image: ResultImage, paths: Mapping[str, Path]) -> ImageView:
    picture, score = image.picture, image.structure
    return ImageView(
        uri=image_uri(record.job_id, index),
        width=picture.width,
        height=picture.height,
        mime_type=picture.mime_type,
        size_bytes=picture.size_bytes,
        sha256=picture.sha256,
        path=paths.get(picture.sha256),
        flagged=image.flagged or None,
        structure=StructureView(metric=score.metric, score=round(score.score, 3), raw=round(score.raw, 3))
        if score
        else None,
    )


def _second_charge(provider: str, remote_id: str) -> RequestWarning:
    detail = (
        f"{provider} accepted this a second time, as {remote_id[:100]}: its picture is in the provider's own history, "
        "and the charge can be disputed there."
    )
    return RequestWarning(kind="charge", feature="provider", detail=detail)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)
