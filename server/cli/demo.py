"""`demo`: the main job end to end, through a real MCP client, with nothing but this installation."""

import base64
import io
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import anyio
import click
import mcp_types as types
import numpy as np
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from PIL import Image
from pydantic import BaseModel, JsonValue

import controlnet_mcp
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.contact_sheet import Panel, Sheet
from controlnet_mcp.images.contact_sheet.page import compose, encode
from controlnet_mcp.server.cli.demo_sketch import draw_sketch
from controlnet_mcp.server.cli.output import place_for, save
from controlnet_mcp.server.settings import PREFIX
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.views import Job

ViewT = TypeVar("ViewT", bound=BaseModel)

PROMPTS: tuple[str, ...] = (
    "watercolour of a cottage with a tree, spring morning",
    "neon cottage with a tree at night",
)
"""What the demo asks for."""
_HEADING = "One sketch, and two new pictures that keep its lines"
_FOOTER = "controlnet-mcp demo. The two new pictures are by the built-in draft engine, which is not an AI model."
_WAIT_SECONDS = 60
_SEED = 3


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The comparison picture (.png or .jpg).")
def command(output: Path | None) -> None:
    """Show the main job end to end, without key or network.

    Draws a sketch, starts a server of its own, talks to it as a host does, and lays the sketch, its control map and
    two new pictures side by side in controlnet-demo.png. Nothing is sent anywhere, and your own jobs are not touched.
    """
    began, wanted = time.perf_counter(), output or Path()
    with tempfile.TemporaryDirectory(prefix="controlnet-demo-", ignore_cleanup_errors=True) as folder:
        demo = _Demo(Path(folder).resolve())
        try:
            anyio.run(demo.run)
        except Exception as error:
            cause = error
            while isinstance(cause, ExceptionGroup):  # the task groups of the client
                cause = cast("ExceptionGroup[Exception]", cause).exceptions[0]
            raise click.ClickException(f"The demo stopped: {cause}. Try: controlnet-mcp doctor") from error
    as_jpeg = wanted.suffix.lower() in {".jpg", ".jpeg"}
    page = encode(compose(Sheet(_HEADING, (), tuple(demo.panels), _FOOTER)), as_jpeg=as_jpeg)
    path = save(page, place_for(wanted, "controlnet-demo", "image/jpeg" if as_jpeg else "image/png"))
    click.echo(
        "\nThe last two keep the lines of the sketch. They are by the built-in draft engine, which is not an AI model:"
    )
    click.echo("it shows how things work. `controlnet-mcp doctor` says which providers are ready here.")
    click.echo(f"\nDone in {time.perf_counter() - began:.1f} s. Look at:")
    click.echo(path)


@dataclass(slots=True)
class _Demo:
    """Runs in an empty folder, in which the server keeps its jobs, and gathers the pictures."""

    folder: Path
    panels: list[Panel] = field(default_factory=list[Panel])
    _began: float = field(default_factory=time.perf_counter)

    async def run(self) -> None:
        """Draw the sketch, start the server, and have the sketch drawn anew for every prompt."""
        sketch = Image.fromarray(draw_sketch())
        sketch.save(self.folder / "sketch.png")
        self._show(sketch, "A sketch", "drawn by code", "Drew a sketch")
        roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
        folders = {f"{PREFIX}DATA_DIR": str(self.folder / "data"), f"{PREFIX}ALLOWED_DIRS": str(self.folder)}
        server = StdioServerParameters(  # as a host would start it, with no key of the user's
            command=sys.executable,
            args=["-P", "-m", "controlnet_mcp.server"],
            env={"PYTHONPATH": roots, **folders},
            cwd=self.folder,
        )
        async with Client(server, read_timeout_seconds=2 * _WAIT_SECONDS) as client:
            tools = await client.list_tools()
            self._step(f"Started a server and connected as a host does, over stdio: it has {len(tools.tools)} tools")
            asked: dict[str, JsonValue] = {"image": str(self.folder / "sketch.png"), "modality": "sketch"}
            made = await _call(client, "extract_control_map", asked, MapView)
            control_map = await _picture(client, made.uri)
            self._show(control_map, "Its control map", "modality sketch", "extract_control_map took its lines")
            for prompt in PROMPTS:
                job = await _call(
                    client,
                    "controlnet_generate",
                    {
                        "prompt": prompt,
                        "control_image": made.uri,
                        "control_is_map": True,
                        "modality": "sketch",
                        "provider": "draft",
                        "seed": _SEED,
                        "wait_seconds": _WAIT_SECONDS,
                    },
                    Job,
                )
                if job.status != "succeeded" or not job.images:
                    hint = job.error.message if job.error else ""
                    raise RequestError("provider_failed", f"The job {job.status}.", hint=hint)
                picture = await _picture(client, job.images[0].uri)
                self._show(picture, f"“{prompt}”", "provider draft", f"controlnet_generate drew “{prompt}”")

    def _show(self, picture: Image.Image, caption: str, detail: str, said: str) -> None:
        pixels = np.asarray(picture, dtype=np.uint8)
        self.panels.append(Panel(picture.width, picture.height, lambda: pixels, caption, detail))
        self._step(f"{said} ({picture.width}x{picture.height} pixels)")

    def _step(self, said: str) -> None:
        now = time.perf_counter()
        click.echo(f"{now - self._began:5.1f} s  {said}")
        self._began = now


async def _call(client: Client, tool: str, arguments: dict[str, JsonValue], view: type[ViewT]) -> ViewT:
    """Call a tool and read the first block of its answer, as every host does."""
    result = await client.call_tool(tool, arguments)
    first = result.content[0]
    if result.is_error or not isinstance(first, types.TextContent):
        raise RequestError("provider_failed", f"{tool} failed.", hint=getattr(first, "text", ""))
    return view.model_validate_json(first.text)


async def _picture(client: Client, uri: str) -> Image.Image:
    first = (await client.read_resource(uri)).contents[0]
    if not isinstance(first, types.BlobResourceContents):
        raise RequestError("not_found", f"{uri} is no picture.")
    with Image.open(io.BytesIO(base64.b64decode(first.blob))) as picture:
        return picture.convert("RGB")
