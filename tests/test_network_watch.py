"""The watch over the suite itself: what would leave this machine is refused, and what stays is not."""

import socket
from collections.abc import Generator

import pytest

from tests.support import network_guard


@pytest.fixture
def forgiven() -> Generator[list[str]]:
    """What is refused during the test, without failing the suite for it."""
    before = len(network_guard.refused)
    found: list[str] = []
    yield found
    found += network_guard.refused[before:]
    del network_guard.refused[before:]


@pytest.mark.usefixtures("forgiven")
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9))]
)
def test_nothing_is_dialled_or_sent(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Neither a connection nor a datagram, to an address of either family."""
    for kind, act in ((socket.SOCK_STREAM, "connect"), (socket.SOCK_DGRAM, "connect_ex")):
        with socket.socket(family, kind) as made, pytest.raises(network_guard.LeftTheMachineError):
            getattr(made, act)(address)
    with socket.socket(family, socket.SOCK_DGRAM) as made, pytest.raises(network_guard.LeftTheMachineError):
        made.sendto(b"x", address)


@pytest.mark.usefixtures("forgiven")
@pytest.mark.parametrize("name", ["pictures.example", "evil.localhost.example", "127.0.0.1.example"])
def test_no_name_server_is_asked(name: str) -> None:
    """A look-up of a name is a packet to somebody."""
    with pytest.raises(network_guard.LeftTheMachineError):
        socket.getaddrinfo(name, 443)


def test_a_swallowed_attempt_is_remembered() -> None:
    """The end of the session tells of it, whoever caught the exception."""
    before = len(network_guard.refused)
    with socket.socket() as made, pytest.raises(network_guard.LeftTheMachineError):
        made.connect(("192.0.2.1", 9))
    assert network_guard.refused.pop() == "socket.connect ('192.0.2.1', 9)"
    assert len(network_guard.refused) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0x7f.1", "::ffff:127.0.0.1", b"127.0.0.1", None])
def test_this_machine_may_be_asked(host: str | bytes | None) -> None:
    """Loopback in every spelling stays open, for tests need servers."""
    assert network_guard.is_here(host)
    assert socket.getaddrinfo(host, 9)
