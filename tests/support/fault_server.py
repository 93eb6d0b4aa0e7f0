"""A paid provider on loopback that answers one call of a job wrongly: what goes wrong, and in which call."""

import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Literal, Protocol, TypeAlias, cast, get_args
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from pydantic import JsonValue, TypeAdapter
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.jobs import polling
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.connections import Confirm, Connections
from controlnet_mcp.providers.http import MAX_JSON_BYTES, HttpCall, HttpReply
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import WaveSpeedStudio, wavespeed

Call: TypeAlias = Literal["ticket", "upload", "submission", "poll", "download"]
"""The calls of a job's life, in their order."""
CALLS: tuple[Call, ...] = get_args(Call)
SIDE = 512
"""Sides of the control pictures in pixels, the least that the vendor draws: they are sent as they are."""
HURRIED_SECONDS = 2.0
"""How long a slow answer is waited for, instead of minutes; the request itself has to arrive within it."""

_PATHS: tuple[tuple[Call, str], ...] = (
    ("ticket", r"/api/v3/media/uploads"),
    ("upload", r"/storage/[0-9]+-(?P<file>[0-9a-f]+)\.png"),
    ("poll", r"/api/v3/predictions/(?P<task>[0-9a-f]+)/result"),
    ("download", r"/outputs/(?P<task>[0-9a-f]+)/0"),
    ("submission", r"/api/v3/wavespeed-ai/.+"),
)
_PIECE = bytes(65_536)
_PAGE = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1><p>The server is busy.</p></body></html>"
_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])

Give: TypeAlias = Callable[[bytes, Send, Receive], Awaitable[None]]
"""Answers wrongly: takes the body of the right answer, where there is one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with an answer.

    Attributes:
        give: The answer.
        heard: Whether the vendor has acted on the request; a submission is charged then.
        slow: Whether the answer would be waited for.
        lasts: Whether every such call is answered so, until the test says otherwise.
    """

    give: Give
    heard: bool = True
    slow: bool = False
    lasts: bool = False


def _saying(body: bytes | Callable[[bytes], bytes], status: int = 200, /, **headers: str) -> Give:
    """A whole answer with another body or status; underscores in header names stand for hyphens."""

    async def give(right: bytes, send: Send, _: Receive) -> None:
        content = body(right) if callable(body) else body
        fields = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        await _start(send, status, fields)
        await send({"type": "http.response.body", "body": content})

    return give


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    rows = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": rows})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reset(_: bytes, send: Send, receive: Receive) -> None:
    """Close the connection without an answer. Applications have no word for it, so it is done below uvicorn's."""
    cast("_Cycle", cast("MethodType", send).__self__).transport.abort()
    await _until_gone(receive)


async def _broken_off(right: bytes, send: Send, receive: Receive) -> None:
    """Announce more bytes than come."""
    await _start(send, 200, {"content-length": str(len(right) + 1000)})
    await send({"type": "http.response.body", "body": right, "more_body": True})
    cast("_Cycle", cast("MethodType", send).__self__).transport.close()
    await _until_gone(receive)


async def _silent(_: bytes, __: Send, receive: Receive) -> None:
    """Say nothing at all until the client hangs up."""
    await _until_gone(receive)


async def _dripping(_: bytes, send: Send, receive: Receive) -> None:
    """Send a byte now and then, so that no single read takes long, until the client hangs up."""
    await _start(send, 200, {})
    gone = False
    while not gone:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        with anyio.move_on_after(HURRIED_SECONDS / 8):
            await _until_gone(receive)
            gone = True


async def _endless(_: bytes, send: Send, receive: Receive) -> None:
    """Send until the client hangs up."""
    await _start(send, 200, {})
    async with anyio.create_task_group() as tasks:

        async def hang_up() -> None:
            await _until_gone(receive)
            tasks.cancel_scope.cancel()

        tasks.start_soon(hang_up)
        while True:
            await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
            await anyio.lowlevel.checkpoint()


def _bomb(_: bytes) -> bytes:
    """Some kilobytes that become four times what is taken."""
    return gzip.compress(bytes(4 * MAX_JSON_BYTES), 1)


class _Transport(Protocol):
    def abort(self) -> None: ...
    def close(self) -> None: ...


class _Cycle(Protocol):
    """What stands behind uvicorn's `send`."""

    transport: _Transport


FAULTS: Mapping[str, Fault] = {
    "500": Fault(_saying(b'{"code": 500, "message": "internal error"}', 500)),
    "500, not heard": Fault(_saying(b'{"code": 500, "message": "internal error"}', 500), heard=False),
    "402": Fault(_saying(b'{"code": 402, "message": "top up first"}', 402), heard=False),
    "502 page": Fault(_saying(_PAGE, 502, content_type="text/html")),
    "429, come back": Fault(_saying(b'{"code": 429, "message": "slow down"}', 429, retry_after="1"), heard=False),
    "503, come back": Fault(_saying(b"", 503, retry_after="1"), heard=False),
    "503": Fault(_saying(_PAGE, 503, content_type="text/html")),
    "reset": Fault(_reset),
    "reset, not heard": Fault(_reset, heard=False),
    "broken off": Fault(_broken_off),
    "silent": Fault(_silent, slow=True),
    "dripping": Fault(_dripping, slow=True),
    "nonsense": Fault(_saying(b"{]} not JSON")),
    "half": Fault(_saying(lambda right: right[: len(right) // 2])),
    "wrong shape": Fault(_saying(b'{"code": 200, "data": {"surprise": [1, 2]}}')),
    "page": Fault(_saying(_PAGE, content_type="text/html")),
    "empty": Fault(_saying(b"")),
    "endless": Fault(_endless),
    "bomb": Fault(_saying(_bomb, content_encoding="gzip")),
    "compressed": Fault(_saying(gzip.compress, content_encoding="gzip")),
}


def _elsewhere(right: bytes) -> bytes:
    """A report that names a place inside for its pictures."""
    return re.sub(rb"http://127[.]0[.]0[.]1:[0-9]+/outputs/", b"https://10.0.0.1/outputs/", right)


_SIZE = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
_HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\r" + _SIZE + zlib.crc32(_SIZE).to_bytes(4, "big") + b"\0\0\0\x40IDAT" + bytes(68)
"""The beginning of a PNG of 3,600 megapixels."""
_UNKNOWN = b'{"code": 404, "message": "task not found"}'
LASTING: Mapping[str, Fault] = {
    name: replace(fault, lasts=True)
    for name, fault in {
        "404": Fault(_saying(_UNKNOWN, 404)),
        "404 page": Fault(_saying(_PAGE, 404, content_type="text/html")),
        "404 inside 200": Fault(_saying(_UNKNOWN)),
        "410": Fault(_saying(b"", 410)),
        "page": FAULTS["page"],
        "SVG": Fault(_saying(b'<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")),
        "half": FAULTS["half"],
        "broken off": FAULTS["broken off"],
        "huge": Fault(_saying(_HUGE, content_type="image/png")),
        "empty": FAULTS["empty"],
        "no picture": Fault(_saying(lambda right: re.sub(rb'"outputs":\s*\[[^\]]*\]', b'"outputs":[]', right))),
        "inside": Fault(_saying(_elsewhere)),
        "500": FAULTS["500"],
        "503": FAULTS["503"],
        "reset": FAULTS["reset"],
    }.items()
}
"""Faults of every call of a kind."""


@dataclass(slots=True)
class Faulty:
    """The simulated vendor behind a line that fails; jobs are told apart by their prompts.

    Attributes:
        studio: What was charged.
        app: The vendor.
        due: What is still to go wrong, by prompt and call.
        files: Prompts by the beginning of their control picture's SHA-256.
        given: How often something went wrong, by prompt.
    """

    studio: WaveSpeedStudio
    app: ASGIApp
    due: dict[tuple[str, Call], Fault] = field(default_factory=dict[tuple[str, Call], Fault])
    files: dict[str, str] = field(default_factory=dict[str, str])
    given: Counter[str] = field(default_factory=Counter[str])

    def picture(self, prompt: str) -> bytes:
        """A control picture of a job's own, as PNG: a frame, and the number of the job as dots."""
        levels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        levels[64:-64, 64:-64], levels[68:-68, 68:-68] = 255, 0
        dots = f"{len(self.files):08b}"
        levels[0, : len(dots)] = np.array([[255 * int(dot)] for dot in dots], dtype=np.uint8)
        content = encode_png(levels)
        self.files[hashlib.sha256(content).hexdigest()[:16]] = prompt
        return content

    def charges(self, prompt: str) -> int:
        """How many submissions with this prompt were accepted."""
        return sum(task.form.prompt == prompt for task in self.studio.tasks.values())

    def place_of(self, path: str, fields: Mapping[str, object]) -> tuple[str, Call] | None:
        """The job and the call that a request belongs to, by its path and the fields of its body."""
        for call, pattern in _PATHS:
            if match := re.fullmatch(pattern, path):
                told = match.groupdict()
                file = told.get("file") or str(fields.get("filename")).partition(".")[0]
                task = self.studio.tasks.get(told.get("task", ""))
                return task.form.prompt if task else self.files.get(file) or str(fields.get("prompt")), call
        return None

    def is_slow(self, call: HttpCall) -> bool:
        """Whether a call that is about to be sent will meet an answer that takes too long."""
        place = self.place_of(urlsplit(call.url).path, call.json if isinstance(call.json, dict) else {})
        return place in self.due and self.due[place].slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, wrongly where that is due."""
        body = await Request(scope, receive).body()
        kept: list[Message] = []

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        async def keep(message: Message) -> None:
            kept.append(message)

        place = self.place_of(scope["path"], _FIELDS.validate_json(body) if body.startswith(b"{") else {})
        fault = self.due.get(place) if place else None
        if place is None or fault is None:
            await self.app(scope, again, send)
            return
        self.given[place[0]] += 1
        if not fault.lasts:
            del self.due[place]
        if fault.heard:
            await self.app(scope, again, keep)
        await fault.give(b"".join(message.get("body", b"") for message in kept), send, receive)


@contextmanager
def faulty() -> Generator[Faulty]:
    """Serve the vendor; its jobs are done when they are looked at for the first time."""
    listening = free_socket()
    studio = WaveSpeedStudio(origin=origin_of(listening), looks_until_done=1, balance=1000)
    vendor = Faulty(studio, wavespeed(studio))
    with running(vendor, listening):
        yield vendor


def hurry(vendor: Faulty, patch: pytest.MonkeyPatch) -> None:
    """Wait for slow answers a fraction of a second, and take fewer bytes; all else has the time that it always has."""
    unhurried = Connections.send

    async def send(self: Connections, provider: Provider, call: HttpCall, confirm: Confirm | None = None) -> HttpReply:
        seconds = HURRIED_SECONDS if vendor.is_slow(call) else call.timeout_seconds
        most = min(call.max_reply_bytes, MAX_JSON_BYTES)
        return await unhurried(self, provider, replace(call, timeout_seconds=seconds, max_reply_bytes=most), confirm)

    patch.setattr(Connections, "send", send)


def give_up_soon(patch: pytest.MonkeyPatch) -> None:
    """Try again after fractions of a second, and give up after a second or two what is given up after a minute or two.

    The proportions are kept; `tests/jobs/test_polling_endings.py` holds the seconds.
    """
    patch.setattr(polling, "UNKNOWN_SECONDS", 1.0)
    patch.setattr(polling, "LASTING_SECONDS", 1.5)
    patch.setattr(polling, "FIRST_BACKOFF_SECONDS", 0.02)
    patch.setattr(polling, "LONGEST_BACKOFF_SECONDS", 0.25)
