"""What a provider's report changes in a job: a new value, nothing written."""

from controlnet_mcp.jobs.faults import DEADLINE, UNEXPLAINED
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.values import Report

POLL_SECONDS = 1.0
"""Longest spacing of polls while a provider works."""
SHORTEST_POLL_SECONDS = 0.1
_TOLD = ("progress", "stage", "eta_seconds", "seed", "cost", "credits_left")


def learned(job: JobRecord, report: Report, now: float) -> JobRecord:
    """Take over what a report tells; what it leaves out stays as it was.

    Args:
        job: The job, with its task.
        report: What the provider says.
        now: Seconds since the epoch.
    """
    told = report.model_dump(include=set(_TOLD), exclude_none=True) | {"cost": report.cost or job.cost}
    job = job.model_copy(update=told)
    match report.phase:
        case "queued" | "running":
            return _waiting(job, report, now)
        case "succeeded":
            return job.model_copy(update={"state": "fetching", "outputs": report.outputs, "wake_at": 0.0})
        case "failed":
            return _ended(job, now).model_copy(update={"state": "failed", "fault": report.fault or UNEXPLAINED})
        case "canceled":
            return _ended(job, now).model_copy(update={"state": "canceled", "fault": report.fault})


def _waiting(job: JobRecord, report: Report, now: float) -> JobRecord:
    if now >= job.deadline_at:
        return _ended(job, now).model_copy(update={"state": "failed", "fault": DEADLINE})
    eta = POLL_SECONDS if report.eta_seconds is None else report.eta_seconds
    wake_at = now + min(max(eta, SHORTEST_POLL_SECONDS), POLL_SECONDS)
    return job.model_copy(update={"state": "running", "queued": report.phase == "queued", "wake_at": wake_at})


def _ended(job: JobRecord, now: float) -> JobRecord:
    return job.model_copy(update={"finished_at": now, "eta_seconds": None})
