"""The play of the demo: a server of its own, a real MCP client on it over stdio, and the main job twice."""

import base64
import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import mcp_types as types
import numpy as np
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from PIL import Image
from pydantic import BaseModel, JsonValue

import controlnet_mcp
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.contact_sheet import Panel
from controlnet_mcp.server.cli import demo_sketch
from controlnet_mcp.server.settings import PREFIX
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.views import Job

ViewT = TypeVar("ViewT", bound=BaseModel)

LOOKS: tuple[str, ...] = (
    "watercolour of a cottage with a tree, spring morning",
    "neon cottage with a tree at night",
)
"""What the demo asks for."""
_WAIT_SECONDS = 60
_SEED = 3


@dataclass(slots=True)
class Play:
    """Plays the demo in a folder of its own and tells each step with the seconds it took.

    Attributes:
        folder: Empty; the server keeps its jobs and the sketch lies in it.
        tell: Takes seconds and a sentence.
        panels: The pictures so far.
    """

    folder: Path
    tell: Callable[[float, str], None]
    panels: list[Panel] = field(default_factory=list[Panel])
    _began: float = field(default_factory=time.perf_counter)

    async def run(self) -> None:
        """Draw the sketch, start the server, and have it drawn anew in every look."""
        sketch = Image.fromarray(demo_sketch.draw())
        sketch.save(self.folder / "sketch.png")
        self._show(sketch, "A sketch", "drawn by code", "Drew a sketch")
        async with Client(self._server(), read_timeout_seconds=2 * _WAIT_SECONDS) as client:
            tools = await client.list_tools()
            self._step(f"Started a server and connected as a host does, over stdio: it has {len(tools.tools)} tools")
            uri = await self._map(client)
            for look in LOOKS:
                await self._generate(client, uri, look)

    def _server(self) -> StdioServerParameters:
        """This program as a host would start it, with no key of the user's."""
        roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
        return StdioServerParameters(
            command=sys.executable,
            args=["-P", "-m", "controlnet_mcp.server"],
            env={
                "PYTHONPATH": roots,
                f"{PREFIX}DATA_DIR": str(self.folder / "data"),
                f"{PREFIX}ALLOWED_DIRS": str(self.folder),
            },
            cwd=self.folder,
        )

    async def _map(self, client: Client) -> str:
        arguments: dict[str, JsonValue] = {"image": str(self.folder / "sketch.png"), "modality": "sketch"}
        made = await _call(client, "extract_control_map", arguments, MapView)
        self._show(
            await _picture(client, made.uri), "Its control map", "modality sketch", "extract_control_map took its lines"
        )
        return made.uri

    async def _generate(self, client: Client, uri: str, look: str) -> None:
        arguments: dict[str, JsonValue] = {
            "prompt": look,
            "control_image": uri,
            "control_is_map": True,
            "modality": "sketch",
            "provider": "draft",
            "seed": _SEED,
            "wait_seconds": _WAIT_SECONDS,
        }
        job = await _call(client, "controlnet_generate", arguments, Job)
        if job.status != "succeeded" or not job.images:
            raise RequestError("provider_failed", f"The job {job.status}.", hint=job.error.message if job.error else "")
        self._show(
            await _picture(client, job.images[0].uri),
            f"“{look}”",
            "provider draft",
            f"controlnet_generate drew “{look}”",
        )

    def _show(self, picture: Image.Image, caption: str, detail: str, said: str) -> None:
        pixels = np.asarray(picture, dtype=np.uint8)
        self.panels.append(Panel(picture.width, picture.height, lambda: pixels, caption, detail))
        self._step(f"{said} ({picture.width}x{picture.height} pixels)")

    def _step(self, said: str) -> None:
        now = time.perf_counter()
        self.tell(now - self._began, said)
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
