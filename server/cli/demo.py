"""`demo`: the main job end to end, through a real MCP client, with nothing but this installation.

The sketch (a cottage, a tree, hills and a path) is drawn by code, with an unsteady pen.
"""

import base64
import io
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import anyio
import click
import cv2
import mcp_types as types
import numpy as np
import numpy.typing as npt
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from PIL import Image
from pydantic import BaseModel, JsonValue

import controlnet_mcp
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.contact_sheet import Panel, Sheet
from controlnet_mcp.images.contact_sheet.page import compose
from controlnet_mcp.server.cli.output import save_page
from controlnet_mcp.server.cli.session import innermost
from controlnet_mcp.server.settings import PREFIX
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.views import Job

_WIDTH, _HEIGHT = 1024, 768
_PAPER, _INK = (251, 248, 241), (52, 50, 66)
_FINER = 3
"""The pen draws on a sheet so many times larger, which is then made smaller: soft edges, fractions of pixels."""
_SCENE = """
curve 0,430 90,372 190,352 270,384 320,420
curve 640,380 720,356 800,338 880,330 960,348 1024,376
curve 0,560 120,540 230,552 310,578
curve 900,560 960,556 1024,562
curve 357,614 350,650 302,700 232,768
curve 413,616 420,654 412,704 424,768
curve 604,222 590,204 608,186 636,176 628,152 602,150
curve 286,110 302,98 314,112 328,98 344,108
curve 378,164 390,154 400,165 412,154 424,162
curve 480,92 493,81 504,93 517,80 531,90
body 848,380 850,520 830,634 852,624 872,635 890,624 914,634 894,520 894,380 848,380
body 580,320 580,240 628,240 628,320 580,320
body 720,450 720,600 470,616 470,450 720,450
body 385,308 640,306 744,454 474,458 385,308
body 300,610 300,442 385,324 470,442 470,616 300,610
body 357,614 356,530 360,514 370,502 385,497 400,502 410,514 413,530 413,615 357,614
body 506,494 562,492 562,550 506,553 506,494
body 624,490 676,488 676,544 624,548 624,490
ring 142,132 56,0
ring 872,296 118,11
ring 236,588 46,7
ring 180,600 34,6
ring 385,410 23,0
ring 402,570 4,0
curve 872,406 868,366 846,334
curve 870,374 884,342 908,326
curve 798,296 810,308 824,298
curve 848,240 862,252 878,242
curve 924,270 938,282 952,272
lines 274,470 385,308
lines 570,240 638,240
lines 534,493 534,551
lines 506,523 562,521
lines 650,489 650,546
lines 624,518 676,515
lines 364,410 406,410
lines 385,389 385,431
"""
"""Strokes in pixels of the sketch, the farthest first: soft curves, straight lines, bodies that hide what is behind
them, and rings (centre, radius, bumps) that do so too. Hills, path, smoke, birds; tree, house; sun, leaves, details."""
_TILES = ((462, 352), (556, 346), (508, 392), (612, 386), (556, 428), (656, 424))
_FLOWERS = ((92, 640), (150, 676), (540, 672), (630, 694), (720, 664), (964, 676))
_TUFTS = ((40, 618), (214, 700), (500, 744), (780, 716), (900, 706), (116, 744))

Points = npt.NDArray[np.float64]
"""Shape (n, 2): x and y."""


def draw_sketch() -> npt.NDArray[np.uint8]:
    """The sketch: shape (768, 1024, 3), dark lines on light paper; always the same."""
    page = np.full((_HEIGHT * _FINER, _WIDTH * _FINER, 3), _PAPER, dtype=np.uint8)
    chance = np.random.default_rng(7)
    for kind, *places in map(str.split, _SCENE.strip().splitlines()):
        corners = np.asarray([place.split(",") for place in places], dtype=np.float64)
        match kind:
            case "curve":
                points = _curve(corners)
            case "ring":
                points = _ring(corners[0], *corners[1])
            case _:
                points = _straight(corners)
        if kind in {"body", "ring"}:
            cv2.fillPoly(page, [np.rint(points * _FINER).astype(np.int32).reshape(-1, 1, 2)], _PAPER)
        _stroke(page, points, chance)
    beams = np.linspace(0, 2 * math.pi, 11, endpoint=False)
    sun = np.stack([np.cos(beams), np.sin(beams)], axis=1)
    strokes = [_straight(np.asarray((142, 132)) + beam * [[74], [98]]) for beam in sun]
    strokes += [_straight(np.asarray(((x, y), (x + 34, y)))) for x, y in _TILES]
    for x, y in _FLOWERS:
        stem = np.asarray(((x, y + 16), (x - 3, y + 32), (x + 1, y + 50)))
        strokes += [_ring(np.asarray((x, y)), 13, 5), _curve(stem)]
    tuft = np.asarray(((-9, -13), (-3, 0), (0, -18), (4, 0), (11, -12)))
    for points in (*strokes, *(_straight(tuft + place) for place in _TUFTS)):
        _stroke(page, points, chance)
    return np.asarray(cv2.resize(page, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _stroke(page: npt.NDArray[np.uint8], points: Points, chance: np.random.Generator) -> None:
    """Draw along points that are a few pixels apart: a wavering line, thinner where it begins and ends."""
    count = len(points)

    def waver(reach: float, period: float) -> Points:
        """Smooth chance of about `reach` pixels, with a new aim every `period` points."""
        aims = chance.normal(0, reach * 0.6, (math.ceil(count / period) + 2, 2))
        at = np.arange(count) / period
        return np.stack([np.interp(at, np.arange(len(aims)), aims[:, axis]) for axis in (0, 1)], axis=1)

    places = np.rint((points + waver(1.6, 34) + waver(0.5, 9)) * _FINER * 16).astype(np.int32)
    to_end = np.minimum(np.arange(count), np.arange(count)[::-1])
    width = np.rint((3.4 + waver(0.7, 25)[:, 0]) * np.minimum(1, 0.7 + 0.1 * to_end) * _FINER).astype(np.int32)
    for start, end, thickness in zip(places, places[1:], width.tolist(), strict=False):
        cv2.line(page, start.tolist(), end.tolist(), _INK, max(thickness, 1), cv2.LINE_AA, 4)


def _straight(corners: Points) -> Points:
    """Points every few pixels along straight lines."""
    ends: list[list[float]] = corners.tolist()
    return np.concatenate([np.linspace(a, b, max(int(math.dist(a, b) / 4), 2)) for a, b in pairwise(ends)])


def _curve(corners: Points) -> Points:
    """A soft curve through the corners (Catmull-Rom spline, tension 0.5)."""
    ends = np.concatenate([corners[:1], corners, corners[-1:]]).astype(np.float64)
    parts: list[Points] = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        t = np.linspace(0, 1, max(int(math.dist(start, end) / 4), 2))[:, None]
        bend = (2 * before - 5 * start + 4 * end - after) * t**2 + (3 * start - before - 3 * end + after) * t**3
        parts.append(start + 0.5 * ((end - before) * t + bend))
    return np.concatenate(parts)


def _ring(centre: Points, radius: float, bumps: float) -> Points:
    """A circle, or a ring of `bumps` like a crown of leaves; it overlaps itself a little, as by hand."""
    turn = np.linspace(0.3, 2 * math.pi + 0.36, max(int(radius * 2), 24))
    reach = radius * (1 + (0.14 * np.abs(np.sin(turn * bumps / 2)) if bumps else 0))
    return centre + np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1)


ViewT = TypeVar("ViewT", bound=BaseModel)

PROMPTS: tuple[str, ...] = (
    "watercolour of a cottage with a tree, spring morning",
    "neon cottage with a tree at night",
)
"""The prompts of the demo."""
_HEADING = "One sketch, and two new pictures that keep its lines"
_FOOTER = "controlnet-mcp demo. The two new pictures are by the built-in draft engine, which is not an AI model."
_WAIT_SECONDS = 60
_SEED = 3


@click.command()
@click.option("-o", "--output", metavar="PATH", help="The comparison picture (.png or .jpg).")
def command(output: str | None) -> None:
    """Show the main job end to end, without key or network.

    Draws a sketch, starts a server of its own, talks to it as a host does, and lays the sketch, its control map and
    two new pictures side by side in controlnet-demo.png. Nothing is sent anywhere, and your own jobs are not touched.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="controlnet-demo-", ignore_cleanup_errors=True) as folder:
        demo = _Demo(Path(folder).resolve())
        try:
            anyio.run(demo.run)
        except Exception as error:
            said = f"The demo stopped: {innermost(error)}. Try: controlnet-mcp doctor"
            raise click.ClickException(said) from error
    path = save_page(compose(Sheet(_HEADING, (), tuple(demo.panels), _FOOTER)), output, "controlnet-demo")
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
