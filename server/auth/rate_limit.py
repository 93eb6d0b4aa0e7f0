"""How many requests a caller may make: a bucket of tokens for each, refilled evenly; 429 with Retry-After beyond."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from controlnet_mcp.server.auth.principals import principal_of


@dataclass(slots=True)
class Bucket:
    """What a caller has left, and when it was counted."""

    left: float
    at: float


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Passes requests on to an application as long as their caller does not exceed the limit.

    Attributes:
        app: What is protected.
        per_minute: Requests a minute and caller; as many may come at once.
        clock: Seconds, of any epoch.
        buckets: One for each caller; there are as many as the operator lets in.
    """

    app: ASGIApp
    per_minute: int
    clock: Callable[[], float] = time.monotonic
    buckets: dict[str, Bucket] = field(default_factory=dict[str, Bucket])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say when to come back; who did not authenticate is this machine's user."""
        user = scope.get("user")
        wait_seconds = self._wait(principal_of(user.access_token)) if isinstance(user, AuthenticatedUser) else 0.0
        if wait_seconds <= 0:
            await self.app(scope, receive, send)
            return
        seconds = math.ceil(wait_seconds)
        said = f"More than {self.per_minute} requests a minute. Try again in {seconds} s; nothing was done."
        refusal = JSONResponse({"error": said}, status_code=429, headers={"retry-after": str(seconds)})
        await refusal(scope, receive, send)

    def _wait(self, principal: str) -> float:
        """Take one token out of a caller's bucket, or tell in how many seconds there is one."""
        now = self.clock()
        bucket = self.buckets.setdefault(principal, Bucket(self.per_minute, now))
        bucket.left = min(bucket.left + (now - bucket.at) * self.per_minute / 60, self.per_minute)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) * 60 / self.per_minute
        bucket.left -= 1
        return 0.0
