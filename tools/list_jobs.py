"""`list_jobs`: recent jobs, newest first."""

import json
import re
from collections.abc import Sequence
from itertools import accumulate

from pydantic import Field, field_validator

from controlnet_mcp.foundation.arguments import EVERYTHING, Arguments
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.jobs.record import Status
from controlnet_mcp.jobs.store import Page
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, one_or_all, tool
from controlnet_mcp.tools.views import Job, View, views_of

_PROMPT_CHARACTERS = 200
_WORDS: dict[Status, frozenset[str]] = {
    "queued": frozenset({"pending", "waiting", "submitted", "inqueue", "new"}),
    "running": frozenset({"processing", "inprogress", "active", "started", "working", "generating"}),
    "succeeded": frozenset({"success", "successful", "complete", "completed", "done", "finished", "ready", "ok"}),
    "failed": frozenset({"fail", "failure", "error", "errored", "rejected"}),
    "canceled": frozenset({"cancelled", "cancel", "aborted", "stopped"}),
    "uncertain": frozenset({"unknown", "unclear"}),
}
"""Other services' words for a status."""
_MOST_BYTES = 400_000
"""Longest list as JSON, which an answer holds twice."""


class ListArguments(Arguments):
    """Which jobs."""

    status: Status | None = None
    provider: str | None = None
    limit: int = Field(default=10, ge=1, le=100)
    cursor: str | None = Field(default=None, description="next_cursor")

    _provider = field_validator("provider")(one_or_all)

    @field_validator("status", mode="before")
    @classmethod
    def _other_words(cls, word: object) -> object:
        key = re.sub(r"[\s_-]+", "", str(word)).lower()
        return None if key in EVERYTHING else next((status for status, words in _WORDS.items() if key in words), word)


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
        provider=arguments.provider,
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
