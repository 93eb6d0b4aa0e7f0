"""The one place that sends: drives an adapter's conversation over HTTP and fetches its results."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import httpx2
from anyio import to_thread

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.body import content_of, headers_of
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.wire import HttpCall, HttpReply, Steps

ResultT = TypeVar("ResultT")
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
MAX_REPLY_BYTES = 96 * 1024 * 1024
"""Room for four pictures as base64; a larger reply is cut off and refused."""
OK = 200


class ProviderRunner:
    """Sends for every provider; lives once per process, with one connection pool per provider.

    A call is sent exactly once: whether it may be sent again is the job's decision, not the connection's.
    """

    def __init__(
        self, blobs: BlobStore, fetch: Fetch, transports: Mapping[str, httpx2.AsyncBaseTransport] | None = None
    ) -> None:
        """Take the stores and ways that calls need.

        Args:
            blobs: Where picture data is read from when a call is sent.
            fetch: Downloads a picture from an untrusted URL, without credentials.
            transports: Engines that live in this process, by provider name.
        """
        self._blobs = blobs
        self._fetch = fetch
        self._transports = transports or {}
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def run(self, provider: Provider, steps: Steps[ResultT]) -> ResultT:
        """Hold one conversation to its end.

        Raises:
            ProviderError: The provider refused, failed or could not be reached; `delivery` says what is known.
        """
        try:
            call = next(steps)
            while True:
                call = steps.send(await self.send(provider, call))
        except StopIteration as end:
            result: ResultT = end.value
            return result

    async def send(self, provider: Provider, call: HttpCall) -> HttpReply:
        """Send one call as it is, once."""
        content = await to_thread.run_sync(partial(content_of, call, self._blobs))
        client = self._client(provider)
        request = client.build_request(
            call.method,
            call.url,
            params=dict(call.query) or None,
            headers=headers_of(call),
            content=content,
            timeout=call.timeout_seconds,
        )
        with _told_as_ours(provider.name):
            response = await client.send(request, stream=True)
            try:
                body = await _bounded_body(response, provider.name)
            finally:
                await response.aclose()
        return HttpReply(provider.name, response.status_code, dict(response.headers), body)

    async def download(self, provider: Provider, url: str) -> bytes:
        """Fetch a result: from the provider's own origin like any call, from elsewhere as an untrusted picture."""
        if _origin(url) != _origin(provider.base_url):
            return await self._fetch(url)
        reply = await self.send(provider, HttpCall("GET", url, timeout_seconds=120.0))
        if reply.status != OK:
            raise ProviderError(
                "provider_failed",
                f"{provider.name} answered HTTP {reply.status} when a finished picture was fetched.",
                provider=provider.name,
                retryable=True,
                provider_message=reply.text,
            )
        return reply.body

    async def aclose(self) -> None:
        """Close all connection pools."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _client(self, provider: Provider) -> httpx2.AsyncClient:
        if provider.name not in self._clients:
            self._clients[provider.name] = httpx2.AsyncClient(
                transport=self._transports.get(provider.name), follow_redirects=False
            )
        return self._clients[provider.name]


@asynccontextmanager
async def open_runner(
    blobs: BlobStore, fetch: Fetch, transports: Mapping[str, httpx2.AsyncBaseTransport]
) -> AsyncGenerator[ProviderRunner]:
    """Open a runner for the life of the process."""
    runner = ProviderRunner(blobs, fetch, transports)
    try:
        yield runner
    finally:
        await runner.aclose()


def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port


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
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol) as error:
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
