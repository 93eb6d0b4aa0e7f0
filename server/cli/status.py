"""`status`: one job, and waiting for it."""

from functools import partial
from pathlib import Path

import click

from controlnet_mcp.server.cli.interrupts import interruptible
from controlnet_mcp.server.cli.options import tool_options
from controlnet_mcp.server.cli.progress import progress_bar
from controlnet_mcp.server.cli.session import call, run
from controlnet_mcp.server.cli.showing import farewell, show_job
from controlnet_mcp.tools.job_status import TOOL
from controlnet_mcp.tools.spec import Services
from controlnet_mcp.tools.views import Job

_LONGEST_CALL_SECONDS = 300.0


async def wait_for(services: Services, job: Job, wait_seconds: float) -> Job:
    """Wait for a job's end with a progress bar, in as many calls as it takes."""
    until = services.desk.clock() + wait_seconds
    with progress_bar() as progress:
        while job.status in {"queued", "running"} and (left := until - services.desk.clock()) > 0:
            arguments = {"job_id": job.job_id, "wait_seconds": min(left, _LONGEST_CALL_SECONDS)}
            job = Job.model_validate((await call(services, TOOL, arguments, progress)).body)
    return job


async def _look(services: Services, job_id: str, wait_seconds: float) -> Job:
    job = Job.model_validate((await call(services, TOOL, {"job_id": job_id})).body)
    return await wait_for(services, job, wait_seconds)


@click.command()
@click.argument("job_id", metavar="JOB")
@tool_options(TOOL, positional=("job_id",))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Copy finished pictures to this file or folder.")
@click.option(
    "--sidecar", is_flag=True, help="With --output, save how each picture was made in a .json file beside it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
def command(job_id: str, wait_seconds: float | None, output: Path | None, *, sidecar: bool, as_json: bool) -> None:
    """Look at a job, and wait for it.

    Prints where its pictures are. Jobs that an earlier process left are driven on while this one waits.
    """
    with interruptible(lambda: farewell(job_id)):
        job = run(partial(_look, job_id=job_id, wait_seconds=wait_seconds or 0))
    show_job(job, output, as_json=as_json, copies=False, sidecars=sidecar)
