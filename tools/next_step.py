"""One sentence that tells a model what to do with a job as it stands."""

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.tools.structure_advice import advice


def next_step(job: JobRecord) -> str:
    """Say what to do next."""
    match job.state:
        case "succeeded":
            return (
                f"Show the user the {_pictures(len(job.images))}; {advice(job)}to build on one, pass its uri as "
                "control_image or init_image of controlnet_generate."
            )
        case "failed":
            hint = job.fault.hint if job.fault else ""
            return hint or "Tell the user why it failed."
        case "canceled":
            return "Nothing more will happen; call controlnet_generate for a new job."
        case "uncertain":
            return (
                "Ask the user to look in the provider's history: this may have been accepted and charged. "
                f"What they find they can tell with `controlnet-mcp jobs resolve {job.job_id}`. "
                "Nothing is sent again unless asked for with a new request_key."
            )
        case _:
            return _while_open(job)


def _while_open(job: JobRecord) -> str:
    links = [output.url for output in job.outputs if output.url]
    if job.state == "fetching" and job.failures and links:
        return f"The picture is finished but cannot be stored yet; until then the provider has it at {' '.join(links)}"
    if job.cancel_answered:
        return f"It could not be stopped. If its picture comes, it is kept: job_status with job_id={job.job_id}."
    return f"Call job_status with job_id={job.job_id} and wait_seconds=30; do not submit it again."


def _pictures(count: int) -> str:
    return "picture" if count == 1 else f"{count} pictures"
