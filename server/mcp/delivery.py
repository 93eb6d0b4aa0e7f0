"""Which answers went out: the same wish means the same job until an answer that names it has left this server whole.

A job is marked as delivered when its answer is handed to the transport, and the mark is taken back wherever the answer
turns out not to have arrived: the call was cancelled meanwhile, or a moment later by a client that had given up before
it read the answer; the connection closed before the whole answer was written. Taking back too much costs nothing: the
client is given the job that it has. Taking back too little would buy a picture twice.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from pydantic import BaseModel
from starlette.requests import Request

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.jobs.service import JobService

Sender: TypeAlias = tuple[str | None, str | None]
"""Principal and session of a request over Streamable HTTP: all clients count alike, and the current protocol has no
sessions."""
ALONE: Sender = (None, None)
"""The only client of a connection that has answers of its own."""
_ANSWERS = "answers"
_POSTING = "controlnet.posting"
_KEPT_ANSWERS = 100
_log = logging.getLogger(__name__)


class _Envelope(BaseModel):
    """What is needed of a JSON-RPC message."""

    id: int | str | None = None


@dataclass(slots=True)
class Delivery:
    """One HTTP request and its answer.

    Attributes:
        principal: Whose request it is.
        jobs: The jobs that the answer is the first to name.
        closed: Whether the client left before the whole answer was written.
    """

    principal: str
    jobs: list[str] = field(default_factory=list[str])
    closed: bool = False

    def attach(self, scope: MutableMapping[str, Any]) -> None:
        """Go with an HTTP request to whoever answers it."""
        scope[_POSTING] = self


@dataclass(frozen=True, slots=True)
class Answers:
    """The latest answers of a connection that named a job first: the job of each, by sender and request."""

    jobs: dict[tuple[Sender, str], str] = field(default_factory=dict[tuple[Sender, str], str])

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Answers":
        """The answers that belong to the state of a connection, or of all connections over Streamable HTTP."""
        return cast("Answers", state.setdefault(_ANSWERS, cls()))

    def put(self, sender: Sender, request_id: str, job_id: str) -> None:
        """Remember an answer, and forget the oldest."""
        self.jobs[sender, request_id] = job_id
        if len(self.jobs) > _KEPT_ANSWERS:
            del self.jobs[next(iter(self.jobs))]

    def pop(self, sender: Sender, request_id: str) -> str | None:
        """The job that an answer named, if it was the first to; forgotten from here on."""
        return self.jobs.pop((sender, request_id), None)


@dataclass(frozen=True, slots=True)
class Receipts:
    """Marks jobs as delivered, and takes that back."""

    desk: JobService

    async def answered(self, context: ServerRequestContext[dict[str, Any], Any], job_id: str) -> None:
        """Note that the answer to a request is about to go out and names a job first."""
        sender, posting = _way_of(context)
        if posting is not None and posting.closed:
            return
        try:
            await self._noted(self.desk.delivered, job_id)
            await checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class():
            await self.lost(job_id)
            raise
        Answers.of(context.lifespan_context).put(sender, str(context.request_id), job_id)
        if posting is not None:
            posting.jobs.append(job_id)

    async def lost(self, job_id: str | None) -> None:
        """Note that an answer that named a job did not arrive; also on behalf of a task that is being cancelled."""
        if job_id is not None:
            with anyio.CancelScope(shield=True):
                await self._noted(self.desk.undelivered, job_id)

    async def lost_lines(self, answers: Answers, lines: Sequence[str]) -> None:
        """Note that lines of JSON could not be written; answers that named jobs may be among them."""
        for line in lines:
            await self.lost(answers.pop(ALONE, str(_Envelope.model_validate_json(line).id)))

    async def heed_late_cancels(
        self, ctx: ServerRequestContext[dict[str, Any], Any], call_next: CallNext
    ) -> HandlerResult:
        """Middleware: a client that cancels a call after its answer went out had not read it."""
        if ctx.method == "notifications/cancelled" and ctx.params is not None:
            sender, _ = _way_of(ctx)
            request_id = str(ctx.params.get("requestId"))
            await self.lost(Answers.of(ctx.lifespan_context).pop(sender, request_id))
        return await call_next(ctx)

    async def _noted(self, note: Callable[[str], Awaitable[None]], job_id: str) -> None:
        """Write it down; where that fails, the log tells."""
        try:
            await note(job_id)
        except ControlNetError as error:
            _log.warning("It could not be noted whether job %s was answered for: %s", job_id, error)


def _way_of(context: ServerRequestContext[dict[str, Any], Any]) -> tuple[Sender, Delivery | None]:
    """Who sent a request over Streamable HTTP, and its posting; a connection of other transports has one client."""
    request = context.request
    posting: Delivery | None = request.scope.get(_POSTING) if isinstance(request, Request) else None
    if not isinstance(request, Request) or posting is None:
        return ALONE, None
    return (posting.principal, request.headers.get("mcp-session-id")), posting
