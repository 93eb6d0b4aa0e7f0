"""Updates of `controlnet://jobs/{job_id}`, for listeners of the current protocol and subscribers of earlier ones.

A listener's stream is its subscription (`subscriptions/listen`, 2026-07-28); a subscriber's lives as long as its
connection (`resources/subscribe`, until 2025-11-25). Both follow jobs through the subscriptions of the job
layer, which look at a job once for all of them and only as long as there is a follower.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, cast

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.service import Caller, JobService
from controlnet_mcp.server.mcp.delivery import Context

SPACING_SECONDS = 0.5
"""A job's updates are told at most twice a second; its end always is."""
MOST_STREAMS = 256
"""Streams of listeners that are open at the same time, of all clients together."""
MOST_JOBS = 100
"""Jobs that one stream or one connection may follow."""
_PREFIX = "controlnet://jobs/"
_STATE = "subscribed jobs"

_Tell: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class JobUpdates:
    """Subscriptions of all clients to jobs; lives once per process.

    Attributes:
        jobs: Finds and watches jobs.
        tasks: Tells of changes, because a subscriber's request is over long before its subscription.
        following: Number of subscriptions, one for each job of each stream or connection.
    """

    jobs: JobService
    tasks: TaskGroup
    following: int = 0
    _streams: set[ListenHandler] = field(default_factory=set[ListenHandler])

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams, caller: Caller
    ) -> types.SubscriptionsListenResult:
        """Serve one stream until its client leaves or this server ends; only jobs are ever told of.

        Raises:
            MCPError: Invalid parameters, for a job that the caller does not have; the same as for one that never was.
        """
        uris = tuple(dict.fromkeys(params.notifications.resource_subscriptions or ()))
        _check_room(len(uris), MOST_JOBS)
        _check_room(len(self._streams) + 1, MOST_STREAMS)
        jobs = {uri: await self._job(uri, caller) for uri in uris}
        bus = InMemorySubscriptionBus()
        handler = ListenHandler(bus)
        wanted = types.SubscriptionFilter(resource_subscriptions=list(uris) or None)
        scopes = [self._follow(job, partial(bus.publish, ResourceUpdated(uri))) for uri, job in jobs.items()]
        self._streams.add(handler)
        try:
            return await handler(context, params.model_copy(update={"notifications": wanted}))
        finally:
            self._streams.discard(handler)
            _cancel_all(scopes)

    async def subscribe(
        self, context: Context, params: types.SubscribeRequestParams, caller: Caller
    ) -> types.EmptyResult:
        """Tell a connection of a job's changes until it unsubscribes or closes.

        Raises:
            MCPError: As `listen`.
        """
        job = await self._job(params.uri, caller)
        subscribed = _subscriptions_of(context)
        earlier = subscribed.pop(params.uri, None)
        _check_room(len(subscribed) + 1, MOST_JOBS)
        if earlier is not None:
            earlier.cancel()
        subscribed[params.uri] = self._follow(job, partial(context.session.send_resource_updated, params.uri))
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell a connection no longer; what was never subscribed to is unsubscribed from already."""
        scope = _subscriptions_of(context).pop(params.uri, None)
        if scope is not None:
            scope.cancel()
        return types.EmptyResult()

    def close(self) -> None:
        """End all streams as the protocol wants it: clients hear that it was meant."""
        for handler in tuple(self._streams):
            handler.close()

    def _follow(self, job: JobRecord, tell: _Tell) -> anyio.CancelScope:
        """Tell of a job's changes until the scope is cancelled."""
        scope = anyio.CancelScope()

        async def told(_job: JobRecord) -> None:
            await tell()

        async def announce() -> None:
            try:
                with scope:
                    await self.jobs.subscriptions.announce(job, told, SPACING_SECONDS)
            finally:
                self.following -= 1

        self.following += 1
        self.tasks.start_soon(announce)
        return scope

    async def _job(self, uri: str, caller: Caller) -> JobRecord:
        job_id = uri.removeprefix(_PREFIX)
        try:
            if job_id == uri or "/" in job_id:
                said = f"There is no job {shortened(uri)!r}, and only jobs can be followed."
                raise RequestError(
                    "invalid_request", said, hint=f"Their URIs are {_PREFIX}JOB, and list_jobs shows them."
                )
            return await self.jobs.get(job_id, caller)
        except ControlNetError as error:
            raise MCPError(code=types.INVALID_PARAMS, message=str(error), data={"uri": uri}) from error


def _check_room(count: int, most: int) -> None:
    if count > most:
        raise MCPError(code=types.INVALID_PARAMS, message=f"At most {most} subscriptions are possible at a time.")


def _cancel_all(scopes: list[anyio.CancelScope]) -> None:
    for scope in scopes:
        scope.cancel()


def _subscriptions_of(context: Context) -> dict[str, anyio.CancelScope]:
    """Subscriptions of the connection of a request; they end with the connection.

    The SDK means handlers to use `Connection.state` and `exit_stack`, and hands it out by no public name yet.
    """
    connection: Connection = context.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if _STATE not in connection.state:
        fresh: dict[str, anyio.CancelScope] = {}
        connection.state[_STATE] = fresh
        connection.exit_stack.callback(lambda: _cancel_all(list(fresh.values())))
    return cast("dict[str, anyio.CancelScope]", connection.state[_STATE])
