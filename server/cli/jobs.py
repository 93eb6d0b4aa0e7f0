"""`jobs`: recent jobs, newest first, and telling what became of an uncertain one.

`status`: one job, and waiting for it.

`cancel`: stop a job where the provider can.

`sheet`: a finished job on one page, as a file.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from anyio import to_thread
from pydantic import BaseModel

from controlnet_mcp.images.contact_sheet import NARROWEST, WIDEST, WIDTH
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.resource_uris import sheet_uri
from controlnet_mcp.jobs.service import Caller, ManualResolution, accepted_as, not_accepted
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli import interruptible
from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.output import farewell, json_text, place_for, readable_name, save, show_job
from controlnet_mcp.server.cli.session import ask, call, progress_bar, run
from controlnet_mcp.tools.cancel_job import CANCEL_JOB
from controlnet_mcp.tools.job_status import JOB_STATUS
from controlnet_mcp.tools.list_jobs import LIST_JOBS, JobList
from controlnet_mcp.tools.tool import Services
from controlnet_mcp.tools.views import Job

_LIST_TEXTS = {
    "status": "Only jobs that stand like this",
    "provider": "Only this provider",
    "limit": "Most jobs",
    "cursor": "Where the last page ended",
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
        click.echo(json_text(page))
    elif not page.jobs:
        click.echo("No jobs.")
    else:
        from controlnet_mcp.server.cli.output import show_table

        show_table(("job", "status", "provider", "started", "prompt"), map(_row, page.jobs))
        if page.next_cursor:
            click.echo(f"There are more: --cursor {page.next_cursor}")


def _row(job: Job) -> tuple[str, ...]:
    started = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return job.job_id, job.status, job.provider, started, " ".join(job.prompt.split())


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--accepted", "remote_id", metavar="ID", help="It was accepted; this is the provider's id of it.")
@click.option("--not-accepted", is_flag=True, help="The provider's history does not have it: the job has failed.")
@click.option("--send-again", is_flag=True, help="The provider's history does not have it: submit it again.")
def resolve(job_id: str, remote_id: str | None, *, not_accepted: bool, send_again: bool) -> None:
    """Tell what became of a job that is uncertain.

    A submission whose answer was lost may have been accepted and charged. Look in the provider's own history, then say
    what you found. Nothing is sent unless you say --send-again.
    """
    if (remote_id is not None) + not_accepted + send_again != 1:
        raise click.UsageError("Say one of --accepted ID, --not-accepted and --send-again.")
    found = _finding(remote_id, send_again=send_again)
    job = run(partial(_resolve, job_id=job_id, found=found))
    again = "" if found.fault is not None else f" `controlnet-mcp status {job_id} --wait 60` waits for it."
    click.echo(f"The job is {job.status}.{again}")


def _finding(remote_id: str | None, *, send_again: bool) -> ManualResolution:
    return not_accepted(send_again=send_again) if remote_id is None else accepted_as(remote_id)


async def _resolve(services: Services, job_id: str, found: ManualResolution) -> JobRecord:
    return await services.jobs.resolve(job_id, Caller(LOCAL, local=True), found)


_LONGEST_CALL_SECONDS = 300.0


async def wait_for(services: Services, job: Job, wait_seconds: float) -> Job:
    """Wait for a job's end with a progress bar, in as many calls as it takes."""
    until = services.jobs.clock() + wait_seconds
    with progress_bar() as progress:
        while job.status in {"queued", "running"} and (left := until - services.jobs.clock()) > 0:
            arguments = {"job_id": job.job_id, "wait_seconds": min(left, _LONGEST_CALL_SECONDS)}
            job = Job.model_validate((await call(services, JOB_STATUS, arguments, progress)).body)
    return job


async def _look(services: Services, job_id: str, wait_seconds: float) -> Job:
    job = Job.model_validate((await call(services, JOB_STATUS, {"job_id": job_id})).body)
    return await wait_for(services, job, wait_seconds)


@click.command()
@click.argument("job_id", metavar="JOB")
@tool_options(JOB_STATUS, {"wait_seconds": "How many seconds to wait for the end"}, positional=("job_id",))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Copy finished pictures to this file or folder.")
@click.option(
    "--sidecar", is_flag=True, help="With --output, save how each picture was made in a .json file beside it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def status(job_id: str, wait_seconds: float | None, output: Path | None, *, sidecar: bool, as_json: bool) -> None:
    """Look at a job, and wait for it.

    Prints where its pictures are. Jobs that an earlier process left are driven on while this one waits.
    """
    with interruptible(lambda: farewell(job_id)):
        job = run(partial(_look, job_id=job_id, wait_seconds=wait_seconds or 0))
    show_job(job, output, as_json=as_json, copies=False, sidecars=sidecar)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def cancel(job_id: str, *, as_json: bool) -> None:
    """Stop a job where the provider can; where it cannot, the job goes on and a note says so."""
    job = Job.model_validate(ask(CANCEL_JOB, {"job_id": job_id}).body)
    click.echo(json_text(job) if as_json else f"{job.job_id} {job.status}")
    for notice in job.warnings or ():
        click.echo(f"note: {notice.detail}", err=True)


_JPEG = frozenset({".jpg", ".jpeg"})


class SavedSheet(BaseModel):
    """What `--json` prints: where the sheet was saved, its resource, and its size in pixels."""

    path: Path
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A sheet that was drawn: its file, the prompt that names it, and its size in pixels."""

    content: bytes
    prompt: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Errand:
    """A sheet to be drawn; `width` in pixels."""

    job_id: str
    width: int
    as_jpeg: bool

    async def __call__(self, services: Services) -> _Drawn:
        """Draw it in a thread."""
        job = await services.jobs.get(self.job_id, Caller(LOCAL, local=True))
        return await to_thread.run_sync(self._draw, job, services)

    def _draw(self, job: JobRecord, services: Services) -> _Drawn:
        from controlnet_mcp.images.contact_sheet.page import compose, encode
        from controlnet_mcp.jobs.results import sheet_of

        page = compose(sheet_of(job, services.blobs), self.width)
        return _Drawn(encode(page, as_jpeg=self.as_jpeg), job.request.prompt, page.size)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File (.png or .jpg) or folder for the sheet.")
@click.option(
    "--width",
    type=click.IntRange(NARROWEST, WIDEST),
    default=WIDTH,
    show_default=True,
    help="Pixels; the height follows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print path, URI and size as JSON.")
def sheet(job_id: str, output: Path | None, width: int, *, as_json: bool) -> None:
    """Lay a finished job out on one page and print where it was saved.

    Shows the control image, its map and the results with their structure scores, under the prompt, the provider, the
    model and the seed.
    """
    as_jpeg = output is not None and output.suffix.lower() in _JPEG
    drawn = run(_Errand(job_id, width, as_jpeg))
    name = f"{readable_name(drawn.prompt)}-sheet"
    path = save(drawn.content, place_for(output, name, "image/jpeg" if as_jpeg else "image/png"))
    size = {"width": drawn.size[0], "height": drawn.size[1]}
    click.echo(json_text(SavedSheet(path=path, uri=sheet_uri(job_id), **size)) if as_json else path)
