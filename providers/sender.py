"""The one place that sends: holds an adapter's conversations over HTTP, uploads pictures once, downloads results."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import httpx2
from anyio import CapacityLimiter, to_thread

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.foundation.limits import DIRECT, RESULT_LIMITS, Network
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError, told_with, undelivered
from controlnet_mcp.providers.http import HttpCall, Steps
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.types import Output, RemoteTask, Report, ResolvedRequest, Submission

if TYPE_CHECKING:
    from controlnet_mcp.providers.connections import Confirm, Connections


ResultT = TypeVar("ResultT")
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
OK = 200
_GONE = frozenset({404, 410})
_ABOUT_THE_KEY = frozenset({401, 402, 403})
_PASSING = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses that say nothing about the result itself."""
_DOWNLOADS_AT_ONCE = 8
"""Results of one provider that are downloaded at the same time."""
_DECODED_AT_ONCE = 2
"""Results that are decoded at the same time: every thread that ever did it keeps some megabytes."""


class Sender:
    """Sends for every provider; lives once per process, with one connection pool per provider.

    A call is sent exactly once: whether it may be sent again is the job's decision, not the connection's.
    """

    def __init__(
        self,
        source: PictureSource,
        fetch: Fetch,
        transports: Mapping[str, httpx2.AsyncBaseTransport] | None = None,
        trusted_hosts: frozenset[str] = frozenset(),
        network: Network = DIRECT,
    ) -> None:
        """Take the stores and ways that calls need.

        `fetch` downloads a picture from an untrusted URL, without credentials; `transports` are engines that live in
        this process, by provider name; a reply may name `trusted_hosts` although they are private or speak plain http,
        and all others are reached as the network says.
        """
        self._source = source
        self._fetch = fetch
        self._transports = transports or {}
        self._trusted_hosts = trusted_hosts
        self._network = network
        self._uploads: dict[tuple[str, str], tuple[str, float]] = {}
        """Provider and content to the provider's name of the picture, and until when it holds (monotonic seconds)."""
        self._download_turns: dict[str, CapacityLimiter] = {}
        self.decoding = CapacityLimiter(_DECODED_AT_ONCE)

    @cached_property
    def _connections(self) -> "Connections":
        """The connection pools; HTTP is imported with the first call, so that a start does not wait for it."""
        from controlnet_mcp.providers.connections import Connections

        return Connections(self._source, self._transports, self._trusted_hosts, self._network)

    async def prepare(self, provider: Provider, request: ResolvedRequest, reference: str) -> HttpCall:
        """Upload what has to be uploaded, which costs nothing, and build the one call that can cost money.

        Raises:
            ProviderError: Not sent.
        """
        with told_with(provider.name, "not_sent"):
            uploaded: dict[str, str] = {}
            for picture in provider.uploads(request):
                key = (provider.name, picture.sha256)
                name, until = self._uploads.get(key, ("", 0.0))
                if until <= time.monotonic():
                    name = await self.run(provider, provider.upload(picture))
                    self._uploads[key] = name, time.monotonic() + provider.capabilities.upload_lifetime_seconds
                uploaded[picture.sha256] = name
            return provider.build(request, reference, uploaded)

    async def submit(self, provider: Provider, call: HttpCall, confirm: "Confirm") -> Submission:
        """Send the one call that can cost money; `confirm` is asked at the last moment and may raise.

        Raises:
            ProviderError: `delivery` says whether the provider may have accepted.
        """
        return provider.read(await self._connections.send(provider, call, confirm))

    async def kept(self, provider: Provider, answer: Submission) -> Submission:
        """Store the pictures that came inside an answer, so that what is written down names them by hash.

        Raises:
            StorageError: They cannot be stored now; safe to repeat.
            ProviderError: They are no pictures; `delivery` is unknown.
        """
        return answer.model_copy(update={"report": await self._kept(provider, answer.report)})

    async def poll(self, provider: Provider, task: RemoteTask) -> Report:
        """Ask how a task stands."""
        return await self._kept(provider, await self.run(provider, provider.poll(task)))

    async def _kept(self, provider: Provider, report: Report) -> Report:
        """Store pictures that came inside a reply, so that what is written down names them by hash."""
        if not any(output.content for output in report.outputs):
            return report

        def stored(output: Output) -> Output:
            if output.content is None:
                return output
            try:
                picture = self._source.blobs.put_original(output.content, RESULT_LIMITS)
            except ImageError as error:
                raise undelivered(provider.name, provider.title, error) from error
            return output.model_copy(update={"content": None, "sha256": picture.sha256})

        outputs = [await to_thread.run_sync(stored, output, limiter=self.decoding) for output in report.outputs]
        return report.model_copy(update={"outputs": tuple(outputs)})

    async def run(self, provider: Provider, steps: Steps[ResultT]) -> ResultT:
        """Hold one conversation to its end.

        Raises:
            ProviderError: The provider refused, failed or could not be reached; `delivery` says what is known.
        """
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._connections.send(provider, call))
        except StopIteration as end:
            result: ResultT = end.value
            return result

    async def locate(self, provider: Provider, output: Output) -> Output:
        """Find where a result can be fetched now, and what is known of it by then."""
        return output if output.url else await self.run(provider, provider.locate(output))

    async def download(self, provider: Provider, output: Output) -> bytes:
        """Fetch a result: from the provider's own origin like any call, from elsewhere as an untrusted picture.

        Redirects are followed, within the origin and from it to elsewhere; nothing that is sent holds a key.

        Raises:
            ProviderError: It cannot be had, or a redirect may not be followed: not the caller's fault. It is `lasting`
                where the host answers, and would answer the same again.
        """
        from controlnet_mcp.images.download import TooShortError

        url = (await self.locate(provider, output)).url or ""
        try:
            return await self._followed(provider, url)
        except ProviderError as error:
            too_much = error.delivery == "unknown" and not error.retryable
            error.lasting |= too_much or isinstance(error.__cause__, TooShortError)
            raise
        except (RequestError, ImageError) as error:
            failure = undelivered(provider.name, provider.title, error)
            failure.lasting |= isinstance(error.__cause__, TooShortError)  # a broken file on a server is cut each time
            raise failure from error

    async def _followed(self, provider: Provider, url: str) -> bytes:
        """The bytes behind a link of a result, after all redirects."""
        from controlnet_mcp.images.download import REDIRECTS, web_link
        from controlnet_mcp.providers.connections import is_configured

        for _ in range(RESULT_LIMITS.max_redirects + 1):
            if not is_configured(provider, url):
                return await self._fetch(url)
            call = HttpCall("GET", url, timeout_seconds=120.0, max_reply_bytes=RESULT_LIMITS.max_bytes)
            reply = await self._connections.send(provider, call)
            if reply.status == OK:
                return reply.body
            if reply.status not in REDIRECTS or "location" not in reply.headers:
                raise ProviderError(
                    "not_found" if reply.status in _GONE else "provider_failed",
                    f"The result could not be downloaded from {provider.title}: HTTP {reply.status}.",
                    provider=provider.name,
                    hint=f"The history on {provider.title}'s own pages may still show the picture.",
                    retryable=reply.status in _PASSING,
                    lasting=reply.status not in _PASSING | _ABOUT_THE_KEY,
                    provider_message=reply.text,
                )
            url = str(web_link(reply.headers["location"], web_link(url)))
        message = f"The host of the link redirects more than {RESULT_LIMITS.max_redirects} times."
        raise ImageError("image_unreadable", message)

    def download_turns(self, provider: Provider) -> CapacityLimiter:
        """Turns to download results of one provider: until they are stored they are held in memory."""
        return self._download_turns.setdefault(provider.name, CapacityLimiter(_DOWNLOADS_AT_ONCE))

    async def aclose(self) -> None:
        """Close all connections."""
        if "_connections" in vars(self):
            await self._connections.aclose()
