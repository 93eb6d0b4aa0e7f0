"""Downloading a picture from an untrusted link: without credentials or cookies, within bytes and time.

A timeout for each read alone lets a peer hold a connection for ever with a byte now and then; so a body must also
keep to a lowest speed. Imported lazily.
"""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import anyio
import httpx2

from controlnet_mcp.foundation.errors import ImageError, RequestError, UnreachedError
from controlnet_mcp.foundation.limits import DIRECT, Limits, Network
from controlnet_mcp.images.picture import SIGNATURE_BYTES, recognise, too_large
from controlnet_mcp.images.ssrf_guard import DEFAULT_PORTS, blocked, guarded_client, is_trusted, unreached

MIN_BYTES_PER_SECOND = 1024
"""The floor, averaged over a window; a modem was faster."""


class TooLongError(Exception):
    """More bytes came than are accepted."""


class TooShortError(Exception):
    """Fewer bytes came than were announced."""


class TooSlowError(Exception):
    """A window passed with fewer bytes than the floor asks for."""


async def read_body(
    parts: AsyncIterator[bytes],
    *,
    max_bytes: int,
    window_seconds: float,
    check_start: Callable[[bytes], object] | None = None,
) -> bytes:
    """All bytes of a body; in any stretch of `window_seconds`, `MIN_BYTES_PER_SECOND` on average have to come.

    `check_start` is given the first `SIGNATURE_BYTES` as soon as they are there, and may raise.

    Raises:
        TooLongError: One byte more came.
        TooShortError: The connection was closed before the end.
        TooSlowError: Fewer bytes came.
    """
    content = bytearray()
    goal = MIN_BYTES_PER_SECOND * window_seconds
    with anyio.move_on_after(window_seconds) as window:
        try:
            async for part in parts:
                starts = len(content) < SIGNATURE_BYTES
                content += part
                if len(content) > max_bytes:
                    raise TooLongError
                if check_start and starts and len(content) >= SIGNATURE_BYTES:
                    check_start(bytes(content[:SIGNATURE_BYTES]))
                if len(content) >= goal:
                    goal = len(content) + MIN_BYTES_PER_SECOND * window_seconds
                    window.deadline = anyio.current_time() + window_seconds
        except httpx2.RemoteProtocolError as error:
            raise TooShortError from error
        return bytes(content)
    raise TooSlowError


REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_TRY_AGAIN = "Try again in a moment, or pass the picture as a file or data: URI."
_HEADERS = {
    "user-agent": "controlnet-mcp",
    "accept": "image/png, image/jpeg, image/webp, image/gif, image/bmp",
    "connection": "close",
}


async def fetch(
    url: str, *, limits: Limits, trusted_hosts: frozenset[str] = frozenset(), network: Network = DIRECT
) -> bytes:
    """The bytes of a picture behind a link.

    The seconds of the limits are for all redirects together; trusted hosts (`host` or `host:port`) may be private and
    speak plain http; the network says how all others are reached.

    Raises:
        RequestError: `invalid_request`: not a URL.
        ImageError: `image_blocked`: a link that may not be followed; `image_unreadable`: too long, too slow, not a
            picture, or the host did not deliver it (`retryable` where another try can help; an `UnreachedError` where
            it may open from another place).
    """
    target = _link(url, trusted_hosts)
    client = await guarded_client(trusted_hosts, _HEADERS, network)
    try:
        with anyio.fail_after(limits.fetch_timeout_seconds):
            async with client:
                for _ in range(limits.max_redirects + 1):
                    async with client.stream("GET", target) as response:
                        if response.status_code not in REDIRECTS or "location" not in response.headers:
                            return await _picture_in(response, limits)
                        target = _link(response.headers["location"], trusted_hosts, target)
    except TimeoutError as error:
        what = f"The host of the link did not deliver the picture within {limits.fetch_timeout_seconds:g} seconds"
        raise unreached(what, _TRY_AGAIN, _way(target, trusted_hosts, network)) from error
    except httpx2.TransportError as error:
        way = _way(target, trusted_hosts, network)
        what = "could not be reached through the proxy of links" if way.proxy else "broke off or refused the connection"
        raise unreached(f"The host of the link {what} ({type(error).__name__})", _TRY_AGAIN, way) from error
    raise _failed(f"redirects more than {limits.max_redirects} times", retryable=False)


def _link(text: str, trusted_hosts: frozenset[str], base: httpx2.URL | None = None) -> httpx2.URL:
    """A `web_link` that may be followed: plain http only to a trusted host."""
    url = web_link(text, base)
    if url.scheme == "http" and not is_trusted(url.host, _port(url), trusted_hosts):
        raise blocked(url.host, "only https links are followed")
    return url


def web_link(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """An http or https link, relative to the `base` that redirects to it if there is one.

    Raises:
        RequestError: `invalid_request`: no such link.
        ImageError: `image_blocked`: a user name or password in it, or a redirect to another scheme or from https to
            http.
    """
    try:
        url = base.join(text) if base else httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise _no_link(text) from error
    if url.scheme not in DEFAULT_PORTS or not url.host:
        raise blocked(base.host, f"it redirects to a {url.scheme[:20]}: link") if base else _no_link(text)
    if url.userinfo:
        raise blocked(url.host, "the link contains a user name or password")
    if base and (base.scheme, url.scheme) == ("https", "http"):
        raise blocked(url.host, "it was reached from https, and http would expose the link")
    return url


def _way(url: httpx2.URL, trusted_hosts: frozenset[str], network: Network) -> Network:
    """The network by which a link is reached: trusted hosts directly."""
    return DIRECT if is_trusted(url.host, _port(url), trusted_hosts) else network


def _port(url: httpx2.URL) -> int:
    return url.port or DEFAULT_PORTS[url.scheme]


async def _picture_in(response: httpx2.Response, limits: Limits) -> bytes:
    """The body; refused before it is read, or by its first bytes, where it cannot be a picture of legal size."""
    status, headers = response.status_code, response.headers
    if status != HTTPStatus.OK:
        failure = _failed(f"answered with HTTP status {status}", retryable=status in _RETRYABLE)
        failure.gone = status in _GONE
        if failure.gone:
            raise failure
        raise UnreachedError(failure.code, failure.message, hint=failure.hint, retryable=failure.retryable)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _failed("compressed the picture although it was asked not to", retryable=False)
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise too_large(limits.max_bytes)
    try:
        return await read_body(
            response.aiter_raw(), max_bytes=limits.max_bytes, window_seconds=limits.stall_seconds, check_start=recognise
        )
    except TooLongError as error:
        raise too_large(limits.max_bytes) from error
    except TooShortError as error:
        raise _failed("broke off before the end of the picture") from error
    except TooSlowError as error:
        raise _failed(f"sent less than {MIN_BYTES_PER_SECOND:,} bytes per second") from error


def _failed(what: str, *, retryable: bool = True) -> ImageError:
    """The host of the link did not deliver. The link itself is not repeated: it may hold a signature."""
    return ImageError(
        "image_unreadable",
        f"The host of the link {what}.",
        hint=_TRY_AGAIN
        if retryable
        else "Check that the link opens without a login, or pass the picture as a file or data: URI.",
        retryable=retryable,
    )


def _no_link(text: str) -> RequestError:
    return RequestError(
        "invalid_request", f"{text[:100]!r} is not an http or https link.", hint="Pass the full link of a picture."
    )
