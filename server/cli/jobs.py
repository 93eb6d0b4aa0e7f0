"""`jobs`: recent jobs, newest first."""

import click

from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.list_jobs import TOOL, JobList
from controlnet_mcp.tools.views import Job


@click.command()
@tool_options(TOOL)
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as JSON.")
def command(*, as_json: bool, **values: object) -> None:
    """List recent jobs, newest first."""
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
