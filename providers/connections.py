"""The connections to providers: a pool for each, each call sent exactly once, each reply bounded.

A URL has an origin that the operator configured, or is the word of a reply, which nobody has to believe. A call to a
configured origin may go to a private address, through the operator's proxy and with a key. Any other place is dialled
through the guard that also stands before pictures of strangers, and a call that holds a secret never leaves for it.

Redirects are never followed: a key must not travel to where a reply points. Bodies are bounded in bytes and speed, and
inflated within the same bound. Errors of the HTTP library become ours here and nowhere else.
"""

import zlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TypeAlias

import anyio
import httpx2
from anyio import to_thread
from anyio.lowlevel import checkpoint
from pydantic import SecretStr

from controlnet_mcp.foundation.errors import ErrorCode, ImageError
from controlnet_mcp.foundation.limits import DIRECT, Network
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.images.download import (
    MIN_BYTES_PER_SECOND,
    TooLongError,
    TooShortError,
    TooSlowError,
    read_body,
)
from controlnet_mcp.images.ssrf_guard import guarded_client, is_trusted
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError, told_with
from controlnet_mcp.providers.http import HttpCall, HttpReply, PictureData, holds
from controlnet_mcp.providers.placeholders import PictureSource, content_of, headers_of
from controlnet_mcp.providers.refusals import LATER

_HTTPS_PORT, _HTTP_PORT = 443, 80


def is_configured(provider: Provider, url: str) -> bool:
    """Tell whether a URL has an origin that the operator configured for the provider; text that is no URL has none."""
    try:
        return _origin(url) in map(_origin, (provider.base_url, *provider.further_urls))
    except httpx2.InvalidURL:
        return False


def check_foreign(provider: Provider, call: HttpCall, trusted_hosts: frozenset[str]) -> None:
    """Refuse a call to a place that a reply named if it is not https, or would carry a secret there.

    Raises:
        ProviderError: Delivery `not_sent`.
    """
    try:
        url = httpx2.URL(call.url)
    except httpx2.InvalidURL as error:
        raise _refused(provider, "is no URL") from error
    port = url.port or (_HTTPS_PORT if url.scheme == "https" else _HTTP_PORT)
    if url.scheme != "https" and not (url.scheme == "http" and is_trusted(url.host, port, trusted_hosts)):
        raise _refused(provider, "is not https")
    if url.userinfo:
        raise _refused(provider, "contains a user name or password")
    if any(isinstance(value, SecretStr) for value in call.headers.values()) or holds(call.json, SecretStr):
        raise _refused(provider, "would be given a key")


@lru_cache(maxsize=1024)  # a job is looked at under one URL again and again
def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def _refused(provider: Provider, why: str) -> ProviderError:
    return ProviderError(
        "provider_failed",
        f"{provider.title} named an address outside its own that {why}; nothing was sent there.",
        provider=provider.name,
        hint="Check the provider's base URL. Try again later, or use another provider.",
        delivery="not_sent",
    )


_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})


async def body_of(response: httpx2.Response, call: HttpCall, provider: str, title: str) -> bytes:
    """The whole body.

    No compression is asked for, yet some proxies compress all the same, and a paid answer must not be lost to that.

    Raises:
        ProviderError: Delivery `unknown`: it is too long, too slow or cut off, or compressed in a way that cannot be
            bounded.
    """
    most = call.max_reply_bytes
    if response.is_stream_consumed:  # an engine in this process answers whole
        parts = response.aiter_bytes()
        encoding = "identity"
    else:
        parts = response.aiter_raw()
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
    try:
        body = await read_body(parts, max_bytes=most, window_seconds=call.timeout_seconds)
        return body if encoding in {"identity", ""} else await to_thread.run_sync(_inflated, body, encoding, most)
    except (TooLongError, TooShortError, TooSlowError, zlib.error) as error:
        match error:
            case TooLongError():
                what = f"more than {most // 2**20} MiB"
            case TooShortError():
                what = "less than it announced: the connection broke"
            case TooSlowError():
                what = f"less than {MIN_BYTES_PER_SECOND:,} bytes per second"
            case _:
                what = f"a body that is not {encoding[:20]}, as it claims"
        raise ProviderError(
            "provider_failed",
            f"{title} sent {what}.",
            provider=provider,
            hint="Check the provider's base URL and proxies in between.",
            retryable=isinstance(error, TooShortError | TooSlowError),
            delivery="unknown",
        ) from error


def _inflated(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its compression, never more than `most` bytes of it in memory."""
    if encoding not in _INFLATED:
        raise zlib.error
    inflating = zlib.decompressobj(_GZIP_OR_ZLIB)
    content = inflating.decompress(body, most)
    if inflating.unconsumed_tail:
        raise TooLongError
    if not inflating.eof:
        raise zlib.error
    return content


_LIMITS = httpx2.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=4.0)
"""Enough for hundreds of jobs, whose requests are short. The pool looks at every idle connection for every request, so
few are kept, and given up before common servers do (5 seconds in Node.js and uvicorn), so that a paid submission is not
sent into a connection that is just being closed."""
_PLAIN = {"accept-encoding": "identity"}
_SLOWEST_UPLOAD_BYTES_PER_SECOND = 16 * 1024
_NEVER_LEFT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,  # it opened no tunnel
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Asked at the last moment before a call leaves; raises when it must not."""


class Connections:
    """Sends calls as they are, once; lives once per process."""

    def __init__(
        self,
        source: PictureSource,
        transports: Mapping[str, httpx2.AsyncBaseTransport],
        trusted_hosts: frozenset[str] = frozenset(),
        network: Network = DIRECT,
    ) -> None:
        """Take what calls need; the sender, which passes it on, says what it is."""
        self._source = source
        self._turn = anyio.Lock()
        self._transports = transports
        self._trusted_hosts = trusted_hosts
        self._network = network
        self._clients: dict[tuple[str, bool], httpx2.AsyncClient] = {}
        self._redactors: dict[str, Redactor] = {}

    async def send(self, provider: Provider, call: HttpCall, confirm: Confirm | None = None) -> HttpReply:
        """Send one call as it is, once; `confirm` is asked when everything is ready, and stops it by raising."""
        async with self._turn:  # one in each round of the event loop: many jobs that are due at once block nobody else
            await checkpoint()
        with told_with(provider.name, "not_sent"):
            if holds([call.json, call.content], PictureData):
                content = await to_thread.run_sync(partial(content_of, call, self._source))
            else:
                content = content_of(call, self._source)
            client = await self._client(provider, call)
            try:  # part of it may come from a reply, and be no URL or no header at all
                request = client.build_request(
                    call.method,
                    call.url,
                    params=dict(call.query) or None,
                    headers=headers_of(call),
                    content=content,
                    timeout=call.timeout_seconds,
                )
            except (httpx2.InvalidURL, ValueError) as error:
                raise ProviderError(
                    "provider_failed",
                    f"{provider.title}: the address or a header of the request is malformed.",
                    provider=provider.name,
                    hint="Check the provider's base URL.",
                    delivery="not_sent",
                ) from error
        if confirm is not None:
            await confirm()
        with _told_as_ours(provider):
            # A timeout counts for each read and write alone; this one is for all, and leaves a large body its time.
            patience = call.timeout_seconds + len(content or b"") / _SLOWEST_UPLOAD_BYTES_PER_SECOND
            with anyio.fail_after(patience):
                response = await client.send(request, stream=True)
            try:
                body = await body_of(response, call, provider.name, provider.title)
            finally:
                await response.aclose()
        if provider.name not in self._redactors:
            self._redactors[provider.name] = Redactor(provider.secrets)
        # A reply that repeats our key, as some vendors' error messages do, must not carry it any further.
        redactor = self._redactors[provider.name]
        headers = {name: redactor.text(value) for name, value in response.headers.items()}
        return HttpReply(provider.name, response.status_code, headers, redactor.body(body), provider.title)

    async def aclose(self) -> None:
        """Close all connection pools."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _client(self, provider: Provider, call: HttpCall) -> httpx2.AsyncClient:
        """The pool for the provider's own origins, or the guarded one for a place that a reply named."""
        own = is_configured(provider, call.url)
        if not own:
            check_foreign(provider, call, self._trusted_hosts)
        if (provider.name, own) not in self._clients:
            transport = self._transports.get(provider.name)
            try:
                self._clients[provider.name, own] = (
                    await guarded_client(self._trusted_hosts, network=self._network)
                    if transport is None and not own
                    else httpx2.AsyncClient(transport=transport, limits=_LIMITS, headers=_PLAIN)
                )
            except (ImportError, ValueError, httpx2.InvalidURL) as error:
                raise ProviderError(
                    "not_configured",
                    f"{provider.title} was not asked: the proxy that the environment names cannot be used.",
                    provider=provider.name,
                    hint="The operator has to make HTTPS_PROXY, ALL_PROXY and their like http:// or socks5:// URLs, or "
                    "take them away.",
                    delivery="not_sent",
                ) from error
        return self._clients[provider.name, own]


@contextmanager
def _told_as_ours(provider: Provider) -> Generator[None]:
    """Map the HTTP library's errors to ours; what never left is told apart from what may have been accepted."""
    try:
        yield
    except (ImageError, TimeoutError, httpx2.HTTPError) as error:
        title, kind = provider.title, type(error).__name__
        code: ErrorCode = "provider_failed"
        hint = "Check the connection and the provider's base URL, then try again."
        if isinstance(error, ImageError):  # the guard before places that a reply named
            what = f"{title} named an address that may not be connected to; nothing was sent there: {error.message}"
            hint = error.hint
        elif isinstance(error, _NEVER_LEFT):
            way = " through the proxy that the environment names" if isinstance(error, httpx2.ProxyError) else ""
            what = f"{title} could not be reached{way} ({kind}); nothing was sent."
        elif isinstance(error, TimeoutError | httpx2.TimeoutException):
            code, what, hint = "timed_out", f"{title} did not answer in time.", LATER
        else:
            what = f"The connection to {title} broke ({kind})."
        raise ProviderError(
            code,
            what,
            provider=provider.name,
            hint=hint,
            retryable=not isinstance(error, ImageError),
            delivery="not_sent" if isinstance(error, (ImageError, *_NEVER_LEFT)) else "unknown",
        ) from error
