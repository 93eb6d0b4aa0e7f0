"""Test mode: what the draft engine says of a job at a given age, as a pure function of its ticket."""

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.draft.ticket import Ticket
from controlnet_mcp.providers.types import Fault, Output, Report

REFUSALS: dict[str, int] = {"payment_required": 402, "rate_limited": 429}
"""Simulations that refuse the submission itself, with the HTTP status that a provider would use."""

_FAULTS: dict[str, tuple[ErrorCode, str]] = {
    "moderated": ("moderated", "The simulated safety filter stopped this picture."),
    "failed": ("provider_failed", "The simulated engine failed."),
    "timed_out": ("timed_out", "The simulated engine did not finish in time."),
}


def report_at(ticket: Ticket, age_seconds: float) -> Report:
    """Say how a job stands.

    Args:
        ticket: The accepted job.
        age_seconds: Time since it was accepted.
    """
    left = ticket.seconds - age_seconds
    if ticket.simulate is None or left <= 0:
        return _ended(ticket)
    if ticket.simulate == "queued":
        return Report(phase="queued", stage="waiting in line", eta_seconds=left)
    progress = age_seconds / ticket.seconds
    return Report(phase="running", stage="drawing", progress=progress, eta_seconds=left)


def _ended(ticket: Ticket) -> Report:
    if ticket.simulate in _FAULTS:
        code, message = _FAULTS[ticket.simulate]
        hint = "This was asked for with provider_options.simulate; leave it out to get a picture."
        return Report(phase="failed", fault=Fault(code=code, message=message, hint=hint))
    outputs = tuple(Output(url=ticket.image_url(index)) for index in range(ticket.num_images))
    return Report(phase="succeeded", progress=1.0, outputs=outputs, seed=ticket.seed)
