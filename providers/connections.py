"""The one place where provider calls leave: a connection pool per provider, each call sent exactly once.

Redirects are never followed: a key must not travel to where a reply points. Errors of the HTTP library become ours
here and nowhere else.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import httpx2
from anyio import to_thread

from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.body import PictureSource, content_of, headers_of
from controlnet_mcp.providers.errors import ProviderError, told_with
from controlnet_mcp.providers.secrecy import Redactor
from controlnet_mcp.providers.wire import HttpCall, HttpReply

MAX_REPLY_BYTES = 96 * 1024 * 1024
"""Room for four pictures as base64; a larger reply is cut off and refused."""
_LIMITS = httpx2.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=4.0)
"""Enough for hundreds of jobs, whose requests are short. The pool looks at every idle connection for every request, so
few are kept, and given up before common servers do (5 seconds in Node.js and uvicorn), so that a paid submission is not
sent into a connection that is just being closed."""
_NEVER_LEFT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)


Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Asked at the last moment before a call leaves; raises when it must not."""


class Connections:
    """Sends calls as they are, once; lives once per process."""

    def __init__(self, source: PictureSource, transports: Mapping[str, httpx2.AsyncBaseTransport]) -> None:
        """Take where picture data comes from, and engines that live in this process by provider name."""
        self._source = source
        self._transports = transports
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self._redactors: dict[str, Redactor] = {}

    async def send(self, provider: Provider, call: HttpCall, confirm: Confirm | None = None) -> HttpReply:
        """Send one call as it is, once; `confirm` is asked when everything is ready, and stops it by raising."""
        content = None
        if call.json is not None or call.content is not None:
            with told_with(provider.name, "not_sent"):
                content = await to_thread.run_sync(partial(content_of, call, self._source))
        client = self._client(provider)
        request = client.build_request(
            call.method,
            call.url,
            params=dict(call.query) or None,
            headers=headers_of(call),
            content=content,
            timeout=call.timeout_seconds,
        )
        if confirm is not None:
            await confirm()
        with _told_as_ours(provider.name):
            response = await client.send(request, stream=True)
            try:
                body = await _bounded_body(response, provider.name)
            finally:
                await response.aclose()
        redactor = self._redactor(provider)
        headers = {name: redactor.text(value) for name, value in response.headers.items()}
        return HttpReply(provider.name, response.status_code, headers, redactor.body(body))

    async def aclose(self) -> None:
        """Close all connection pools."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _redactor(self, provider: Provider) -> Redactor:
        """A reply that repeats our key, as some vendors' error messages do, must not carry it any further."""
        if provider.name not in self._redactors:
            self._redactors[provider.name] = Redactor(provider.secrets)
        return self._redactors[provider.name]

    def _client(self, provider: Provider) -> httpx2.AsyncClient:
        if provider.name not in self._clients:
            self._clients[provider.name] = httpx2.AsyncClient(
                transport=self._transports.get(provider.name), follow_redirects=False, limits=_LIMITS
            )
        return self._clients[provider.name]


async def _bounded_body(response: httpx2.Response, provider: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise ProviderError(
                "provider_failed",
                f"{provider} sent more than {MAX_REPLY_BYTES // 2**20} MiB.",
                provider=provider,
                delivery="unknown",
            )
    return bytes(body)


@contextmanager
def _told_as_ours(provider: str) -> Generator[None]:
    """Map the HTTP library's errors to ours; what never left is told apart from what may have been accepted."""
    try:
        yield
    except _NEVER_LEFT as error:
        raise ProviderError(
            "provider_failed",
            f"{provider} could not be reached ({type(error).__name__}); nothing was sent.",
            provider=provider,
            hint="Check the connection and the provider's base URL, then try again.",
            retryable=True,
            delivery="not_sent",
        ) from error
    except httpx2.TimeoutException as error:
        raise ProviderError(
            "timed_out",
            f"{provider} did not answer in time.",
            provider=provider,
            hint="It may still have accepted the request.",
            retryable=True,
            delivery="unknown",
        ) from error
    except httpx2.HTTPError as error:
        raise ProviderError(
            "provider_failed",
            f"The connection to {provider} broke ({type(error).__name__}).",
            provider=provider,
            hint="It may still have accepted the request.",
            retryable=True,
            delivery="unknown",
        ) from error
