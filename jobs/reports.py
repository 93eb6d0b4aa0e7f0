"""What a provider's report changes in a job: a new value, nothing written."""

from controlnet_mcp.jobs.faults import DEADLINE, UNEXPLAINED
from controlnet_mcp.jobs.polling import PollPacer
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.types import Report

_TOLD = ("progress", "stage", "eta_seconds", "seed", "cost", "credits_left")


def learned(job: JobRecord, report: Report, now: float, pacer: PollPacer) -> JobRecord:
    """Take over what a report tells; what it leaves out stays as it was.

    Args:
        job: The job, with its task.
        report: What the provider says.
        now: Seconds since the epoch.
        pacer: Says when to look next.
    """
    told = {name: value for name in _TOLD if (value := getattr(report, name)) is not None}
    job = job.model_copy(update=told)
    match report.phase:
        case "queued" | "running":
            return _waiting(job, report, now, pacer)
        case "succeeded":
            return job.model_copy(update={"state": "fetching", "outputs": report.outputs, "wake_at": 0.0})
        case "failed":
            return _ended(job, now).model_copy(update={"state": "failed", "fault": report.fault or UNEXPLAINED})
        case "canceled":
            return _ended(job, now).model_copy(update={"state": "canceled", "fault": report.fault})


def _waiting(job: JobRecord, report: Report, now: float, pacer: PollPacer) -> JobRecord:
    if now >= job.deadline_at:
        return _ended(job, now).model_copy(update={"state": "failed", "fault": DEADLINE})
    wake_at = now + pacer.pause_seconds(job, report, now)
    queued = report.phase == "queued"
    return job.model_copy(update={"state": "running", "queued": queued, "looked_at": now, "wake_at": wake_at})


def _ended(job: JobRecord, now: float) -> JobRecord:
    return job.model_copy(update={"finished_at": now, "eta_seconds": None})
