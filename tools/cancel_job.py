"""`cancel_job`: stop a job where the provider can."""

from controlnet_mcp.foundation.arguments import Arguments
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, tool
from controlnet_mcp.tools.views import Job, views_of

_ANSWER_SECONDS = 4.0
"""Time for the provider to answer: some hosts give a call five seconds."""


class CancelArguments(Arguments):
    """Which job."""

    job_id: str


async def cancel(services: Services, arguments: CancelArguments, call: Call) -> Answer:
    """Ask, wait shortly, answer with the job as it then stands."""
    until = services.jobs.clock() + _ANSWER_SECONDS
    job = await services.jobs.cancel(arguments.job_id, call.caller, until)
    (view,) = await views_of(services, call, (job,))
    return Answer(view, job_id=None if job.delivered else job.job_id)


CANCEL_JOB = tool(
    name="cancel_job",
    title="Stop a job",
    description="Stop a job. Where the provider cannot, it goes on and its warnings say so.",
    arguments=CancelArguments,
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=True),
    handler=cancel,
    output=Job,
)
