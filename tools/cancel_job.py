"""`cancel_job`: stop a job where the provider can."""

from controlnet_mcp.tools.job_answer import views_of
from controlnet_mcp.tools.spec import Answer, Arguments, Call, Hints, Services, ToolSpec
from controlnet_mcp.tools.views import Job

_ANSWER_SECONDS = 4.0
"""How long to wait for the provider's word: some hosts give a call five seconds."""


class CancelArguments(Arguments):
    """Which job."""

    job_id: str


async def cancel(services: Services, arguments: CancelArguments, call: Call) -> Answer:
    """Ask, wait shortly, answer with the job as it then stands."""
    until = services.desk.clock() + _ANSWER_SECONDS
    job = await services.desk.cancel(arguments.job_id, call.caller, until)
    (view,) = await views_of(services, call, (job,))
    return Answer(view, job_id=None if job.delivered else job.job_id)


TOOL = ToolSpec(
    name="cancel_job",
    title="Stop a job",
    description="Stop a job. Where the provider cannot, it goes on and its warnings say so.",
    arguments=CancelArguments,
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=True),
    handler=cancel,
    output=Job,
)
