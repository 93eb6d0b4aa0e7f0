"""The one HTTP client for untrusted links: public addresses only, and the address that was checked is dialled.

The guard stands where connections are made, so that neither a redirect, a second answer of the name server (DNS
rebinding) nor an odd spelling of an address (`0x7f.1`) passes it. Imported lazily.

Sources: IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates); 168.63.129.16 is
Azure's platform address. `ipaddress.is_global` calls several of these networks global, and is not used.
"""

import functools
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpcore2
import httpx2

from controlnet_mcp.foundation.errors import ImageError

PORTS = frozenset({80, 443})
"""The only ports that are dialled at hosts which the operator has not named."""

ADDRESS_TIMEOUT_SECONDS = 5.0
"""Time for one address of a host to answer before its next one is tried."""

# Pyright sees only the stand-in that httpcore declares for machines without anyio.
DIALLER: httpcore2.AsyncNetworkBackend = httpcore2.AnyIOBackend()  # pyright: ignore[reportAssignmentType]
"""Makes the connections that the guard allows."""

OPEN_V6 = ipaddress.IPv6Network("2000::/3")
"""The IPv6 addresses that are allocated to the public so far; every other one is closed."""
CLOSED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4"),
            # within OPEN_V6: Teredo and other protocols, documentation, 6to4, AS112
            *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
        ),
    )
)
"""Networks that are not on the public internet."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Holds an IPv4 address in its last 32 bits (RFC 6052)."""
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
"""Upper half of an interface identifier that holds an IPv4 address of the site's own network (RFC 5214, 6.1)."""


def is_public(address: str) -> bool:
    """Tell whether an IP address, as text, lies on the public internet; NAT64 addresses count as the IPv4 in them."""
    ip = ipaddress.ip_address(address)
    if ip in NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    allocated = isinstance(ip, ipaddress.IPv4Address) or (ip in OPEN_V6 and int(ip) >> 32 & 0xFFFFFFFF not in _ISATAP)
    return allocated and not any(ip in network for network in CLOSED)


def is_trusted(host: str, port: int, trusted_hosts: frozenset[str]) -> bool:
    """Tell whether the operator named the host, alone or with this port (`host`, `host:port`, `[::1]:port`)."""
    name = host.lower().rstrip(".")
    spellings = {name, f"{name}:{port}", f"[{name}]", f"[{name}]:{port}"}
    return not spellings.isdisjoint(entry.strip().lower() for entry in trusted_hosts)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Makes connections for httpcore: resolves once, checks every answer, dials what was checked.

    TLS stays with httpcore, which verifies the certificate against the name in the URL and not the address.
    """

    def __init__(self, trusted_hosts: frozenset[str]) -> None:
        self._trusted_hosts = trusted_hosts

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore names the parameter so
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host that answers, if all of its addresses are public.

        Raises:
            ImageError: `image_blocked`: a port or an address that is closed to untrusted hosts; `image_unreadable`:
                the name has no address.
            httpcore2.ConnectError: Nothing answers.
        """
        *others, last = await self.checked_addresses(host, port)
        seconds = min(timeout or ADDRESS_TIMEOUT_SECONDS, ADDRESS_TIMEOUT_SECONDS)
        for address in others:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await DIALLER.connect_tcp(address, port, seconds, local_address, socket_options)
        return await DIALLER.connect_tcp(last, port, seconds, local_address, socket_options)

    async def checked_addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host, in the system's order; raises as `connect_tcp`."""
        trusted = is_trusted(host, port, self._trusted_hosts)
        if not trusted and port not in PORTS:
            raise blocked(host, f"port {port} is not one of {sorted(PORTS)}")
        try:
            answers = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ImageError(
                "image_unreadable",
                f"The host {host!r} cannot be found.",
                hint="Check the spelling of the link, and that this machine is online.",
                retryable=True,
            ) from error
        addresses = list(dict.fromkeys(answer[4][0] for answer in answers))
        if not trusted and not all(map(is_public, addresses)):
            raise blocked(host, "it is not on the public internet")
        return addresses


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Connections to untrusted hosts: through `GuardedBackend`, and through no proxy."""

    def __init__(self, context: ssl.SSLContext, trusted_hosts: frozenset[str]) -> None:
        """Take the TLS context, and the hosts that the operator allows to be private."""
        super().__init__(verify=context, trust_env=False)
        # The parent has no parameter for it; it opens no connection before its first request.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=GuardedBackend(trusted_hosts))


async def guarded_client(trusted_hosts: frozenset[str], headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
    """An HTTP client for untrusted links: guarded, without proxy, redirects, cookies or time limits of its own.

    Trusted hosts (`host` or `host:port`) may be private. No compression is asked for unless the headers say so.
    """
    return httpx2.AsyncClient(
        transport=GuardedTransport(await anyio.to_thread.run_sync(tls_context), trusted_hosts),
        headers={"accept-encoding": "identity", **(headers or {})},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        trust_env=False,
        timeout=None,
    )


@functools.cache
def tls_context() -> ssl.SSLContext:
    """TLS with the system's trust; made once, in a thread, because it reads files for tens of milliseconds."""
    return httpx2.create_ssl_context(trust_env=False)


def blocked(host: str, why: str) -> ImageError:
    """The refusal to read from a host, with what an operator can do about it."""
    return ImageError(
        "image_blocked",
        f"Pictures may not be read from {host[:200]!r}: {why}.",
        hint="Pass a public https link, a data: URI or a file. "
        "For a host of their own the operator can add it to CONTROLNET_MCP_TRUSTED_HOSTS.",
    )
