"""How much of the asked structure is in finished pictures: measured in passing, never at the cost of a job."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import CapacityLimiter, to_thread

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.images.structure import MEASURED, StructureScore
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.runner import RESULT_LIMITS
from controlnet_mcp.providers.values import Control

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Levels, Rgb
    from controlnet_mcp.images.structure.depth import DepthOf

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
        from controlnet_mcp.images.decode import decode

        return decode(self.blobs.get(picture.sha256 if picture else ""), RESULT_LIMITS)

    def _score(self, control: Control, asked: "Rgb", result: "Rgb") -> StructureScore | None:
        from controlnet_mcp.images.structure import score_structure

        return score_structure(asked, result, control.modality, is_map=control.is_map, depth_of=self.depth_of)
