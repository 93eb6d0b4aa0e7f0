"""Whose word a URL is: the operator's, who configured an origin, or that of a reply, which nobody has to believe.

A call to a configured origin may go to a private address, through the operator's proxy and with a key. Any other place
is one that a reply named: it is dialled through the guard that also stands before pictures of strangers, and a call
that holds a secret never leaves for it.
"""

import ssl
from functools import lru_cache

import httpcore2
import httpx2
from pydantic import SecretStr

from controlnet_mcp.images.guard import GuardedBackend, is_trusted
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.wire import HttpCall, holds

_HTTPS_PORT, _HTTP_PORT = 443, 80


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """The way to places that a reply named: public addresses on the web's ports only, and through no proxy."""

    def __init__(self, context: ssl.SSLContext, trusted_hosts: frozenset[str]) -> None:
        """Take the TLS context, and the hosts that the operator allows to be private."""
        super().__init__(verify=context, trust_env=False)
        # The parent has no parameter for it; it opens no connection before its first request.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=GuardedBackend(trusted_hosts))


def is_configured(provider: Provider, url: str) -> bool:
    """Whether a URL has an origin that the operator configured for the provider; text that is no URL has none."""
    try:
        return _origin(url) in _origins((provider.base_url, *provider.further_urls))
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


@lru_cache
def _origins(urls: tuple[str, ...]) -> frozenset[tuple[str, str, int | None]]:
    return frozenset(map(_origin, urls))


def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def _refused(provider: Provider, why: str) -> ProviderError:
    return ProviderError(
        "provider_failed",
        f"{provider.name} named a place outside of its own that {why}; nothing was sent there.",
        provider=provider.name,
        hint="Check the provider's base URL. Try again later, or use another provider.",
        delivery="not_sent",
    )
