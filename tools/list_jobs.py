"""`list_jobs`: recent jobs, newest first."""

import json
from collections.abc import Sequence
from itertools import accumulate

from pydantic import Field

from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.jobs.prepare import entry_named
from controlnet_mcp.jobs.record import Status
from controlnet_mcp.jobs.store import Page
from controlnet_mcp.tools.tool import Answer, Arguments, Call, Hints, Services, tool
from controlnet_mcp.tools.views import Job, View, views_of

_PROMPT_CHARACTERS = 200
_MOST_BYTES = 400_000
"""Longest list as JSON, which an answer holds twice."""


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


def job_list(jobs: Sequence[Job], page: Page) -> JobList:
    """Show a page; prompts are cut, and the page ends early, where it would be more than a message may hold."""
    brief = [job.model_copy(update={"prompt": shortened(job.prompt, _PROMPT_CHARACTERS)}) for job in jobs]
    sizes = accumulate(len(json.dumps(job.model_dump(mode="json", exclude_none=True))) for job in brief)
    fitting = max(sum(size < _MOST_BYTES for size in sizes), 1)
    return JobList(jobs=tuple(brief[:fitting]), next_cursor=page.beginning(fitting).next_cursor)


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
    return Answer(job_list(jobs, page))


LIST_JOBS = tool(
    name="list_jobs",
    title="List jobs",
    description="Recent jobs, newest first.",
    arguments=ListArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=list_jobs,
    output=JobList,
)
