"""A whole server in memory with a client on it, and its answers read into the project's own types."""

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import ElicitationFnT, ListRootsFnT, MessageHandlerFnT
from mcp.server.lowlevel import Server
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.memory import create_client_server_memory_streams
from pydantic import BaseModel, ConfigDict, JsonValue

from controlnet_mcp.providers.types import Fault
from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.list_jobs import JobList
from controlnet_mcp.tools.views import Job

SIDE = 128
"""Sides of the pictures that tests have drawn, in pixels: the smaller, the faster."""
_OPEN = frozenset({"queued", "running"})
WAIT_SECONDS = 60
"""How long a call may wait for a job; a job takes a fraction of a second on an idle machine."""


class Refusal(BaseModel):
    """The structured form of an error result."""

    model_config = ConfigDict(extra="forbid")

    error: Fault


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a tool call."""

    result: types.CallToolResult

    @property
    def text(self) -> str:
        """The first block, which every host shows to the model."""
        first = self.result.content[0]
        assert isinstance(first, types.TextContent)
        return first.text

    @property
    def job(self) -> Job:
        """The job that the first block holds."""
        assert not self.result.is_error, self.text
        return Job.model_validate_json(self.text)

    @property
    def listed(self) -> tuple[Job, ...]:
        """The jobs that the first block lists."""
        assert not self.result.is_error, self.text
        return JobList.model_validate_json(self.text).jobs

    @property
    def error(self) -> Fault:
        """The refusal, in its structured form."""
        assert self.result.is_error, self.text
        return Refusal.model_validate(self.result.structured_content).error

    @property
    def previews(self) -> list[bytes]:
        """The small pictures inside the answer."""
        blocks = [block for block in self.result.content if isinstance(block, types.ImageContent)]
        return [base64.b64decode(block.data) for block in blocks]

    @property
    def originals(self) -> list[str]:
        """The addresses of originals on a server with a port, as text or as links."""
        texts = [block.text for block in self.result.content[1:] if isinstance(block, types.TextContent)]
        return [word for text in texts for word in text.split() if "://" in word] or [link.uri for link in self.links]

    @property
    def links(self) -> list[types.ResourceLink]:
        """The links to originals."""
        return [block for block in self.result.content if isinstance(block, types.ResourceLink)]


class GiveUp:
    """Cancels a call as soon as it tells that there is a job."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        """Take the scope of the call."""
        self.scope = scope
        self.heard: list[tuple[float, float | None, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one notification, and cancel."""
        self.heard.append((progress, total, message))
        self.scope.cancel()


@dataclass(frozen=True, slots=True)
class Session:
    """A client on a server in this process.

    Attributes:
        client: Speaks the current protocol revision.
        application: The running server's inside.
        pictures: A folder that the server may read pictures from.
    """

    client: Client
    application: Application
    pictures: Path

    async def call(self, tool: str, progress: ProgressFnT | None = None, /, **arguments: JsonValue) -> Reply:
        """Call a tool."""
        return Reply(await self.client.call_tool(tool, arguments, progress_callback=progress))

    async def generate(self, progress: ProgressFnT | None = None, /, **arguments: JsonValue) -> Reply:
        """Call `controlnet_generate` with a photo, a prompt and a small size, unless told otherwise."""
        usual: dict[str, JsonValue] = {
            "prompt": "an oil painting",
            "control_image": str(self.pictures / "photo.png"),
            "width": SIDE,
            "height": SIDE,
            "wait_seconds": WAIT_SECONDS,
        }
        return await self.call("controlnet_generate", progress, **(usual | arguments))

    async def until(self, job_id: str, holds: Callable[[Job], bool]) -> Job:
        """Look at a job until something holds of it."""
        with anyio.fail_after(WAIT_SECONDS):
            while not holds(job := (await self.call("job_status", job_id=job_id, wait_seconds=0.2)).job):
                assert not job.images, f"{job_id} has ended"
        return job

    async def until_ended(self, job_id: str) -> Job:
        """Look at a job until it ends."""
        with anyio.fail_after(3 * WAIT_SECONDS):
            while (job := (await self.call("job_status", job_id=job_id, wait_seconds=1)).job).status in _OPEN:
                pass
        return job

    async def read(self, uri: str) -> list[types.TextResourceContents | types.BlobResourceContents]:
        """Read a resource from the server, not from the client's cache."""
        return list((await self.client.read_resource(uri, cache_mode="bypass")).contents)

    async def read_picture(self, uri: str) -> bytes:
        """Read a resource that is one picture."""
        (contents,) = await self.read(uri)
        assert isinstance(contents, types.BlobResourceContents)
        return base64.b64decode(contents.blob)


def settings_for(data_dir: Path, pictures: Path, **more: object) -> Settings:
    """Settings of a server that has no keys and may read one folder of pictures."""
    values: dict[str, object] = {"data_dir": data_dir, "allowed_dirs": (pictures,), "keys": {}, **more}
    return Settings.model_validate(values)


@asynccontextmanager
async def connect(
    server: Server[Any],
    mode: str = "auto",
    *,
    elicit: ElicitationFnT | None = None,
    hear: MessageHandlerFnT | None = None,
    roots: ListRootsFnT | None = None,
) -> AsyncGenerator[Client]:
    """Connect a client as over a wire, message by message: only then it can ask for progress.

    Args:
        server: Runs until the client is done.
        mode: `auto` for the current revision of the protocol, `legacy` for the handshake ones.
        elicit: Answers questions to the user; without it the client cannot ask any.
        hear: Told of every notification.
        roots: Names the folders of the client; without it the client declares none.
    """
    async with (
        create_client_server_memory_streams() as (client_side, (read, write)),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.run, read, write, server.create_initialization_options())
        client = Client(
            nullcontext(client_side),
            mode=mode,
            elicitation_callback=elicit,
            message_handler=hear,
            list_roots_callback=roots,
        )
        async with client:
            yield client
        await client_side[1].aclose()


@asynccontextmanager
async def open_session(settings: Settings, *, local: bool = True, mode: str = "auto") -> AsyncGenerator[Session]:
    """Open a server and a client on it; the first allowed folder is where its pictures are."""
    async with (
        open_application(settings) as application,
        connect(build_server(application, local=local), mode) as client,
    ):
        yield Session(client, application, settings.allowed_folders[0])
