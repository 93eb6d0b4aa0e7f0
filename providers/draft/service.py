"""The draft engine as an HTTP service inside this process: an httpx2 transport that draws in a worker thread."""

import hashlib
from collections.abc import Callable
from functools import partial

import httpx2
from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.draft.adapter import Ticket
from controlnet_mcp.providers.types import Fault, Output, RemoteTask, Report, Submission

_JSON = {"content-type": "application/json"}
_REFUSALS: dict[str | None, int] = {"payment_required": 402, "rate_limited": 429}
"""Simulations that refuse the submission itself, with the HTTP status that a provider would use."""
_FAULTS: dict[str | None, tuple[ErrorCode, str]] = {
    "moderated": ("moderated", "The simulated safety filter stopped this picture."),
    "failed": ("provider_failed", "The simulated engine failed."),
    "timed_out": ("timed_out", "The simulated engine did not finish in time."),
}


class DraftTransport(httpx2.AsyncBaseTransport):
    """Answers `POST /v1/jobs`, `GET /v1/report` and `GET /v1/images/{index}`.

    It keeps nothing: a job is its ticket, so asking again after a restart gives the same picture, byte for byte.
    """

    def __init__(self, blobs: BlobStore, clock: Callable[[], float]) -> None:
        """Take the blob store that holds control pictures, and a clock in seconds since the epoch."""
        self._blobs, self._clock = blobs, clock
        self._limiter = CapacityLimiter(2)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        path = request.url.path
        try:
            if path == "/v1/jobs":
                ticket = Ticket.model_validate_json(await request.aread())
                if status := _REFUSALS.get(ticket.simulate):
                    wait = {"retry-after": str(round(ticket.seconds))}
                    return httpx2.Response(status, headers=wait, text="Simulated refusal.")
                ticket = ticket.model_copy(update={"accepted_at": self._clock()})
                identity = hashlib.sha256(ticket.reference.encode()).hexdigest()[:24]
                task = RemoteTask(remote_id=f"draft_{identity}", state={"ticket": ticket.model_dump_json()})
                accepted = Submission(task=task, report=report_at(ticket, 0.0))
                return httpx2.Response(200, headers=_JSON, content=accepted.model_dump_json())
            ticket = Ticket.model_validate_json(request.url.params.get("ticket", ""))
        except ValidationError as error:
            return httpx2.Response(422, text=f"{error.error_count()} fields are wrong")
        if path == "/v1/report":
            report = report_at(ticket, self._clock() - ticket.accepted_at)
            return httpx2.Response(200, headers=_JSON, content=report.model_dump_json())
        work = partial(draw_ticket, ticket, int(path.rsplit("/", 1)[-1]), self._blobs)
        png = await to_thread.run_sync(work, limiter=self._limiter)
        return httpx2.Response(200, headers={"content-type": "image/png"}, content=png)


def report_at(ticket: Ticket, age_seconds: float) -> Report:
    """Say how a job stands at an age: at once done, or what its test mode asks for."""
    left = ticket.seconds - age_seconds
    if ticket.simulate is None or left <= 0:
        if ticket.simulate in _FAULTS:
            code, message = _FAULTS[ticket.simulate]
            hint = "This was asked for with provider_options.simulate; leave it out to get a picture."
            return Report(phase="failed", fault=Fault(code=code, message=message, hint=hint))
        outputs = tuple(Output(url=ticket.image_url(index)) for index in range(ticket.num_images))
        return Report(phase="succeeded", progress=1.0, outputs=outputs, seed=ticket.seed)
    if ticket.simulate == "queued":
        return Report(phase="queued", stage="waiting in line", eta_seconds=left)
    return Report(phase="running", stage="drawing", progress=age_seconds / ticket.seconds, eta_seconds=left)


def draw_ticket(ticket: Ticket, index: int, blobs: BlobStore) -> bytes:
    """Draw picture `index` of a job as PNG; its text chunks say that no AI made it (CPU work: call it in a thread)."""
    from controlnet_mcp.images.encode import encode_png
    from controlnet_mcp.providers.draft.render import draw

    pixels = draw(ticket, index, lambda name: blobs.pixels(name.removeprefix("blob:"), RESULT_LIMITS))
    texts = {"Software": "controlnet-mcp draft engine", "ai_generated": "false", "prompt": ticket.prompt}
    return encode_png(pixels, {**texts, "seed": str(ticket.seed + index)})
