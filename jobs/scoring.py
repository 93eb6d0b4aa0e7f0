"""How much of the asked structure is in finished pictures: measured in passing, never at the cost of a job.

How a picture was made, in a file of our own beside it; the provider's bytes stay as they came.

One file for each picture and job, `<sha256>.<job_id>.json`, because two jobs may have drawn the same bytes. It names
pictures by their hashes. It holds no key, no path and no link but those of the provider's options, without the parts in
which secrets travel.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio import CapacityLimiter, to_thread
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.structure_score import MEASURED, StructureScore
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.types import Control, Cost, Frozen, ResolvedRequest

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Levels, Rgb
    from controlnet_mcp.images.structure_score import DepthOf

PATIENCE_SECONDS = 15.0
"""Longest that a finished job waits for its scores, the wait for other jobs' included."""
_log = logging.getLogger(__name__)


def depth_by(models: MapModels) -> "DepthOf | None":
    """The operator's own depth model, where one is set; it is opened when the first picture is scored."""
    path = models.depth
    return None if path is None else partial(_depth_levels, path)


def _depth_levels(path: Path, rgb: "Rgb") -> "Levels":
    from controlnet_mcp.images.maps.depth import depth_levels

    return depth_levels(rgb, path)


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores one job's pictures at a time, in a worker thread.

    Attributes:
        blobs: Where control pictures and results are.
        depth_of: A depth model, where there is one; without it depth is not scored.
        patience_seconds: Longest that `scored` takes.
        enabled: Whether the operator wants scores at all.
    """

    blobs: BlobStore
    depth_of: "DepthOf | None" = None
    patience_seconds: float = PATIENCE_SECONDS
    enabled: bool = True
    _at_once: CapacityLimiter = field(default_factory=partial(CapacityLimiter, 1), init=False)

    async def scored(self, job: JobRecord, images: tuple[ResultImage, ...]) -> tuple[ResultImage, ...]:
        """The pictures with their scores; unchanged where nothing can be measured, it takes too long, or it fails."""
        control = self._looked_for(job)
        if control is None:
            return images
        with anyio.move_on_after(self.patience_seconds):
            work = partial(self._score_all, control, images, job.job_id)
            return await to_thread.run_sync(work, limiter=self._at_once, abandon_on_cancel=True)
        _log.warning("The pictures of job %s were not scored in %g seconds.", job.job_id, self.patience_seconds)
        return images

    def measures(self, job: JobRecord) -> bool:
        """Whether there is anything to score."""
        return self._looked_for(job) is not None

    def _looked_for(self, job: JobRecord) -> Control | None:
        """The first control that has a measure and a picture, and was meant to have a weight."""
        able = MEASURED if self.depth_of else MEASURED - {"depth"}
        controls = job.request.controls if self.enabled else ()
        return next((row for row in controls if row.picture and row.weight > 0 and row.modality in able), None)

    def _score_all(self, control: Control, images: tuple[ResultImage, ...], job_id: str) -> tuple[ResultImage, ...]:
        try:
            asked = self._pixels(control.picture)
            scores = [self._score(control, asked, self._pixels(image.picture)) for image in images]
            return tuple(
                image.model_copy(update={"structure": score}) for image, score in zip(images, scores, strict=True)
            )
        except Exception:  # noqa: BLE001  # whatever goes wrong here, the pictures are paid for and there
            _log.exception("The pictures of job %s could not be scored.", job_id)
            return images

    def _pixels(self, picture: StoredPicture | None) -> "Rgb":
        return self.blobs.pixels(picture.sha256 if picture else "", RESULT_LIMITS)

    def _score(self, control: Control, asked: "Rgb", result: "Rgb") -> StructureScore | None:
        from controlnet_mcp.images.structure_score.measures import score_structure

        return score_structure(asked, result, control.modality, is_map=control.is_map, depth_of=self.depth_of)


_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_log_provenance = logging.getLogger(__name__)


class Provenance(Frozen):
    """What is known of how one picture was made.

    Attributes:
        format: Name and version of this form.
        job_id: The job that brought it.
        index: Which of the job's pictures it is, counted from 0.
        image: The picture as it was delivered, by its hash.
        provider: Who drew it.
        request: All that was asked of the provider: prompt, model, controls with weights and hashes, size, steps.
        seed: Of the job's first picture, as the provider told it.
        sources: The pictures that were handed in, from which maps may have been made.
        cost: Of the whole job, in the provider's own unit.
        created_at: When it was asked for.
    """

    format: str = "controlnet-mcp provenance 1"
    job_id: str
    index: int
    image: ResultImage
    provider: str
    request: ResolvedRequest
    seed: int | None = None
    sources: dict[str, StoredPicture]
    cost: Cost | None = None
    created_at: datetime


def provenance_of(job: JobRecord, index: int) -> Provenance:
    """What is known of one picture of a job that succeeded, counted from 0."""
    return Provenance(
        job_id=job.job_id,
        index=index,
        image=job.images[index],
        provider=job.provider,
        request=_without_links(job.request),
        seed=job.seed,
        sources=job.sources,
        cost=job.cost,
        created_at=datetime.fromtimestamp(round(job.created_at, 3), UTC),
    )


async def keep_provenance(job: JobRecord, blobs: BlobStore) -> None:
    """Write the files of a job that is about to succeed; one that cannot be written costs no picture, but is logged."""
    notes = [provenance_of(job, index) for index in range(len(job.images))]
    try:
        await to_thread.run_sync(partial(_write, notes, blobs))
    except ControlNetError as error:
        _log_provenance.warning("It could not be noted how the pictures of job %s were made: %s", job.job_id, error)


def _write(notes: Sequence[Provenance], blobs: BlobStore) -> None:
    for note in notes:
        content = note.model_dump_json(exclude_none=True, indent=2).encode()
        blobs.annotate(note.image.picture.sha256, note.job_id, content)


def _without_links(request: ResolvedRequest) -> ResolvedRequest:
    controls = tuple(control.model_copy(update={"source_url": None}) for control in request.controls)
    options = {name: _bare(value) for name, value in request.options.items() if value is not None}
    return request.model_copy(update={"controls": controls, "init_url": None, "mask_url": None, "options": options})


def _bare(value: JsonValue) -> JsonValue:
    """A value of an option; a link is cut to its host and path."""
    match value:
        case str() if _LINK.match(value):
            link = urlsplit(value)
            return f"{link.scheme}://{link.hostname or ''}{link.path}"
        case list():
            return [_bare(inner) for inner in value]
        case dict():
            return {name: _bare(inner) for name, inner in value.items()}
        case _:
            return value
