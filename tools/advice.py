"""The next step with a job, as a sentence for a model, with advice where a result lost the asked structure."""

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.structure_score import LOW_SCORE
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import MAX_WEIGHT

_RAISE = 1.4
"""Factor by which a weight is raised."""


def advice(job: JobRecord) -> str:
    """Part of a sentence on how much of the structure was kept, with its semicolon; often empty."""
    scores = [image.structure for image in job.images if image.structure]
    controls = job.request.controls
    if not scores:
        named = next((row.modality for row in controls if MODALITIES[row.modality].structure != "photo"), None)
        return f"how well the {named} was kept was not measured, so look; " if named else ""
    worst = min(scores, key=lambda row: row.score)
    if worst.score >= LOW_SCORE:
        return ""
    where = "it" if len(scores) == 1 else "one of them"
    lost = f"little of the {worst.modality} structure is in {where} ({worst.metric} scores {worst.score:.2f} of 1)"
    control = next(row for row in controls if row.modality == worst.modality)
    heavier = min(MAX_WEIGHT, control.weight * _RAISE)
    ways = [f"modality={worst.modality}:{heavier:.2g}"] if heavier > control.weight else []
    ways.append(f"modality={'lineart' if worst.modality == 'canny' else 'canny'}")  # holds it to more of the picture
    if control.is_map and job.control_map is None:
        last = "control_is_map=false if the control picture is no map"
    else:
        last = "control_is_map=true if the control picture already is a map"
    return f"{lost}, so to keep more, try again with {', '.join(ways)}, or {last}; "


def next_step(job: JobRecord) -> str:
    """Say what to do next."""
    match job.state:
        case "succeeded":
            pictures = "picture" if len(job.images) == 1 else f"{len(job.images)} pictures"
            said = (
                f"Show the user the {pictures}; {advice(job)}to build on one, pass its uri as "
                "control_image or init_image of controlnet_generate."
            )
        case "failed":
            hint = job.fault.hint if job.fault else ""
            said = hint or "Tell the user why it failed."
        case "canceled":
            said = "Nothing more will happen; call controlnet_generate for a new job."
        case "uncertain":
            said = (
                "Ask the user to look in the provider's history: this may have been accepted and charged. "
                f"What they find they can tell with `controlnet-mcp jobs resolve {job.job_id}`. "
                "Nothing is sent again unless asked for with a new request_key."
            )
        case "fetching" if job.failures and any(output.url for output in job.outputs):
            place = " ".join(output.url for output in job.outputs if output.url)
            said = f"The picture is finished but cannot be stored yet; until then the provider has it at {place}"
        case _ if job.cancel_answered:
            said = f"It could not be stopped. If its picture comes, it is kept: job_status with job_id={job.job_id}."
        case _:
            said = f"Call job_status with job_id={job.job_id} and wait_seconds=30; do not submit it again."
    return said
