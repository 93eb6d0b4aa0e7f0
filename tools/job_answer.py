"""What the tools that speak of a job share: waiting with progress, and the answer's form."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.resource_uris import image_uri
from controlnet_mcp.tools.spec import Answer, Call, Services, Shown
from controlnet_mcp.tools.views import Job, job_view

_NOTIFICATION_SECONDS = 0.5
"""Progress is told at most twice a second."""
_SCORE_SECONDS = (0.5, 3.0)
"""How long an answer waits for the structure scores of a job that has just succeeded: within its own time or a little
over it, because some hosts give a call five seconds."""


async def wait_for(
    services: Services, call: Call, job: JobRecord, wait_seconds: float | None, started: float
) -> JobRecord:
    """Wait for a job as long as the caller wants, measured from `started` (seconds since the epoch).

    Without a wish, a caller that asked for progress waits longer: such a client can hold its clock.
    """
    progress = call.progress
    if wait_seconds is None:
        wait_seconds = services.wait_seconds if progress else services.wait_seconds_without_progress
    last_told, last_fraction = 0.0, -1.0

    async def tell(now: JobRecord) -> None:
        nonlocal last_told, last_fraction
        moment = services.desk.clock()
        if progress is not None and (moment - last_told >= _NOTIFICATION_SECONDS or now.ended):
            last_told, last_fraction = moment, _above(last_fraction, now)
            await progress(last_fraction, message_of(now))

    if progress is not None and not job.ended:
        await tell(job)
    until = started + wait_seconds
    job = await services.desk.wait(job, until, tell)
    patience = min(max(until - services.desk.clock(), _SCORE_SECONDS[0]), _SCORE_SECONDS[1])
    return await services.desk.scored(job, patience)


def _above(last: float, job: JobRecord) -> float:
    """The fraction to tell, 0 to 1: the protocol wants every value above the last, even in a queue."""
    fraction = 1.0 if job.state == "succeeded" else min(job.progress or 0.0, 0.99)
    return fraction if fraction > last else last + (1.0 - last) / 1000


def message_of(job: JobRecord) -> str:
    """A few words for a progress bar."""
    eta = "" if job.eta_seconds is None else f", about {job.eta_seconds:.0f} s left"
    return f"{job.provider}: {job.stage or job.status}{eta}"


async def views_of(services: Services, call: Call, jobs: Sequence[JobRecord]) -> tuple[Job, ...]:
    """Show jobs to their caller."""
    pictures = {image.picture.sha256 for job in jobs for image in job.images} if call.caller.local else set[str]()
    paths = await to_thread.run_sync(_paths, pictures, services.blobs) if pictures else {}
    services.seen_paths.update(paths)
    for gone in pictures - paths.keys():
        services.seen_paths.pop(gone, None)
    return _shown(services, jobs, paths)


def _shown(services: Services, jobs: Sequence[JobRecord], paths: Mapping[str, Path]) -> tuple[Job, ...]:
    machines = {entry.name for entry in services.entries if not entry.capabilities.ai_generated}
    now = services.desk.clock()
    return tuple(job_view(job, now=now, paths=paths, ai_generated=job.provider not in machines) for job in jobs)


async def _view_of(services: Services, call: Call, job: JobRecord) -> Job:
    """Show one job; where a picture was seen once is not looked up again, so that asking often costs little."""
    if call.caller.local and not all(image.picture.sha256 in services.seen_paths for image in job.images):
        return (await views_of(services, call, (job,)))[0]
    return _shown(services, (job,), services.seen_paths if call.caller.local else {})[0]


def _paths(pictures: Iterable[str], blobs: BlobStore) -> dict[str, Path]:
    """Where pictures lie, as far as they still do; runs in a worker thread."""
    found: dict[str, Path] = {}
    for sha256 in pictures:
        with suppress(RequestError):
            found[sha256] = blobs.path(sha256)
    return found


async def job_answer(services: Services, call: Call, job: JobRecord, *, previews: bool) -> Answer:
    """Answer with a job: its facts, and its pictures as previews and links."""
    pictures = tuple(
        Shown(image_uri(job.job_id, index), f"{job.job_id}-{index + 1}", image.picture)
        for index, image in enumerate(job.images)
    )
    return Answer(
        await _view_of(services, call, job),
        pictures,
        previews=previews and services.previews,
        job_id=None if job.delivered else job.job_id,
    )
