"""Track which answers reached their client.

The same request means the same job until an answer that names it has left this server whole. A job is marked as
delivered when its answer is handed to the transport, and the mark is taken back wherever the answer turns out not to
have arrived: the call was cancelled meanwhile, or a moment later by a client that had given up before it read the
answer; the connection closed before the whole answer was written. Taking back too much costs nothing: the client is
given the job that it has. Taking back too little would buy a picture twice.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import anyio
import mcp_types as types
from anyio.abc import ObjectSendStream
from anyio.lowlevel import checkpoint_if_cancelled
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage
from starlette.requests import Request

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.jobs.service import JobService

Context: TypeAlias = ServerRequestContext[dict[str, Any], Any]
ClientKey: TypeAlias = tuple[str | None, str | None]
"""Principal and session of a request over Streamable HTTP: all clients count alike, and the current protocol has no
sessions."""
ONLY_CLIENT: ClientKey = (None, None)
"""The only client of a connection that has answers of its own."""
_ANSWERS = "answers"
SCOPE_KEY = "controlnet.delivery"
"""The place of a delivery in the scope of its HTTP request, where the handler finds it."""
_KEPT_ANSWERS = 100
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AnswerDelivery:
    """One HTTP request and its answer.

    Attributes:
        principal: Whose request it is.
        jobs: The jobs that the answer is the first to name.
        closed: The client left before the whole answer was written.
    """

    principal: str
    jobs: list[str] = field(default_factory=list[str])
    closed: bool = False


@dataclass(frozen=True, slots=True)
class RecentAnswers:
    """The latest answers of a connection that named a job first: the job of each, by client and request."""

    jobs: dict[tuple[ClientKey, str], str] = field(default_factory=dict[tuple[ClientKey, str], str])

    @classmethod
    def of(cls, state: dict[str, Any]) -> "RecentAnswers":
        """The answers that belong to the state of a connection, or of all connections over Streamable HTTP."""
        return cast("RecentAnswers", state.setdefault(_ANSWERS, cls()))

    def put(self, client: ClientKey, request_id: str, job_id: str) -> None:
        """Remember an answer, and forget the oldest."""
        self.jobs[client, request_id] = job_id
        if len(self.jobs) > _KEPT_ANSWERS:
            del self.jobs[next(iter(self.jobs))]

    def pop(self, client: ClientKey, request_id: str) -> str | None:
        """The job that an answer named, if it was the first to; forgotten from here on."""
        return self.jobs.pop((client, request_id), None)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Marks jobs as delivered, and takes that back."""

    jobs: JobService

    async def mark_delivered(self, context: Context, job_id: str) -> None:
        """Mark a job as delivered: the answer to this request is the first to name it and is about to go out."""
        client, delivery = _client_of(context)
        if delivery is not None and delivery.closed:
            return
        try:
            await self._record(self.jobs.store.mark_delivered, job_id)
            await checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class():
            await self.mark_lost(job_id)
            raise
        RecentAnswers.of(context.lifespan_context).put(client, str(context.request_id), job_id)
        if delivery is not None:
            delivery.jobs.append(job_id)

    async def mark_lost(self, job_id: str | None) -> None:
        """Take the mark back: an answer that named a job did not arrive. Runs to its end in a cancelled task, too."""
        if job_id is not None:
            with anyio.CancelScope(shield=True):
                await self._record(self.jobs.store.mark_undelivered, job_id)

    async def mark_lines_lost(self, answers: RecentAnswers, lines: Sequence[str]) -> None:
        """Take the marks of all answers back that are among these unwritten lines of JSON."""
        for line in lines:
            await self.mark_lost(answers.pop(ONLY_CLIENT, str(json.loads(line).get("id"))))

    async def handle_late_cancel(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware: a client that cancels a call after its answer went out had not read it."""
        if ctx.method == "notifications/cancelled" and ctx.params is not None:
            client, _ = _client_of(ctx)
            request_id = str(ctx.params.get("requestId"))
            await self.mark_lost(RecentAnswers.of(ctx.lifespan_context).pop(client, request_id))
        return await call_next(ctx)

    async def _record(self, note: Callable[[str], Awaitable[None]], job_id: str) -> None:
        """Write to the job record; a failure goes to the log."""
        try:
            await note(job_id)
        except ControlNetError as error:
            _log.warning("It could not be recorded whether job %s was answered for: %s", job_id, error)


def _client_of(context: Context) -> tuple[ClientKey, AnswerDelivery | None]:
    """Client and delivery of a request over Streamable HTTP; a connection of another transport has one client."""
    request = context.request
    if not isinstance(request, Request) or SCOPE_KEY not in request.scope:
        return ONLY_CLIENT, None
    delivery: AnswerDelivery = request.scope[SCOPE_KEY]
    return (delivery.principal, request.headers.get("mcp-session-id")), delivery


@dataclass(frozen=True, slots=True)
class TrackedStream(ObjectSendStream[SessionMessage]):
    """The stream to a client; an answer that cannot be written is marked as lost."""

    stream: WriteStream[SessionMessage]
    answers: RecentAnswers
    deliveries: Deliveries

    async def send(self, item: SessionMessage) -> None:
        """Write one message."""
        try:
            await self.stream.send(item)
        except BaseException:
            if isinstance(item.message, types.JSONRPCResponse):
                await self.deliveries.mark_lost(self.answers.pop(ONLY_CLIENT, str(item.message.id)))
            raise

    async def aclose(self) -> None:
        """Write no more."""
        await self.stream.aclose()


async def serve_client(
    server: Server[dict[str, Any]],
    read: ReadStream[SessionMessage | Exception],
    write: WriteStream[SessionMessage],
    deliveries: Deliveries,
) -> RecentAnswers:
    """Serve one client until it leaves, in the era of the protocol that it opens with; gives the latest answers."""
    state: dict[str, Any] = {}
    answers = RecentAnswers.of(state)
    tracked = TrackedStream(write, answers, deliveries)
    options = server.create_initialization_options()
    await serve_dual_era_loop(server, read, tracked, lifespan_state=state, init_options=options)
    return answers
