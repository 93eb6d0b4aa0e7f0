"""A paid provider on loopback that holds its answers: every stage of a job stands still until a test lets it go on."""

import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from anyio import to_thread
from pydantic import JsonValue
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.support.mcp_session import WAIT_SECONDS
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import KEY, WaveSpeedStudio, wavespeed

Stage: TypeAlias = Literal["reading", "submitting", "running", "fetching"]
"""While the control picture is fetched, accepted but not answered, asked about, and while the result is fetched."""
STAGES: tuple[Stage, ...] = get_args(Stage)
_SECONDS = 100.0
_KINDS: tuple[tuple[Stage, str], ...] = (
    ("reading", r"/pictures/(?P<prompt>.+)\.png"),
    ("running", r"/api/v3/predictions/(?P<task>[0-9a-f]+)(/result)?"),
    ("fetching", r"/outputs/(?P<task>[0-9a-f]+)/0"),
    ("submitting", r"/api/v3/wavespeed-ai/.+"),
)


@dataclass(frozen=True, slots=True)
class Hold:
    """One answer that is held: it has been made, whatever it costs is charged, and it is not sent yet."""

    _arrived: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    async def arrived(self) -> None:
        """Wait until the request is there."""
        assert await to_thread.run_sync(self._arrived.wait, _SECONDS), "the request never came"

    def release(self) -> None:
        """Send the answer."""
        self._released.set()

    async def pass_through(self) -> None:
        """Hold."""
        self._arrived.set()
        await to_thread.run_sync(self._released.wait, _SECONDS)


@dataclass(slots=True)
class StalledProvider:
    """The simulated vendor, which holds the answers it is told to; jobs are told apart by their prompts.

    Attributes:
        studio: What was charged.
        app: The vendor.
        picture: What is served under `/pictures/{prompt}.png`.
        holds: The answers that are held, by prompt and stage.
    """

    studio: WaveSpeedStudio
    app: ASGIApp
    picture: Path
    holds: dict[tuple[str, Stage], Hold] = field(default_factory=dict[tuple[str, Stage], Hold])

    def hold(self, prompt: str, stage: Stage) -> Hold:
        """Hold the first answer of a stage of one job."""
        return self.holds.setdefault((prompt, stage), Hold())

    def arguments(self, prompt: str) -> dict[str, JsonValue]:
        """The arguments of a small job, which is waited for; its prompt is a word."""
        return {
            "prompt": prompt,
            "control_image": f"{self.studio.origin}/pictures/{prompt}.png",
            "control_is_map": True,
            "provider": "wavespeed",
            "width": 512,
            "height": 512,
            "seed": 1,
            "wait_seconds": WAIT_SECONDS,
        }

    def charges(self, prompt: str) -> int:
        """How many submissions with this prompt were accepted."""
        return sum(task.form.prompt == prompt for task in self.studio.tasks.values())

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of a server that uses this vendor, and may read its pictures."""
        origin = self.studio.origin
        return {
            "WAVESPEED_API_KEY": KEY,
            "WAVESPEED_BASE_URL": origin,
            "CONTROLNET_MCP_TRUSTED_HOSTS": origin.removeprefix("http://"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and keep the answer back while it is held."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        path: str = scope["path"]
        app = FileResponse(self.picture) if path.startswith("/pictures/") else self.app
        await app(scope, receive, keep)
        key = self._key(path, b"".join(message.get("body", b"") for message in messages))
        hold = self.holds.pop(key, None) if key else None
        if hold is not None:
            await hold.pass_through()
        for message in messages:
            await send(message)

    def _key(self, path: str, answer: bytes) -> tuple[str, Stage] | None:
        """The job and the stage of a request; a submission's task is in its answer, for several may come at once."""
        for stage, pattern in _KINDS:
            match = re.fullmatch(pattern, path)
            if match is None:
                continue
            told = match.groupdict()
            accepted = (task for task in self.studio.tasks if task.encode() in answer)
            task = told.get("task") or next(accepted, None)
            prompt = told.get("prompt") or (self.studio.tasks[task].form.prompt if task else None)
            return (prompt, stage) if prompt else None
        return None


@contextmanager
def stalled_provider(picture: Path) -> Generator[StalledProvider]:
    """Serve the vendor; its jobs are done when they are looked at for the first time."""
    listening = free_socket()
    studio = WaveSpeedStudio(origin=origin_of(listening), looks_until_done=1)
    vendor = StalledProvider(studio, wavespeed(studio), picture)
    with running(vendor, listening):
        yield vendor
