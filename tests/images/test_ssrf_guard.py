"""Who may be dialled: the table of addresses, and that nothing else is ever connected to."""

import ipaddress
import socket

import anyio
import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.ssrf_guard import GuardedBackend, is_public, is_trusted, stand_in_range

pytestmark = pytest.mark.anyio

PUBLIC_V4, PUBLIC_V6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"

CLOSED = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),  # noqa: S104  # an address to refuse
    *("100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192"),
    *("192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "192.88.99.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "4000::1"),
]
OPEN = [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    PUBLIC_V4,
    PUBLIC_V6,
    "64:ff9b::808:808",
]


class Unreachable(httpcore2.AsyncNetworkBackend):
    """A network where nobody answers.

    Attributes:
        dialled: Address and port of each attempt.
    """

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Remember the attempt and refuse it."""
        self.dialled.append((host, port))
        raise httpcore2.ConnectError("unreachable")


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Put the guard before a network where nobody answers, and tell what it dials there."""
    network = Unreachable()
    monkeypatch.setattr(ssrf_guard, "DIALLER", network)
    return network.dialled


def answering(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every host name have these addresses."""

    async def answer(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", answer)


@pytest.mark.parametrize("address", CLOSED)
def test_special_addresses_are_closed(address: str) -> None:
    """Private, local, metadata, documentation, multicast, reserved, and IPv4 in the clothes of IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_open(address: str) -> None:
    """The neighbours of the closed networks among them."""
    assert is_public(address)


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_closed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Our table is never weaker than `ipaddress`, but for IPv4 addresses behind NAT64."""
    if is_public(str(address)) and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize("address", CLOSED)
async def test_a_closed_address_is_never_dialled(
    address: str, dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads there is refused before any connection."""
    answering(monkeypatch, address)
    with pytest.raises(ImageError, match="public internet") as caught:
        await GuardedBackend(frozenset()).connect_tcp("pictures.example", 443)
    assert caught.value.code == "image_blocked"
    setting = "STAND_IN_ADDRESSES" if stand_in_range(address) else "TRUSTED_HOSTS"
    assert f"CONTROLNET_MCP_{setting}" in caught.value.hint
    assert dialled == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "0",
        "::1",
        "::ffff:7f00:1",
    ],
)
async def test_odd_spellings_of_this_machine_are_not_dialled(host: str, dialled: list[tuple[str, int]]) -> None:
    """The system's own resolver decides what a name means, and its answer is judged."""
    with pytest.raises(ImageError):
        await GuardedBackend(frozenset()).connect_tcp(host, 443)
    assert dialled == []


@pytest.mark.parametrize("addresses", [(PUBLIC_V4, "127.0.0.1"), ("10.0.0.1", PUBLIC_V4), (PUBLIC_V6, "::1")])
async def test_one_closed_answer_closes_the_host(
    addresses: tuple[str, ...], dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed answers are how a guard is talked into dialling the wrong one."""
    answering(monkeypatch, *addresses)
    with pytest.raises(ImageError, match="public internet"):
        await GuardedBackend(frozenset()).connect_tcp("pictures.example", 443)
    assert dialled == []


async def test_the_checked_address_is_dialled_and_the_next_one_after_it(
    dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is resolved once; what is dialled are addresses, in order, each once."""
    answering(monkeypatch, PUBLIC_V6, PUBLIC_V4, PUBLIC_V6)
    with pytest.raises(httpcore2.ConnectError):
        await GuardedBackend(frozenset()).connect_tcp("pictures.example", 443)
    assert dialled == [(PUBLIC_V6, 443), (PUBLIC_V4, 443)]


async def test_a_second_answer_of_the_name_server_is_judged_again(
    dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public the first time, this machine the second time."""
    backend = GuardedBackend(frozenset())
    answering(monkeypatch, PUBLIC_V4)
    with pytest.raises(httpcore2.ConnectError):
        await backend.connect_tcp("pictures.example", 443)
    answering(monkeypatch, "127.0.0.1")
    with pytest.raises(ImageError):
        await backend.connect_tcp("pictures.example", 443)
    assert dialled == [(PUBLIC_V4, 443)]


@pytest.mark.parametrize("port", [22, 25, 6379, 8080, 0])
async def test_other_ports_are_closed(
    port: int, dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures come from the web's two ports."""
    answering(monkeypatch, PUBLIC_V4)
    with pytest.raises(ImageError, match="port"):
        await GuardedBackend(frozenset()).connect_tcp("pictures.example", port)
    assert dialled == []


async def test_a_trusted_host_may_be_private_on_any_port(
    dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's word is enough, for that host and port only."""
    answering(monkeypatch, "192.168.1.5")
    backend = GuardedBackend(frozenset({"nas.local:8080"}))
    with pytest.raises(httpcore2.ConnectError):
        await backend.connect_tcp("NAS.local", 8080)
    with pytest.raises(ImageError):
        await backend.connect_tcp("nas.local", 443)
    assert dialled == [("192.168.1.5", 8080)]


async def test_a_host_without_an_address_is_unreadable(
    dialled: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that nobody knows may be known in a minute."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", unknown)
    with pytest.raises(ImageError, match="cannot be found") as caught:
        await GuardedBackend(frozenset()).connect_tcp("pictures.example", 443)
    assert (caught.value.code, caught.value.retryable) == ("image_unreadable", True)
    assert dialled == []


async def test_unix_sockets_are_not_connected() -> None:
    """There is no way to a local daemon."""
    with pytest.raises(NotImplementedError):
        await GuardedBackend(frozenset()).connect_unix_socket("/var/run/docker.sock")


@pytest.mark.parametrize(
    ("host", "port", "entry", "trusted"),
    [
        ("nas.local", 80, "nas.local", True),
        ("nas.local", 8080, "NAS.local", True),
        ("nas.local.", 80, "nas.local", True),
        ("nas.local", 8080, "nas.local:8080", True),
        ("nas.local", 8081, "nas.local:8080", False),
        ("evil-nas.local", 80, "nas.local", False),
        ("nas.local.evil.example", 80, "nas.local", False),
        ("a.nas.local", 80, "nas.local", False),
        ("::1", 8080, "[::1]:8080", True),
        ("::1", 8080, "::1", True),
    ],
)
def test_trust_is_for_the_named_host_alone(host: str, port: int, entry: str, *, trusted: bool) -> None:
    """Case and a final dot do not matter; neighbours, children and look-alikes do."""
    assert is_trusted(host, port, frozenset({entry})) is trusted
