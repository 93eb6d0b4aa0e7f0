"""The comparison sheet of a finished job: what was handed in, the maps, the results, and how they came about.

Made when somebody asks for it and not kept: everything on it is in the record and the blob store.
Imported lazily: it brings NumPy, OpenCV and Pillow.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import numpy as np

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.contact_sheet import Panel, Sheet
from controlnet_mcp.images.contact_sheet.page import compose
from controlnet_mcp.images.encode import jpeg_within
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.prepare import CONTROL, MASK, START, extra_name
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.jobs.request import parse_modalities
from controlnet_mcp.providers.types import Control

_MEASURES = {
    "edge_f1": "edge F1",
    "boundary_f1": "boundary F1",
    "ssim": "SSIM",
    "miou": "mIoU",
    "depth_rmse": "depth RMSE",
}
"""How people write the names of measures."""
_log = logging.getLogger(__name__)


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
    made = datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    panels = (*_handed_in(job, blobs), *_results(job, blobs))
    return Sheet(job.request.prompt, tuple(_lines(job)), panels, f"{job.job_id} · {made} · controlnet-mcp")


def sheet_file(job: JobRecord, blobs: BlobStore, *, max_bytes: int) -> bytes:
    """The sheet of a job as a JPEG of at most `max_bytes`.

    Raises:
        RequestError: As `sheet_of`.
    """
    page = compose(sheet_of(job, blobs))
    return jpeg_within(np.asarray(page, dtype=np.uint8), max_bytes)


def _lines(job: JobRecord) -> Iterator[str]:
    request = job.request
    if request.negative_prompt:
        yield f"Without: {request.negative_prompt}"
    cost = f"{job.cost.amount:g} {job.cost.unit}" if job.cost and job.cost.amount else None
    parts = (
        " + ".join(f"{control.modality}:{control.weight:g}" for control in request.controls),
        job.provider,
        request.model,
        None if job.seed is None else f"seed {job.seed}",
        f"{request.width}x{request.height} pixels",
        cost,
    )
    yield " · ".join(part for part in parts if part)


def _handed_in(job: JobRecord, blobs: BlobStore) -> Iterator[Panel]:
    """What went in, each picture once, and after it the maps that were made of it."""
    shown: set[str] = set()
    for name, control in _named_controls(job):
        source = job.sources.get(name)
        rows = ((source, "Control image"), (control.picture, "Control map" if control.is_map else "Control image"))
        for picture, caption in rows:
            if picture is not None and picture.sha256 not in shown:
                shown.add(picture.sha256)
                taken = source is not None and control.is_map and picture == control.picture == source
                yield _panel(picture, "Control map" if taken else caption, _detail(control, picture), blobs)
    for name, caption in ((START, "Start image"), (MASK, "Mask")):
        picture = job.sources.get(name)
        if picture is not None and picture.sha256 not in shown:
            yield _panel(picture, caption, "", blobs)


def _named_controls(job: JobRecord) -> Iterator[tuple[str, Control]]:
    """The controls with the name of the picture that each one came from."""
    shared = len(parse_modalities(job.wish.modality)) if job.wish else len(job.request.controls)
    for index, control in enumerate(job.request.controls):
        yield (CONTROL if index < shared else extra_name(index - shared)), control


def _detail(control: Control, picture: StoredPicture) -> str:
    return f"{control.modality}:{control.weight:g}" if picture == control.picture else ""


def _results(job: JobRecord, blobs: BlobStore) -> Iterator[Panel]:
    alone = len(job.images) == 1
    for index, image in enumerate(job.images):
        yield _panel(image.picture, "Result" if alone else f"Result {index + 1}", _merits(image), blobs)


def _merits(image: ResultImage) -> str:
    structure = image.structure
    measure = _MEASURES.get(structure.metric, structure.metric) if structure else ""
    score = f"structure kept: {structure.score:.2f} ({measure})" if structure else ""
    return ", ".join(part for part in (score, "flagged by the provider" if image.flagged else "") if part)


def _panel(picture: StoredPicture, caption: str, detail: str, blobs: BlobStore) -> Panel:
    return Panel(picture.width, picture.height, partial(_pixels, picture.sha256, blobs), caption, detail)


def _pixels(sha256: str, blobs: BlobStore) -> Rgb | None:
    """A picture from the store; one that is gone leaves its place empty, the rest is worth seeing."""
    try:
        return blobs.pixels(sha256, RESULT_LIMITS)
    except ControlNetError as error:
        _log.warning("A picture is missing on a sheet: %s", error)
        return None
