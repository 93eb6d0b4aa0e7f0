"""The draft engine as an HTTP service inside this process: an httpx2 transport that draws in a worker thread."""

import hashlib
from collections.abc import Callable
from functools import partial

import httpx2
from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.draft.simulate import REFUSALS, report_at
from controlnet_mcp.providers.draft.ticket import Ticket
from controlnet_mcp.providers.types import RemoteTask, Submission

_JSON = {"content-type": "application/json"}


class DraftTransport(httpx2.AsyncBaseTransport):
    """Answers `POST /v1/jobs`, `GET /v1/report` and `GET /v1/images/{index}`.

    It keeps nothing: a job is its ticket, so asking again after a restart gives the same picture, byte for byte.
    """

    def __init__(self, blobs: BlobStore, clock: Callable[[], float]) -> None:
        """Take the blob store that holds control pictures, and a clock in seconds since the epoch."""
        self._blobs = blobs
        self._clock = clock
        self._limiter: CapacityLimiter | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        path = request.url.path
        try:
            if path == "/v1/jobs":
                return self._accept(await request.aread())
            ticket = Ticket.model_validate_json(request.url.params.get("ticket", ""))
        except ValidationError as error:
            return httpx2.Response(422, text=f"{error.error_count()} fields are wrong")
        if path == "/v1/report":
            report = report_at(ticket, self._clock() - ticket.accepted_at)
            return httpx2.Response(200, headers=_JSON, content=report.model_dump_json())
        return await self._draw(ticket, int(path.rsplit("/", 1)[-1]))

    def _accept(self, body: bytes) -> httpx2.Response:
        ticket = Ticket.model_validate_json(body).model_copy(update={"accepted_at": self._clock()})
        status = REFUSALS.get(ticket.simulate or "")
        if status:
            headers = {"retry-after": str(round(ticket.seconds))}
            return httpx2.Response(status, headers=headers, text="Simulated refusal.")
        identity = hashlib.sha256(ticket.reference.encode()).hexdigest()[:24]
        task = RemoteTask(remote_id=f"draft_{identity}", state={"ticket": ticket.model_dump_json()})
        accepted = Submission(task=task, report=report_at(ticket, 0.0))
        return httpx2.Response(200, headers=_JSON, content=accepted.model_dump_json())

    async def _draw(self, ticket: Ticket, index: int) -> httpx2.Response:
        if self._limiter is None:
            self._limiter = CapacityLimiter(2)
        png = await to_thread.run_sync(partial(draw_ticket, ticket, index, self._blobs), limiter=self._limiter)
        return httpx2.Response(200, headers={"content-type": "image/png"}, content=png)


def draw_ticket(ticket: Ticket, index: int, blobs: BlobStore) -> bytes:
    """Draw picture `index` of a job as PNG; its text chunks say that no AI made it (CPU work: call it in a thread)."""
    from controlnet_mcp.images.encode import encode_png
    from controlnet_mcp.providers.draft.drawing import brief_of
    from controlnet_mcp.providers.draft.render import render

    pixels = render(brief_of(ticket, index, blobs))
    return encode_png(
        pixels,
        {
            "Software": "controlnet-mcp draft engine",
            "ai_generated": "false",
            "prompt": ticket.prompt,
            "seed": str(ticket.seed + index),
        },
    )
