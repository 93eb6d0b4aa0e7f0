"""`list_jobs`: recent jobs, newest first."""

from collections.abc import Sequence

from pydantic import Field

from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.jobs.prepare import entry_named
from controlnet_mcp.jobs.record import Status
from controlnet_mcp.tools.tool import Answer, Arguments, Call, Hints, Services, tool
from controlnet_mcp.tools.views import Job, View, views_of

_PROMPT_CHARACTERS = 200


class ListArguments(Arguments):
    """Which jobs."""

    status: Status | None = None
    provider: str | None = None
    limit: int = Field(default=10, ge=1, le=100)
    cursor: str | None = Field(default=None, description="next_cursor")


class JobList(View):
    """One page of jobs."""

    jobs: tuple[Job, ...]
    next_cursor: str | None = None


def job_list(jobs: Sequence[Job], next_cursor: str | None) -> JobList:
    """Show a page; prompts are cut, because a page of long ones would be more than a message may hold."""
    brief = [job.model_copy(update={"prompt": shortened(job.prompt, _PROMPT_CHARACTERS)}) for job in jobs]
    return JobList(jobs=tuple(brief), next_cursor=next_cursor)


async def list_jobs(services: Services, arguments: ListArguments, call: Call) -> Answer:
    """Read one page."""
    page = await services.jobs.store.page(
        call.caller.principal,
        status=arguments.status,
        provider=entry_named(arguments.provider, services.entries).name if arguments.provider else None,
        limit=arguments.limit,
        cursor=arguments.cursor,
    )
    jobs = await views_of(services, call, page.jobs)
    return Answer(job_list(jobs, page.next_cursor))


LIST_JOBS = tool(
    name="list_jobs",
    title="List jobs",
    description="Recent jobs, newest first.",
    arguments=ListArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=list_jobs,
    output=JobList,
)
