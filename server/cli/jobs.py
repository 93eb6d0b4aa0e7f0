"""The commands on jobs: `jobs` with `resolve` and `fetch`, `status`, `cancel` and `sheet`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from anyio import to_thread
from pydantic import BaseModel

from controlnet_mcp.images.contact_sheet import NARROWEST, WIDEST, WIDTH
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.resource_uris import sheet_uri
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.jobs.submission_log import DENIAL, accepted_as
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli import interruptible
from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.output import interruption_note, readable_name, save_page, show_job, show_table
from controlnet_mcp.server.cli.session import ask, call, run, wait_for
from controlnet_mcp.server.mcp.rendering import text_of
from controlnet_mcp.tools.cancel_job import CANCEL_JOB
from controlnet_mcp.tools.job_status import JOB_STATUS
from controlnet_mcp.tools.list_jobs import LIST_JOBS, JobList
from controlnet_mcp.tools.tool import Services
from controlnet_mcp.tools.views import Job

if TYPE_CHECKING:
    from PIL import Image

_FETCH_SECONDS = 150.0
"""Longer than a picture that can never be had is asked for."""
_LIST_TEXTS = {
    "status": "Only jobs that stand like this",
    "provider": "Only this provider",
    "limit": "Most jobs",
    "cursor": "Where the last page ended",
}


_STATUS_TEXTS = {
    "wait_seconds": "How many seconds to wait for the end",
    "fetch": "Ask the provider at once for pictures that are missing",
}


@click.group(invoke_without_command=True)
@tool_options(LIST_JOBS, _LIST_TEXTS)
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as JSON.")
@click.pass_context
def jobs(context: click.Context, /, *, as_json: bool, **values: object) -> None:
    """List recent jobs, newest first."""
    if context.invoked_subcommand is not None:
        return
    page = JobList.model_validate(ask(LIST_JOBS, arguments_of(LIST_JOBS, values)).body)
    if as_json:
        click.echo(text_of(page))
    elif not page.jobs:
        click.echo("No jobs.")
    else:
        rows = [
            (
                job.job_id,
                job.status,
                job.provider,
                job.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
                " ".join(job.prompt.split()),
            )
            for job in page.jobs
        ]
        show_table(("job", "status", "provider", "started", "prompt"), rows)
        if page.next_cursor:
            click.echo(f"There are more: --cursor {page.next_cursor}")


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--accepted", "remote_id", metavar="ID", help="It was accepted; this is the provider's id of it.")
@click.option(
    "--not-accepted", "failed", is_flag=True, help="The provider's history does not have it: the job has failed."
)
@click.option("--send-again", is_flag=True, help="The provider's history does not have it: submit it again.")
def resolve(job_id: str, remote_id: str | None, *, failed: bool, send_again: bool) -> None:
    """Tell what became of a job that is uncertain.

    A submission whose answer was lost may have been accepted and charged. Look in the provider's own history, then say
    what you found. Nothing is sent unless you say --send-again.
    """
    if (remote_id is not None) + failed + send_again != 1:
        raise click.UsageError("Say one of --accepted ID, --not-accepted and --send-again.")
    found = DENIAL if remote_id is None else accepted_as(remote_id)
    job = run(lambda services: services.jobs.resolve(job_id, Caller(LOCAL, local=True), found, ends=failed))
    again = "" if failed else f" `controlnet-mcp status {job_id} --wait 60` waits for it."
    click.echo(f"The job is {job.status}.{again}")


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--wait", type=click.FloatRange(0), default=_FETCH_SECONDS, show_default=True, help="Longest, in seconds")
@click.option("-o", "--output", metavar="PATH", help="Copy finished pictures to this file or folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def fetch(job_id: str, wait: float, output: str | None, *, as_json: bool) -> None:
    """Try again to get the pictures of a job that was paid for and ended without them.

    The provider is asked, and nothing is submitted. Prints where the pictures are.
    """
    job = _followed({"job_id": job_id, "fetch": True}, wait)
    show_job(job, output, as_json=as_json, copies=False, sidecars=False)


def _followed(arguments: Mapping[str, object], wait_seconds: float) -> Job:
    """The job that `job_status` tells of, once it ended or was waited for."""

    async def look(services: Services) -> Job:
        job = Job.model_validate((await call(services, JOB_STATUS, arguments)).body)
        return await wait_for(services, job, wait_seconds)

    with interruptible(lambda: interruption_note(str(arguments["job_id"]))):
        return run(look)


@click.command()
@click.argument("job_id", metavar="JOB")
@tool_options(JOB_STATUS, _STATUS_TEXTS, positional=("job_id",))
@click.option("-o", "--output", metavar="PATH", help="Copy finished pictures to this file or folder.")
@click.option(
    "--sidecar", is_flag=True, help="With --output, save how each picture was made in a .json file beside it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def status(
    job_id: str, wait_seconds: float | None, output: str | None, *, fetch: bool, sidecar: bool, as_json: bool
) -> None:
    """Look at a job, and wait for it.

    Prints where its pictures are. Jobs that an earlier process left are driven on while this one waits.
    """
    job = _followed({"job_id": job_id, "fetch": fetch}, wait_seconds or 0)
    show_job(job, output, as_json=as_json, copies=False, sidecars=sidecar)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def cancel(job_id: str, *, as_json: bool) -> None:
    """Stop a job where the provider can; where it cannot, the job goes on and a note says so."""
    job = Job.model_validate(ask(CANCEL_JOB, {"job_id": job_id}).body)
    click.echo(text_of(job) if as_json else f"{job.job_id} {job.status}")
    for notice in job.warnings or ():
        click.echo(f"note: {notice.detail}", err=True)


class SavedSheet(BaseModel):
    """The answer of `sheet --json`: the file, the resource of the sheet, and its size in pixels."""

    path: Path
    uri: str
    width: int
    height: int


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-o", "--output", metavar="PATH", help="File (.png or .jpg) or folder for the sheet.")
@click.option(
    "--width",
    type=click.IntRange(NARROWEST, WIDEST),
    default=WIDTH,
    show_default=True,
    help="Pixels; the height follows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print path, URI and size as JSON.")
def sheet(job_id: str, output: str | None, width: int, *, as_json: bool) -> None:
    """Lay a finished job out on one page and print where it was saved.

    Shows the control image, its map and the results with their structure scores, under the prompt, the provider, the
    model and the seed.
    """
    from controlnet_mcp.images.contact_sheet.page import compose
    from controlnet_mcp.jobs.results import sheet_of

    async def draw(services: Services) -> tuple[JobRecord, "Image.Image"]:
        job = await services.jobs.get(job_id, Caller(LOCAL, local=True))
        return job, await to_thread.run_sync(lambda: compose(sheet_of(job, services.blobs), width))

    job, page = run(draw)
    path = save_page(page, output, f"{readable_name(job.request.prompt)}-sheet")
    saved = SavedSheet(path=path, uri=sheet_uri(job_id), width=page.width, height=page.height)
    click.echo(text_of(saved) if as_json else path)
