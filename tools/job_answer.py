"""What the tools that speak of a job share: waiting with progress, and the answer's form."""

from controlnet_mcp.jobs.addresses import image_uri
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.tools.spec import Answer, Call, Services, Shown
from controlnet_mcp.tools.views import Job, job_view

_NOTIFICATION_SECONDS = 0.5
"""Progress is told at most twice a second."""


async def wait_for(
    services: Services, call: Call, job: JobRecord, wait_seconds: float | None, started: float
) -> JobRecord:
    """Wait for a job as long as the caller wants, measured from `started` (seconds since the epoch).

    Without a wish, a caller that asked for progress waits longer: such a client can hold its clock.
    """
    progress = call.progress
    if wait_seconds is None:
        wait_seconds = services.wait_seconds if progress else services.wait_seconds_without_progress
    last_told = 0.0

    async def tell(now: JobRecord) -> None:
        nonlocal last_told
        moment = services.desk.clock()
        if progress is not None and (moment - last_told >= _NOTIFICATION_SECONDS or now.ended):
            last_told = moment
            await progress(now.progress or 0.0, message_of(now))

    if progress is not None and not job.ended:
        await tell(job)
    return await services.desk.wait(job, call.caller, started + wait_seconds, tell)


def message_of(job: JobRecord) -> str:
    """A few words for a progress bar."""
    eta = "" if job.eta_seconds is None else f", about {job.eta_seconds:.0f} s left"
    return f"{job.provider}: {job.stage or job.status}{eta}"


def view_of(services: Services, call: Call, job: JobRecord) -> Job:
    """Show a job to its caller."""
    provider = next((entry.provider for entry in services.entries if entry.name == job.provider), None)
    return job_view(
        job,
        now=services.desk.clock(),
        blobs=services.blobs if call.caller.local else None,
        ai_generated=provider is None or provider.capabilities.ai_generated,
    )


def job_answer(services: Services, call: Call, job: JobRecord, *, previews: bool) -> Answer:
    """Answer with a job: its facts, and its pictures as previews and links."""
    pictures = tuple(
        Shown(image_uri(job.job_id, index), f"{job.job_id}-{index + 1}", image.picture)
        for index, image in enumerate(job.images)
    )
    return Answer(
        view_of(services, call, job),
        pictures,
        previews=previews and services.previews,
        job_id=None if job.delivered else job.job_id,
    )
