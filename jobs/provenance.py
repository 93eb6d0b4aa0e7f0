"""How a picture was made, in a file of our own beside it; the provider's bytes stay as they came.

One file for each picture and job, `<sha256>.<job_id>.json`, because two jobs may have drawn the same bytes. It names
pictures by their hashes. It holds no key, no path and no link but those of the provider's options, without the parts in
which secrets travel.
"""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from anyio import to_thread
from pydantic import JsonValue

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.values import Cost, Frozen, GenerationRequest

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_log = logging.getLogger(__name__)


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
    request: GenerationRequest
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
        _log.warning("It could not be noted how the pictures of job %s were made: %s", job.job_id, error)


def _write(notes: Sequence[Provenance], blobs: BlobStore) -> None:
    for note in notes:
        content = note.model_dump_json(exclude_none=True, indent=2).encode()
        blobs.annotate(note.image.picture.sha256, note.job_id, content)


def _without_links(request: GenerationRequest) -> GenerationRequest:
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
