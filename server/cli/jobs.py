"""`jobs`: recent jobs, newest first, and telling what became of an uncertain one."""

from functools import partial

import click

from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.service import Caller, ManualResolution, accepted_as, not_accepted
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.session import ask, run
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.list_jobs import TOOL, JobList
from controlnet_mcp.tools.spec import Services
from controlnet_mcp.tools.views import Job


@click.group(invoke_without_command=True)
@tool_options(TOOL)
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as JSON.")
@click.pass_context
def command(context: click.Context, /, *, as_json: bool, **values: object) -> None:
    """List recent jobs, newest first."""
    if context.invoked_subcommand is not None:
        return
    page = JobList.model_validate(ask(TOOL, arguments_of(TOOL, values)).body)
    if as_json:
        click.echo(json_text(page))
    elif not page.jobs:
        click.echo("No jobs.")
    else:
        from controlnet_mcp.server.cli.tables import show_table

        show_table(("job", "status", "provider", "started", "prompt"), map(_row, page.jobs))
        if page.next_cursor:
            click.echo(f"There are more: --cursor {page.next_cursor}")


def _row(job: Job) -> tuple[str, ...]:
    started = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return job.job_id, job.status, job.provider, started, " ".join(job.prompt.split())


@command.command()
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
    return await services.desk.resolve(job_id, Caller(LOCAL, local=True), found)
