"""A service that answers for its pictures with redirects, as one does that moves its files or hands them to a CDN."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOP = "hop"


@dataclass(slots=True)
class Redirecting:
    """Stands before a simulator; each picture is found after some redirects, everything else at once.

    Attributes:
        to: The origins that the redirects lead to, in order; empty for the service's own.
        status: Of the redirects.
        headers: What was sent with each request for a picture.
    """

    app: ASGIApp
    to: tuple[str, ...] = ("",)
    status: int = 302
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a picture is replaced by the next redirect until there is none left."""
        told: list[Message] = []

        async def keep(message: Message) -> None:
            told.append(message)

        await self.app(scope, receive, keep)
        if not Headers(raw=told[0].get("headers", [])).get("content-type", "").startswith("image/"):
            for message in told:
                await send(message)
            return
        self.headers.append(dict(Headers(scope=scope)))
        query = scope["query_string"].decode()
        hop = int(parse_qs(query).get(_HOP, ["0"])[-1])
        if hop == len(self.to):
            for message in told:
                await send(message)
            return
        location = f"{self.to[hop]}{scope['path']}?{query}&{_HOP}={hop + 1}"
        await RedirectResponse(location, self.status)(scope, receive, send)
