"""The one HTTP client for untrusted links: public addresses only, and the address that was checked is dialled.

The guard stands where connections are made, so that neither a redirect, a second answer of the name server (DNS
rebinding) nor an odd spelling of an address (`0x7f.1`) passes it. Where the operator's own proxy resolves names, before
the connection (stand-in addresses) or in it (a proxy for links), only names that are public by their text go there: no
address is left to be checked. Imported lazily.

Sources: IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates); 168.63.129.16 is
Azure's platform address. `ipaddress.is_global` calls several of these networks global, and is not used.
"""

import functools
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpcore2
import httpx2

from controlnet_mcp.foundation.errors import ImageError, UnreachedError
from controlnet_mcp.foundation.limits import DIRECT, STAND_IN_SPACE, AddressRange, Network

DEFAULT_PORTS = {"http": 80, "https": 443}
PORTS = frozenset(DEFAULT_PORTS.values())
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


_NAME = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes an address of a host (WHATWG URL, "ends in a number")."""
_PRIVATE_ENDINGS = frozenset(
    {"arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"}
)
"""Last labels of names that belong to a site or a machine (RFC 6761, RFC 6762, RFC 8375; ICANN on .internal)."""


def is_public_name(host: str) -> bool:
    """Tell whether a host is a name of the public DNS by its text: two labels or more, no address in any spelling."""
    name = host.lower().removesuffix(".")
    last = name.rpartition(".")[2]
    return bool(_NAME.fullmatch(name)) and last not in _PRIVATE_ENDINGS and not _NUMBER.fullmatch(last)


def looks_public(host: str) -> bool:
    """Tell whether a host is public by its text, before it is resolved: a public name or a public address."""
    try:
        return is_public(host.strip("[]"))
    except ValueError:
        return is_public_name(host)


def stand_in_range(address: str) -> AddressRange | None:
    """The range that an address is in, if proxies give such addresses to public names."""
    ip = ipaddress.ip_address(address)
    return next((row for row in STAND_IN_SPACE if ip in row), None)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Makes connections for httpcore: resolves once, checks every answer, dials what was checked.

    TLS stays with httpcore, which verifies the certificate against the name in the URL and not the address.
    """

    def __init__(self, trusted_hosts: frozenset[str], network: Network = DIRECT) -> None:
        self._trusted_hosts = trusted_hosts
        self._network = network

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
        named = is_public_name(host)
        if not trusted:
            _check_port(host, port)
        try:
            answers = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            hint = "Check the spelling of the link, and that this machine is online."
            way = self._network if named and not trusted else DIRECT  # a proxy gets no other names
            raise unreached(f"The host {host[:200]!r} cannot be found", hint, way) from error
        addresses = list(dict.fromkeys(answer[4][0] for answer in answers))
        if trusted:
            return addresses
        # one that is closed, and is no stand-in which the operator allows for names, closes the host
        stand_ins = self._network.stand_ins if named else ()
        closed = [address for address in addresses if not is_public(address)]
        closed = [row for row in closed if not any(ipaddress.ip_address(row) in allowed for allowed in stand_ins)]
        if not closed:
            return addresses
        ranges = {stand_in_range(address) for address in closed}
        if not named or None in ranges:
            raise blocked(host, "it is not on the public internet")
        listed = ",".join(sorted(map(str, ranges)))
        raise ImageError(
            "image_blocked",
            f"Pictures may not be read from {host[:200]!r}: its name resolves to {listed}, not to the public internet "
            "but to what a local proxy (Clash, Surge, sing-box) puts there (CONTROLNET_MCP_STAND_IN_ADDRESSES).",
            hint=f"The operator can let such links through with CONTROLNET_MCP_STAND_IN_ADDRESSES={listed}; otherwise "
            "pass a data: URI or a file.",
        )


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Connections to untrusted hosts: through `GuardedBackend`, and through no proxy."""

    def __init__(self, context: ssl.SSLContext, trusted_hosts: frozenset[str], network: Network = DIRECT) -> None:
        """Take the TLS context, and the hosts that the operator allows to be private."""
        super().__init__(verify=context, trust_env=False)
        # The parent has no parameter for it; it opens no connection before its first request.
        backend = GuardedBackend(trusted_hosts, network)
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=backend)


class ProxiedTransport(httpx2.AsyncHTTPTransport):
    """Connections to untrusted hosts through the operator's proxy, which resolves their names; trusted ones directly.

    Refused are names and addresses that are not public by their text, and other ports; where a public name leads is
    the proxy's to judge.
    """

    def __init__(self, context: ssl.SSLContext, trusted_hosts: frozenset[str], proxy: str) -> None:
        """Take the TLS context, the hosts that are reached without the proxy, and its URL."""
        super().__init__(verify=context, trust_env=False, proxy=proxy)
        self._direct = GuardedTransport(context, trusted_hosts)
        self._trusted_hosts = trusted_hosts

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request on one of the two ways; raises `ImageError`, `image_blocked`, where neither may be taken."""
        host, port = request.url.raw_host.decode("ascii"), request.url.port or DEFAULT_PORTS[request.url.scheme]
        if is_trusted(host, port, self._trusted_hosts):
            return await self._direct.handle_async_request(request)
        _check_port(host, port)
        if not looks_public(host):
            raise blocked(host, "it is not on the public internet")
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        """Close both ways."""
        await self._direct.aclose()
        await super().aclose()


def _check_port(host: str, port: int) -> None:
    if port not in PORTS:
        raise blocked(host, f"port {port} is not one of {sorted(PORTS)}")


async def guarded_client(
    trusted_hosts: frozenset[str], headers: Mapping[str, str] | None = None, network: Network = DIRECT
) -> httpx2.AsyncClient:
    """An HTTP client for untrusted links: guarded, without redirects, cookies or time limits of its own.

    Trusted hosts (`host` or `host:port`) may be private. No proxy but that of the network is used, and no compression
    is asked for unless the headers say so.
    """
    context = await anyio.to_thread.run_sync(tls_context)
    if network.proxy is None:
        transport: httpx2.AsyncBaseTransport = GuardedTransport(context, trusted_hosts, network)
    else:
        transport = ProxiedTransport(context, trusted_hosts, network.proxy)
    return httpx2.AsyncClient(
        transport=transport,
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


def unreached(what: str, hint: str, network: Network) -> UnreachedError:
    """The error of a host that could not be reached; it tells of a proxy through which links are not fetched."""
    if network.unused_proxy and not network.proxy:
        what += f", and links do not go through the proxy of {network.unused_proxy} (CONTROLNET_MCP_FETCH_PROXY)"
        hint = (
            "The operator can send links through that proxy with CONTROLNET_MCP_FETCH_PROXY=environment; otherwise "
            "pass the picture as a file or data: URI."
        )
    return UnreachedError("image_unreadable", f"{what}.", hint=hint, retryable=True)
