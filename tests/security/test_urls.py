"""Attacks through links (1 to 3 and 6): each fails, and dials its victim as soon as its control is off."""

import ipaddress
import itertools
import random
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import TypeAlias

import anyio
import httpcore2
import httpx2
import pytest
from anyio import from_thread, to_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai._ssrf import (  # pyright: ignore[reportPrivateUsage]  # the independent table is not public
    is_cloud_metadata_ip,
    is_private_ip,
)

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import download as fetching
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.ssrf_guard import is_public
from tests.support.attack_targets import Detour, Victim, always, answering, giving

pytestmark = pytest.mark.anyio

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PUBLIC = "93.184.216.34"
INSIDE = [
    *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0"),  # noqa: S104  # to be refused
    *("168.63.129.16", "192.0.0.192", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    *("fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001::1"),
]
SPELLINGS = ["2130706433", "0x7f.1", "0x7f000001", "127.1", "localhost", "[::ffff:7f00:1]"]
NO_HOSTS = ["0177.0.0.1", "localhost.", "①②⑦.0.0.1", "127.0.0.1.", "0x7f000001.", "[::1%25lo]"]
"""What is refused as a link already, or by this system's resolver, and by others is taken for this machine."""
CALM = Limits(fetch_timeout_seconds=5.0)


def unchecked(text: str, _: frozenset[str], base: httpx2.URL | None = None) -> httpx2.URL:
    """Stands in for the check of a link's text."""
    return base.join(text) if base else httpx2.URL(text)


async def outcome(url: str, limits: Limits = CALM, trusted: frozenset[str] = frozenset()) -> bytes | str:
    """What is fetched, or the code of the refusal."""
    with anyio.fail_after(120):
        try:
            return await fetch(url, limits=limits, trusted_hosts=trusted)
        except ControlNetError as error:
            return error.code


def addresses() -> Generator[str]:
    """What is inside, embedded in every way, and 150,000 more: anything, and near what is special in either table."""
    for inside, (head, shift) in itertools.product(_INSIDE_V4, _EMBEDDINGS):
        yield str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(head)) | int(ipaddress.IPv4Address(inside)) << shift))
    dice = random.Random(20261125)  # noqa: S311  # a seed, so that every run sees the same
    closed: list[Network] = [*ssrf_guard.CLOSED]
    edges = [*closed, ssrf_guard.OPEN_V6, ssrf_guard.NAT64, *_THEIRS]
    for number in range(150_000):
        if number % 3 == 0:
            yield str(ipaddress.IPv4Address(dice.getrandbits(32)))
        elif number % 3 == 1:
            yield str(ipaddress.IPv6Address((1 << 125) | dice.getrandbits(125)))
        else:
            network = edges[dice.randrange(len(edges))]
            first, last = int(network[0]), int(network[-1])
            near = dice.choice((first, last, dice.randint(first, last))) + dice.randint(-2, 2)
            yield str(type(network[0])(near % (1 << network.max_prefixlen)))


_THEIRS: list[Network] = [
    *map(ipaddress.IPv4Network, ("100.64.0.0/10", "192.0.0.0/24")),
    *map(
        ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "5f00::/16", "3fff::/20", "2001:2::/48")
    ),
]
_INSIDE_V4 = [address for address in INSIDE if ":" not in address]
_EMBEDDINGS = [
    ("::", 0),
    ("::ffff:0:0", 0),
    ("64:ff9b::", 0),
    ("64:ff9b:1::", 0),
    ("2002::", 80),
    ("fe80::5efe:0:0", 0),
]


def is_closed_elsewhere(address: str) -> bool:
    """Whether pydantic-ai would not dial it."""
    return is_private_ip(address) or is_cloud_metadata_ip(address)


def is_global(address: str) -> bool:
    """Whether the standard library would."""
    return ipaddress.ip_address(address).is_global


@pytest.mark.timeout(600)
def test_1_the_table_is_nowhere_weaker_than_an_independent_one() -> None:
    """Of 150,000 addresses none is open here and private, or a metadata service, in pydantic-ai's table."""
    opened = [address for address in addresses() if is_public(address)]
    assert len(opened) > 40_000
    assert list(filter(is_closed_elsewhere, opened)) == []


def test_1_the_comparison_notices_a_weaker_table() -> None:
    """The control switched off: the standard library's own judgement lets hundreds of them through."""
    opened = filter(is_global, itertools.islice(addresses(), 20_000))
    assert sum(map(is_closed_elsewhere, opened)) > 100


def open_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the judgement of addresses, and nothing else."""
    monkeypatch.setattr(ssrf_guard, "is_public", always)


@pytest.mark.parametrize("address", INSIDE)
async def test_1_an_address_inside_is_not_dialled(
    address: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads inside; with the table open the very address is dialled."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering((address,)))
    assert await outcome("https://pictures.example/cat.png") == "image_blocked"
    assert network.dialled == []
    open_the_table(monkeypatch)
    await outcome("https://pictures.example/cat.png")
    assert network.dialled == [(address, 443)]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_1_no_spelling_of_this_machine_is_dialled(
    host: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decimal, hexadecimal, octal, short, circled: the system's own reading of it is what is judged."""
    assert await outcome(f"https://{host}/") in {"image_blocked", "invalid_request"}
    assert network.dialled == []
    open_the_table(monkeypatch)
    await outcome(f"https://{host}/")
    assert {address for address, _ in network.dialled} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert network.dialled


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_1_what_others_take_for_this_machine_is_not_dialled(
    host: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Circled digits, octal numbers, final dots and zones."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering(("127.0.0.1",)))
    assert await outcome(f"https://{host}/") in {"image_blocked", "invalid_request"}
    assert network.dialled == []


@pytest.mark.parametrize("url", ["https://pictures.example@127.0.0.1/", "https://pictures.example:x@[::1]/"])
async def test_1_a_password_does_not_hide_the_host(url: str, network: Detour, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before the @ is no host; such links are refused as a whole, and their host is judged as well."""
    assert await outcome(url) == "image_blocked"
    monkeypatch.setattr(fetching, "_link", unchecked)
    assert await outcome(url) == "image_blocked"
    assert network.dialled == []
    open_the_table(monkeypatch)
    await outcome(url)
    assert network.dialled


async def test_1_other_ports_are_not_dialled(network: Detour, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address with a database on it is no web server."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering((PUBLIC,)))
    assert await outcome("https://pictures.example:6379/") == "image_blocked"
    assert network.dialled == []
    monkeypatch.setattr(ssrf_guard, "PORTS", frozenset({443, 6379}))
    await outcome("https://pictures.example:6379/")
    assert network.dialled == [(PUBLIC, 6379)]


async def test_1_a_proxy_of_the_environment_sees_nothing(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be talked into fetching anything; a usual client asks it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, victim.url())
    monkeypatch.setattr(anyio, "getaddrinfo", answering(("127.0.0.1",)))
    await outcome("http://pictures.example/cat.png")
    assert victim.asked == []
    async with httpx2.AsyncClient() as usual:
        await usual.get("http://pictures.example/cat.png")
    assert [path for path, _ in victim.asked] == ["http://pictures.example/cat.png"]


class CheckThenDial(ssrf_guard.GuardedBackend):
    """The usual guard: the name is checked, and then handed on to be resolved again."""

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Check, resolve again, dial."""
        await self.checked_addresses(host, port)
        again = await anyio.getaddrinfo(host, port)
        return await ssrf_guard.DIALLER.connect_tcp(str(again[0][4][0]), port)


async def test_2_a_second_answer_of_the_name_server_is_not_dialled(
    network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, inside when it is dialled."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering((PUBLIC,), ("127.0.0.1",)))
    await outcome("https://pictures.example/cat.png")
    assert network.dialled == [(PUBLIC, 443)]
    monkeypatch.setattr(anyio, "getaddrinfo", answering((PUBLIC,), ("127.0.0.1",)))
    monkeypatch.setattr(ssrf_guard, "GuardedBackend", CheckThenDial)
    await outcome("https://pictures.example/cat.png")
    assert network.dialled[1:] == [("127.0.0.1", 443)]


@pytest.mark.parametrize("mixed", [(PUBLIC, "10.0.0.1"), ("10.0.0.1", PUBLIC)])
async def test_2_a_mixed_answer_is_not_dialled_at_all(
    mixed: tuple[str, ...], network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address inside closes the name, wherever it stands."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering(mixed))
    assert await outcome("https://pictures.example/cat.png") == "image_blocked"
    assert network.dialled == []
    open_the_table(monkeypatch)
    await outcome("https://pictures.example/cat.png")
    assert network.dialled[0] == (mixed[0], 443)


@pytest.mark.parametrize("address", INSIDE)
async def test_3_a_redirect_does_not_lead_inside(
    address: str, victim: Victim, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hop is dialled through the guard; with the table open the redirect is followed."""
    host = f"[{address}]" if ":" in address else address
    victim.answer = giving(b"", 302, Location=f"https://{host}/secret")
    assert await outcome(victim.url("/cat"), trusted=frozenset({victim.host})) == "image_blocked"
    assert network.dialled == [("127.0.0.1", victim.port)]
    open_the_table(monkeypatch)
    await outcome(victim.url("/cat"), trusted=frozenset({victim.host}))
    assert [(ipaddress.ip_address(host), port) for host, port in network.dialled[2:]] == [
        (ipaddress.ip_address(address), 443)
    ]


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "gopher://127.0.0.1/", "FILE:/etc/hostname", "ftp://a/b", "unix:/x"]
)
async def test_6_other_schemes_are_not_spoken(url: str, network: Detour, victim: Victim) -> None:
    """Neither as a link nor as the target of a redirect."""
    assert await outcome(url) == "invalid_request"
    assert network.dialled == []
    victim.answer = giving(b"", 302, Location=url)
    assert await outcome(victim.url("/cat"), trusted=frozenset({victim.host})) == "image_blocked"


def test_6_a_usual_opener_reads_files(tmp_path: Path) -> None:
    """The control switched off: what `urllib` does with such a link."""
    (tmp_path / "x").write_bytes(b"secret")
    with urllib.request.urlopen((tmp_path / "x").as_uri()) as opened:  # noqa: S310  # the attack
        assert opened.read() == b"secret"


SCHEMES = ["https://", "http://", "HTTPS:", "//", "", "https:\\\\", "https://a@"]
HOSTS = [*INSIDE, *SPELLINGS, *NO_HOSTS, "a.example", "a..b", "", "xn--", "é.example", "a" * 300]
ENDS = ["", "/", ":443", ":99999", ":", "/%00", "?#", "\\@b.example/", "#@b.example", "/\r\nHost: x"]


async def test_1_any_text_as_a_link_dials_nobody_inside(network: Detour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name leads inside; whatever is written as a link, the answer is an error of ours and nothing is dialled."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering(("127.0.0.1",)))
    seen: set[bytes | str] = set()

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(SCHEMES), st.sampled_from(HOSTS) | st.text(max_size=8), st.sampled_from(ENDS))
    def check(scheme: str, host: str, rest: str) -> None:
        seen.add(from_thread.run(outcome, scheme + host + rest))

    await to_thread.run_sync(check)
    assert {"image_blocked", "invalid_request"} <= seen <= {"image_blocked", "invalid_request", "image_unreadable"}
    assert network.dialled == []
