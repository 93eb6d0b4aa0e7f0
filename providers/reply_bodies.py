"""The body of a reply: read as it comes over the wire, bounded in bytes and speed, inflated within the same bound."""

import zlib

import httpx2
from anyio import to_thread

from controlnet_mcp.images.bounded_body import MIN_BYTES_PER_SECOND, TooLongError, TooSlowError, read_body
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.wire import HttpCall

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})


async def body_of(response: httpx2.Response, call: HttpCall, provider: str) -> bytes:
    """The whole body.

    No compression is asked for, yet some proxies compress all the same, and a paid answer must not be lost to that.

    Raises:
        ProviderError: Delivery `unknown`: it is too long or too slow, or compressed in a way that cannot be bounded.
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
    except TooLongError as error:
        raise _unusable(provider, f"sent more than {most // 2**20} MiB") from error
    except TooSlowError as error:
        raise _unusable(
            provider, f"sent less than {MIN_BYTES_PER_SECOND:,} bytes per second", retryable=True
        ) from error
    except zlib.error as error:
        raise _unusable(provider, f"sent a body that is not {encoding[:20]}, as it claims") from error


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


def _unusable(provider: str, what: str, *, retryable: bool = False) -> ProviderError:
    return ProviderError(
        "provider_failed",
        f"{provider} {what}.",
        provider=provider,
        hint="Check the provider's base URL and proxies in between.",
        retryable=retryable,
        delivery="unknown",
    )
