"""`sheet`: a finished job on one page, as a file."""

from dataclasses import dataclass
from pathlib import Path

import click
from anyio import to_thread
from pydantic import BaseModel

from controlnet_mcp.images.sheets.layout import NARROWEST, WIDEST, WIDTH
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.resource_uris import sheet_uri
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli.saving import place_for, readable_name, save
from controlnet_mcp.server.cli.session import run
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.spec import Services

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
        job = await services.desk.get(self.job_id, Caller(LOCAL, local=True))
        return await to_thread.run_sync(self._draw, job, services)

    def _draw(self, job: JobRecord, services: Services) -> _Drawn:
        from controlnet_mcp.images.sheets.page import compose, encode
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
def command(job_id: str, output: Path | None, width: int, *, as_json: bool) -> None:
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
