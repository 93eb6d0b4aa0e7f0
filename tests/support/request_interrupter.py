"""Striking a client at an exact moment of one of its requests, from the server's side."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Moment: TypeAlias = Literal["arrived", "answered", "halfway", "delivered"]
"""Before a request is looked at; when it was acted on but not answered; in the middle of the answer; right after it."""


@dataclass(slots=True)
class RequestInterrupter:
    """An application in front of a simulator that strikes once.

    Attributes:
        app: The simulator.
        method: Of the request to wait for.
        path: What its path has in it.
        moment: When to strike.
        strike: What to do then.
        struck: Set once it happened.
    """

    app: ASGIApp
    method: str
    path: str
    moment: Moment
    strike: Callable[[], None] = lambda: None
    struck: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; the one that is waited for is the client's last, or the last before it falls asleep."""
        if self.struck.is_set() or scope.get("method") != self.method or self.path not in scope["path"]:
            await self.app(scope, receive, send)
            return
        self.struck.set()
        if self.moment == "arrived":
            self.strike()
            await receive()
            await self._refuse(send)
            return
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        await self._hand_over(messages, send)

    async def _hand_over(self, messages: list[Message], send: Send) -> None:
        if self.moment == "answered":
            self.strike()
        for message in messages:
            body = message.get("body", b"")
            if self.moment == "halfway" and body:
                await send({**message, "body": body[: len(body) // 2], "more_body": True})
                self.strike()
                await send({**message, "body": body[len(body) // 2 :]})
            else:
                await send(message)
        if self.moment == "delivered":
            self.strike()

    async def _refuse(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})
