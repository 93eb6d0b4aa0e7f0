"""`cancel`: stop a job where the provider can."""

import click

from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.cancel_job import TOOL
from controlnet_mcp.tools.views import Job


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def command(job_id: str, *, as_json: bool) -> None:
    """Stop a job where the provider can; where it cannot, the job goes on and a note says so."""
    job = Job.model_validate(ask(TOOL, {"job_id": job_id}).body)
    click.echo(json_text(job) if as_json else f"{job.job_id} {job.status}")
    for notice in job.warnings or ():
        click.echo(f"note: {notice.detail}", err=True)
