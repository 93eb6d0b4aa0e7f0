"""What a job of Scenario says: its status, its pictures, what it cost and why it failed."""

import re

from pydantic import JsonValue

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.scenario.wire import NAME, Job, JobReply, Metadata
from controlnet_mcp.providers.types import Cost, Fault, Output, Phase, Report

UNIT = "creative units"

PHASES: dict[str, Phase] = {
    "pending": "queued",
    "queued": "queued",
    "warming-up": "running",
    "in-progress": "running",
    "finalizing": "running",
    "success": "succeeded",
    "failure": "failed",
    "canceled": "canceled",
}
"""The vendor's statuses; one that is not listed counts as running, so that no paid job is given up for a new word."""

MODERATION = re.compile(
    r"moderat|nsfw|sensitive|safety|prohibited|content polic|ip detection|intellectual", re.IGNORECASE
)


def report_of(answer: JobReply) -> Report:
    """What a job's reply says; a success without pictures is not believed yet."""
    job = answer.job
    metadata = job.metadata or Metadata()
    outputs = tuple(Output(asset_id=asset_id) for asset_id in metadata.asset_ids or ())
    phase = PHASES.get(job.status, "running")
    if phase == "succeeded" and not outputs:
        phase = "running"
    return Report(
        phase=phase,
        progress=None if job.progress is None else min(max(job.progress, 0.0), 1.0),
        stage=quote(job.status, 40),
        outputs=outputs if phase == "succeeded" else (),
        seed=_seed(metadata),
        cost=_cost(answer),
        fault=_fault(job, metadata) if phase == "failed" else None,
    )


def _seed(metadata: Metadata) -> int | None:
    text = str((metadata.input or {}).get("seed", ""))
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def _cost(answer: JobReply) -> Cost | None:
    billing = answer.job.billing
    if answer.creative_units_cost is not None:
        return Cost(amount=answer.creative_units_cost, unit=UNIT)
    if billing is None:
        return None
    return Cost(amount=billing.cu_cost + sum((billing.cu_cost_details or {}).values()), unit=UNIT)


def _fault(job: Job, metadata: Metadata) -> Fault:
    """The reason stands in `job.error` in the guide and in `metadata.error` in the client; either may be an object."""
    said = " ".join(part for part in (text_of(job.error) or text_of(metadata.error), metadata.hint) if part)
    moderated = bool(MODERATION.search(said))
    refund = "is not refunded for this model" if job.billing and job.billing.disable_refund else "is refunded"
    told = ProviderError(
        "moderated" if moderated else "provider_failed",
        "Scenario's filter stopped the job." if moderated else "Scenario could not finish the job.",
        provider=NAME,
        hint=f"A failed job {refund}. Change the prompt, the pictures or the model and try again.",
        retryable=not moderated,
        provider_message=said,
    )
    return Fault(code=told.code, message=told.message, hint=told.hint, retryable=told.retryable)


def text_of(value: JsonValue) -> str:
    """The text of an error that may be a string or an object with a message."""
    if isinstance(value, dict):
        parts = (value.get(name) for name in ("message", "reason", "error", "code", "hint"))
        return next((part for part in parts if isinstance(part, str) and part), "")
    return value if isinstance(value, str) else ""
