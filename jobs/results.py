"""Finished pictures: downloaded and stored as the provider sent them, scored, and shown with how they were made.

Scores say how much of the asked structure is in a picture; they are measured in passing, never at the cost of a job.
Provenance is one file for each picture and job, `<sha256>.<job_id>.json`, because two jobs may have drawn the same
bytes. It names pictures by their hashes, and holds no key, no path and no link but those of the provider's options,
without the parts in which secrets travel. The comparison sheet of a job is made when somebody asks for it and not kept:
everything on it is in the record and the blob store.
"""

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio import CapacityLimiter, to_thread
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ControlNetError, ImageError, RequestError, StorageError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.contact_sheet import Panel, Sheet
from controlnet_mcp.images.maps import MapModels
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.structure_score import MEASURED, Metric
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.jobs.request import CONTROL, MASK, START, extra_name
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError, undelivered
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, Cost, Frozen, Output, RequestWarning, ResolvedRequest

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Levels, Rgb
    from controlnet_mcp.images.structure_score import DepthOf

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_MEASURES: dict[Metric, str] = {
    "edge_f1": "edge F1",
    "boundary_f1": "boundary F1",
    "ssim": "SSIM",
    "miou": "mIoU",
    "depth_rmse": "depth RMSE",
}
"""Names of measures as people write them."""
SOME_MISSING = "Not all pictures could be downloaded"
"""The beginning of the warning that a job ends with where it has some of its pictures."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Results:
    """The pictures of a job, as far as they could be downloaded.

    Attributes:
        outputs: All outputs; those that are stored name their hash, so that they are not fetched again.
        missing: Why another one is not there: a fault that may pass, if one is; `None` when all are there.
    """

    images: tuple[ResultImage, ...]
    outputs: tuple[Output, ...]
    missing: ControlNetError | None = None

    @property
    def warnings(self) -> list[RequestWarning]:
        """The warning for when the rest is given up."""
        if self.missing is None:
            return []
        detail = f"{SOME_MISSING}, only {len(self.images)} of {len(self.outputs)}: {self.missing.message}"
        return [RequestWarning(kind="adjusted", feature="num_images", detail=detail)]


async def download_results(job: JobRecord, provider: Provider, sender: Sender, blobs: BlobStore) -> Results:
    """Download every output of a job, prove it to be a picture and store it as the provider sent it.

    Safe to repeat, since pictures are stored under their own hash.

    Raises:
        ProviderError: There is nothing to download.
        StorageError: There is no room for a picture, or the data folder cannot be written.
    """
    if not job.outputs:
        raise ProviderError(
            "provider_failed",
            f"{provider.name} finished without a picture.",
            provider=provider.name,
            retryable=True,
            lasting=True,
        )
    images: list[ResultImage] = []
    outputs: list[Output] = []
    faults: list[ControlNetError] = []
    for output in job.outputs:
        flagged = output.flagged
        try:
            async with sender.download_turns(provider):
                if output.sha256:  # it came inside a reply and is stored already, but is not proven
                    content = await to_thread.run_sync(blobs.get, output.sha256)
                else:
                    located = await sender.locate(provider, output)
                    flagged = located.flagged
                    content = await sender.download(provider, located)
                picture = await to_thread.run_sync(blobs.put_original, content, RESULT_LIMITS, limiter=sender.decoding)
        except StorageError:
            raise
        except ControlNetError as error:
            image_fault = isinstance(error, ImageError)
            faults.append(undelivered(provider.name, provider.title, error) if image_fault else error)
            outputs.append(output)
        else:
            images.append(ResultImage(picture=picture, flagged=flagged))
            outputs.append(output.model_copy(update={"sha256": picture.sha256, "flagged": flagged}))
    missing = min(faults, key=lambda fault: isinstance(fault, ProviderError) and fault.lasting, default=None)
    return Results(tuple(images), tuple(outputs), missing)


def depth_by(models: MapModels) -> "DepthOf | None":
    """The operator's own depth model, where one is set; it is opened when the first picture is scored."""
    path = models.depth
    if path is None:
        return None

    def depth_of(rgb: "Rgb") -> "Levels":
        from controlnet_mcp.images.maps.depth import depth_levels

        return depth_levels(rgb, path)

    return depth_of


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores one job's pictures at a time, in a worker thread.

    Attributes:
        depth_of: A depth model, where there is one; without it depth is not scored.
        patience_seconds: Longest that `scored` takes, the wait for other jobs' scores included.
    """

    blobs: BlobStore
    depth_of: "DepthOf | None" = None
    patience_seconds: float = 15.0
    enabled: bool = True
    _at_once: CapacityLimiter = field(default_factory=partial(CapacityLimiter, 1), init=False)

    async def scored(self, job: JobRecord, images: tuple[ResultImage, ...]) -> tuple[ResultImage, ...]:
        """The pictures with their scores; unchanged where nothing can be measured, it takes too long, or it fails."""
        control = self.control_of(job)
        if control is None or control.picture is None:
            return images
        sha256 = control.picture.sha256

        def score_all() -> tuple[ResultImage, ...]:
            from controlnet_mcp.images.structure_score.measures import score_structure

            try:
                asked = self.blobs.pixels(sha256, RESULT_LIMITS)
                scored: list[ResultImage] = []
                for image in images:
                    result = self.blobs.pixels(image.picture.sha256, RESULT_LIMITS)
                    score = score_structure(
                        asked, result, control.modality, is_map=control.is_map, depth_of=self.depth_of
                    )
                    scored.append(image.model_copy(update={"structure": score}))
                return tuple(scored)
            except Exception:  # noqa: BLE001  # whatever goes wrong here, the pictures are paid for and there
                _log.exception("The pictures of job %s could not be scored.", job.job_id)
                return images

        with anyio.move_on_after(self.patience_seconds):
            return await to_thread.run_sync(score_all, limiter=self._at_once, abandon_on_cancel=True)
        _log.warning("The pictures of job %s were not scored in %g seconds.", job.job_id, self.patience_seconds)
        return images

    def control_of(self, job: JobRecord) -> Control | None:
        """The control to score by: the first that has a measure and a picture, and was meant to have a weight."""
        able = MEASURED if self.depth_of else MEASURED - {"depth"}
        controls = job.request.controls if self.enabled else ()
        return next((row for row in controls if row.picture and row.weight > 0 and row.modality in able), None)


class Provenance(Frozen):
    """The facts of how one picture was made.

    Attributes:
        format: Name and version of this form.
        index: Which of the job's pictures it is, counted from 0.
        image: The picture as it was delivered, by its hash.
        request: All that was asked of the provider: prompt, model, controls with weights and hashes, size, steps.
        seed: Of the job's first picture, as the provider told it.
        sources: The pictures that were handed in, from which maps may have been made.
        cost: Of the whole job, in the provider's own unit.
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
    """Tell how one picture of a job that succeeded was made, counted from 0; links are left out."""
    request = job.request
    controls = tuple(control.model_copy(update={"source_url": None}) for control in request.controls)
    options = {name: _bare(value) for name, value in request.options.items() if value is not None}
    without_links = {"controls": controls, "init_url": None, "mask_url": None, "options": options}
    return Provenance(
        job_id=job.job_id,
        index=index,
        image=job.images[index],
        provider=job.provider,
        request=request.model_copy(update=without_links),
        seed=job.seed,
        sources=job.sources,
        cost=job.cost,
        created_at=datetime.fromtimestamp(round(job.created_at, 3), UTC),
    )


async def keep_provenance(job: JobRecord, blobs: BlobStore) -> None:
    """Write the files of a job that is about to succeed; one that cannot be written costs no picture, but is logged."""

    def write() -> None:
        for index, image in enumerate(job.images):
            content = provenance_of(job, index).model_dump_json(exclude_none=True, indent=2)
            blobs.annotate(image.picture.sha256, job.job_id, content.encode())

    try:
        await to_thread.run_sync(write)
    except ControlNetError as error:
        _log.warning("It could not be noted how the pictures of job %s were made: %s", job.job_id, error)


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


def sheet_of(job: JobRecord, blobs: BlobStore) -> Sheet:
    """Lay out a job for `controlnet_mcp.images.contact_sheet.page.compose`; pictures are read when they are drawn.

    Raises:
        RequestError: `not_found` when the job has no result to be compared.
    """
    if job.state != "succeeded":
        raise RequestError(
            "not_found",
            f"The job {job.job_id} has no sheet: it is {job.status}.",
            hint="Only a job that succeeded has one; job_status waits for it.",
        )
    request = job.request
    facts = (
        " + ".join(f"{control.modality}:{control.weight:g}" for control in request.controls),
        job.provider,
        request.model,
        None if job.seed is None else f"seed {job.seed}",
        f"{request.width}x{request.height} pixels",
        f"{job.cost.amount:g} {job.cost.unit}" if job.cost and job.cost.amount else None,
    )
    without = (f"Without: {request.negative_prompt}",) if request.negative_prompt else ()
    lines = (*without, " · ".join(fact for fact in facts if fact))
    made = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    panels: list[Panel] = []
    shown: set[str] = set()  # each picture that went in is shown once, and after it the maps that were made of it
    shared = len(request.controls) - (len(job.asked.extra_controls) if job.asked else 0)
    for index, control in enumerate(request.controls):
        source = job.sources.get(CONTROL if index < shared else extra_name(index - shared))
        for picture, is_map in ((source, False), (control.picture, control.is_map)):
            if picture is not None and picture.sha256 not in shown:
                shown.add(picture.sha256)
                own = picture == control.picture
                caption = "Control map" if is_map or (own and control.is_map) else "Control image"
                weight = f"{control.modality}:{control.weight:g}" if own else ""
                panels.append(_panel(picture, caption, weight, blobs))
    for name, caption in ((START, "Start image"), (MASK, "Mask")):
        picture = job.sources.get(name)
        if picture is not None and picture.sha256 not in shown:
            panels.append(_panel(picture, caption, "", blobs))
    for index, image in enumerate(job.images):
        structure, remarks = image.structure, list[str]()
        if structure:
            remarks.append(f"structure kept: {structure.score:.2f} ({_MEASURES[structure.metric]})")
        if image.flagged:
            remarks.append("flagged by the provider")
        caption = "Result" if len(job.images) == 1 else f"Result {index + 1}"
        panels.append(_panel(image.picture, caption, ", ".join(remarks), blobs))
    return Sheet(request.prompt, lines, tuple(panels), f"{job.job_id} · {made} · controlnet-mcp")


def sheet_file(job: JobRecord, blobs: BlobStore, *, max_bytes: int) -> bytes:
    """The sheet of a job as a JPEG of at most `max_bytes`.

    Raises:
        RequestError: As `sheet_of`.
    """
    import numpy as np

    from controlnet_mcp.images.contact_sheet.page import compose
    from controlnet_mcp.images.encode import jpeg_within

    page = compose(sheet_of(job, blobs))
    return jpeg_within(np.asarray(page, dtype=np.uint8), max_bytes)


def _panel(picture: StoredPicture, caption: str, detail: str, blobs: BlobStore) -> Panel:
    """A panel whose picture may be gone from the store: its place is left empty then, the rest is worth seeing."""

    def pixels() -> "Rgb | None":
        try:
            return blobs.pixels(picture.sha256, RESULT_LIMITS)
        except ControlNetError as error:
            _log.warning("A picture is missing on a sheet: %s", error)
            return None

    return Panel(picture.width, picture.height, pixels, caption, detail)
