"""`job_status`: one job, optionally waiting for it, or asking again for pictures that it lacks."""

from pydantic import Field

from controlnet_mcp.foundation.arguments import Arguments
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, tool
from controlnet_mcp.tools.views import job_answer, wait_for


class StatusArguments(Arguments):
    """Which job, and how long to wait for it."""

    job_id: str
    wait_seconds: float = Field(default=0, ge=0, le=300)
    fetch: bool = False
    previews: bool = True


async def status(services: Services, arguments: StatusArguments, call: Call) -> Answer:
    """Read, wait, answer."""
    find = services.jobs.fetch if arguments.fetch else services.jobs.get
    job = await find(arguments.job_id, call.caller)
    if arguments.wait_seconds and not job.ended:
        job = await wait_for(services, call, job, arguments.wait_seconds, services.jobs.clock())
    return await job_answer(services, call, job, previews=arguments.previews)


JOB_STATUS = tool(
    name="job_status",
    title="Look at a job",
    description="How a job stands; wait_seconds waits for its end.",
    arguments=StatusArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=status,
)
