"""`list_jobs`: recent jobs, newest first."""

from pydantic import Field

from controlnet_mcp.jobs.record import Status
from controlnet_mcp.tools.job_answer import view_of
from controlnet_mcp.tools.spec import Answer, Arguments, Call, Hints, Services, ToolSpec
from controlnet_mcp.tools.views import Job, View


class ListArguments(Arguments):
    """Which jobs."""

    status: Status | None = None
    provider: str | None = None
    limit: int = Field(10, ge=1, le=100)
    cursor: str | None = Field(None, description="next_cursor")


class JobList(View):
    """One page of jobs."""

    jobs: tuple[Job, ...]
    next_cursor: str | None = None


async def list_jobs(services: Services, arguments: ListArguments, call: Call) -> Answer:
    """Read one page."""
    page = await services.desk.page(
        call.caller,
        status=arguments.status,
        provider=arguments.provider,
        limit=arguments.limit,
        cursor=arguments.cursor,
    )
    jobs = tuple(view_of(services, call, job) for job in page.jobs)
    return Answer(JobList(jobs=jobs, next_cursor=page.next_cursor))


TOOL = ToolSpec(
    name="list_jobs",
    title="List jobs",
    description="Recent jobs, newest first.",
    arguments=ListArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=list_jobs,
    output=JobList,
)
