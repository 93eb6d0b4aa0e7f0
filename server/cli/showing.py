"""What people read: a job in a few lines on stderr, its pictures as paths on stdout, exit codes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
from pydantic import BaseModel

from controlnet_mcp.images.blob_store import note_beside
from controlnet_mcp.server.cli.saving import place_for, readable_name, save
from controlnet_mcp.server.cli.wording import for_people
from controlnet_mcp.tools.views import Job

_ENDS = {"failed": "failed", "canceled": "was canceled", "uncertain": "is uncertain"}


def json_text(body: BaseModel) -> str:
    """The answer as the tool gives it: compact JSON without nulls."""
    return body.model_dump_json(exclude_none=True, by_alias=True)


def show_job(job: Job, output: Path | None, *, as_json: bool, copies: bool, sidecars: bool) -> None:
    """Show a job and end the command.

    Args:
        job: The job.
        output: Where its pictures are copied to.
        as_json: Whether stdout gets the job instead of paths.
        copies: Whether pictures are copied when no `output` is given.
        sidecars: Whether how a copy was made is saved beside it.

    Raises:
        click.ClickException: The job failed: exit code 1, and why.
    """
    if as_json:
        click.echo(json_text(job))
    else:
        _tell(job)
    for path in _pictures(job, output, copies=copies or output is not None, sidecars=sidecars):
        if not as_json:
            click.echo(path)
    if job.status in _ENDS:
        _fail(job)


def _pictures(job: Job, output: Path | None, *, copies: bool, sidecars: bool) -> Iterator[Path]:
    """One after the other, so that those that were saved are told although a later one fails."""
    kept = [(image.path, image.mime_type) for image in job.images or () if image.path]
    name = readable_name(job.prompt)
    for path, mime_type in kept:
        if not copies:
            yield path
            continue
        copy = save(path.read_bytes(), place_for(output, name, mime_type), kept=path)
        if sidecars:
            _save_note(note_beside(path, job.job_id), copy)
        yield copy


def _save_note(note: Path, picture: Path) -> None:
    """Save how a picture was made under the picture's name; said where it was not noted."""
    if note.is_file() and note.stat().st_size:
        save(note.read_bytes(), picture.with_name(f"{picture.name}.json"), kept=note)
    else:
        click.echo(f"note: it is not known how {picture.name} was made, so it has no sidecar", err=True)


def _tell(job: Job) -> None:
    controls = ", ".join(row.modality for row in job.controls)
    done = f" ({job.progress:.0%})" if job.status == "running" and job.progress else ""
    cost = f", {job.cost.amount:g} {job.cost.unit}" if job.cost and job.cost.amount else ""
    seed = "" if job.seed is None else f", seed {job.seed}"
    said = f"{job.status}{done} after {job.elapsed_seconds:.1f} s: {job.provider}, {controls}{seed}{cost}"
    click.echo(f"{job.job_id} {said}", err=True)
    for notice in job.warnings or ():
        click.echo(f"note: {notice.detail}", err=True)
    if job.status in {"queued", "running"}:
        click.echo(f"It goes on. {look_again(job.job_id)}", err=True)


def _fail(job: Job) -> NoReturn:
    fault = f"{job.error.message} {job.error.hint}".strip() if job.error else job.next
    raise click.ClickException(for_people(f"The job {_ENDS[job.status]}. {fault}"))


def look_again(job_id: str) -> str:
    """How to wait for a job that is not finished."""
    return f"Look at it with: controlnet-mcp status {job_id} --wait 60"


def farewell(job_id: str | None) -> str:
    """The last word to somebody who interrupts; the job's id is missing where it was not in the record yet."""
    if job_id is None:
        return "Stopped. If a job was already submitted, `controlnet-mcp jobs` shows it."
    return f"Stopped waiting; what the provider has accepted goes on there, and is kept. {look_again(job_id)}"
