"""Output of the commands: jobs and tables for people, JSON for programs, pictures as files of the user.

Files have readable names and the right extension, and are never written over others. Tables are as wide as the
terminal, and never cut where the output is no terminal.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlnet_mcp.images.blob_store import note_beside
from controlnet_mcp.images.picture import EXTENSIONS
from controlnet_mcp.server.mcp.rendering import text_of
from controlnet_mcp.tools.views import FETCH_AGAIN, Job

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_NAME = 48
_EXTENSIONS: dict[str, str] = dict(EXTENSIONS.items())


def readable_name(text: str) -> str:
    """A file name of the first words of a text, in any script, without anything that a shell or a system minds."""
    words = "-".join(re.findall(r"[^\W_]+", text.lower()))
    return f"controlnet-{words[:_LONGEST_NAME].strip('-')}".strip("-")


def place_for(output: str | None, name: str, mime_type: str) -> Path:
    """The file for a picture in `output`: a file, a folder (one that exists, or `new/`), or the working directory.

    `name` is the name, without extension, where `output` does not give one; an extension of another type is replaced.
    """
    path = Path(output or "")
    if (output or "").endswith(("/", os.sep)) or os.path.isdir(path):  # noqa: PTH112  # pathlib may raise
        path /= name
    extension, given = _EXTENSIONS[mime_type], path.suffix.lower().lstrip(".").replace("jpeg", "jpg")
    if given == extension:
        return path
    stem = path.stem if given in _EXTENSIONS.values() else path.name
    return path.with_name(f"{stem}.{extension}")


def save(content: bytes, wanted: Path, *, kept: Path | None = None) -> Path:
    """Write a new file, called `name-2`, `name-3`… where the name is taken.

    Returns:
        The full path of the file.

    Raises:
        click.ClickException: The folder cannot be made or written; `kept` is a copy that remains.
    """
    path, number = wanted, 1
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with path.open("xb") as file:
                    file.write(content)
                return path.absolute()
            except FileExistsError:
                number += 1
                path = wanted.with_stem(f"{wanted.stem}-{number}")
    except OSError as error:
        elsewhere = f" It is kept as {kept}." if kept else ""
        said = f"The picture cannot be saved as {wanted}: {error.strerror or error}.{elsewhere}"
        raise click.ClickException(said) from error


def save_page(page: "Image", output: str | None, name: str) -> Path:
    """Write a page of a contact sheet as PNG, or as JPEG where `output` is called so; else as `place_for` and `save`.

    Raises:
        click.ClickException: As `save`.
    """
    from controlnet_mcp.images.contact_sheet.page import encode

    as_jpeg = (output or "").lower().endswith((".jpg", ".jpeg"))
    return save(encode(page, as_jpeg=as_jpeg), place_for(output, name, "image/jpeg" if as_jpeg else "image/png"))


_WIDE = 220
"""Columns of a table that goes to a file or a pipe."""


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text; the first column is never broken, the last one wraps."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        table.add_column(heading, no_wrap=index == 0, overflow="fold", header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


_ENDS = {"failed": "failed", "canceled": "was canceled", "uncertain": "is uncertain"}


def show_job(job: Job, output: str | None, *, as_json: bool, copies: bool, sidecars: bool) -> None:
    """Show a job and end the command.

    Args:
        job: The job.
        output: File or folder that its pictures are copied to.
        as_json: Print the job instead of paths.
        copies: Copy pictures when no `output` is given, too.
        sidecars: Save how a copy was made beside it.

    Raises:
        click.ClickException: The job failed: exit code 1, and why.
    """
    if as_json:
        click.echo(text_of(job))
    else:
        controls = ", ".join(row.modality for row in job.controls)
        done = f" ({job.progress:.0%})" if job.status == "running" and job.progress else ""
        cost = f", {job.cost.amount:g} {job.cost.unit}" if job.cost and job.cost.amount else ""
        seed = "" if job.seed is None else f", seed {job.seed}"
        said = f"{job.status}{done} after {job.elapsed_seconds:.1f} s: {job.provider}, {controls}{seed}{cost}"
        click.echo(f"{job.job_id} {said}", err=True)
        for warning in job.warnings or ():
            click.echo(f"note: {warning.detail}", err=True)
        if job.status in {"queued", "running"}:
            click.echo(f"It goes on. {look_again(job.job_id)}", err=True)
    for path in _pictures(job, output, copies=copies or output is not None, sidecars=sidecars):
        if not as_json:
            click.echo(path)
    if job.status in _ENDS:
        fault = f"{job.error.message} {job.error.hint}".strip() if job.error else job.next
        again = f" Try again to get it: controlnet-mcp jobs fetch {job.job_id}" if FETCH_AGAIN in job.next else ""
        raise click.ClickException(for_people(f"The job {_ENDS[job.status]}. {fault}") + again)


def _pictures(job: Job, output: str | None, *, copies: bool, sidecars: bool) -> Iterator[Path]:
    """The paths of a job's pictures, each as soon as it was copied: a later one may fail."""
    kept = [(image.path, image.mime_type) for image in job.images or () if image.path]
    name = readable_name(job.prompt)
    for path, mime_type in kept:
        if not copies:
            yield path
            continue
        copy = save(path.read_bytes(), place_for(output, name, mime_type), kept=path)
        note = note_beside(path, job.job_id)
        if sidecars and note.is_file() and note.stat().st_size:
            save(note.read_bytes(), copy.with_name(f"{copy.name}.json"), kept=note)
        elif sidecars:
            click.echo(f"note: it is not known how {copy.name} was made, so it has no sidecar", err=True)
        yield copy


def look_again(job_id: str) -> str:
    """The command that waits for a job."""
    return f"Look at it with: controlnet-mcp status {job_id} --wait 60"


def interruption_note(job_id: str | None) -> str:
    """The last line for a user who interrupts; the job's id is missing where it was not in the record yet."""
    if job_id is None:
        return "Stopped. If a job was already submitted, `controlnet-mcp jobs` shows it."
    return f"Stopped waiting; what the provider has accepted goes on there, and is kept. {look_again(job_id)}"


WORD_OF_TOOL: dict[str, str] = {
    "controlnet_generate": "generate",
    "job_status": "status",
    "list_modalities": "modalities",
    "cancel_job": "cancel",
    "list_jobs": "jobs",
    "extract_control_map": "control-map",
    "list_models": "models",
}
"""Tool name to the word that does the same by hand."""


def for_people(text: str) -> str:
    """A sentence with the names of commands in the place of those of tools."""
    for tool, word in WORD_OF_TOOL.items():
        text = text.replace(tool, f"`controlnet-mcp {word}`")
    return text
