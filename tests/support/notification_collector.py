"""Collecting notifications of changes of jobs, as a client of either era does."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ResourceUpdated

from controlnet_mcp.server.transports.shutdown import background
from tests.support.server_process import Era


@dataclass(slots=True)
class NotificationCollector:
    """Collects updates, with the moments at which they came.

    Attributes:
        heard: URIs and seconds of the event loop's clock, in order.
    """

    heard: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    _more: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, message: IncomingMessage) -> None:
        """Take a notification of an earlier revision; the current one has streams for that."""
        if isinstance(message, types.ResourceUpdatedNotification):
            self.hear(message.params.uri)

    def hear(self, uri: str) -> None:
        """Take an update."""
        self.heard.append((uri, anyio.current_time()))
        self._more.set()
        self._more = anyio.Event()

    async def more_than(self, count: int) -> None:
        """Wait until so many updates and another one were heard."""
        await self.until(lambda: len(self.heard) > count)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what was heard."""
        while not holds():
            await self._more.wait()


@asynccontextmanager
async def listening(client: Client, era: Era, collector: NotificationCollector, *uris: str) -> AsyncGenerator[None]:
    """Follow resources for the length of the block."""
    if era == "auto":
        async with client.listen(resource_subscriptions=uris) as stream, background() as tasks:
            assert tuple(stream.honored.resource_subscriptions or ()) == uris

            async def hear() -> None:
                async for event in stream:
                    assert isinstance(event, ResourceUpdated)
                    collector.hear(event.uri)

            tasks.start_soon(hear)
            yield
    else:
        for uri in uris:
            wanted = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await client.session.send_request(wanted, types.EmptyResult)
        yield
        for uri in uris:
            unwanted = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await client.session.send_request(unwanted, types.EmptyResult)
