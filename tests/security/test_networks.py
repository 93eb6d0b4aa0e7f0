"""Attacks where the operator's own proxy resolves names: what was let through for its sake opens nothing else."""

import ipaddress
import socket
from pathlib import Path

import anyio
import pytest
from anyio import from_thread, to_thread
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import DIRECT, STAND_IN_SPACE, Limits, Network
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.ssrf_guard import GuardedBackend, is_public, is_public_name
from controlnet_mcp.server.settings import Settings
from tests.support.attack_targets import PICTURE, Detour, Victim, always, answering, giving, victim_of
from tests.support.mcp_session import settings_for
from tests.support.tls_site import NAME, proxy_before, tls_site

pytestmark = pytest.mark.anyio

STAND_INS = ["198.18.0.7", "198.19.255.255", "fc00::7", "fdfe:dcba:9876::7", "2001:2::7", "240.0.0.7"]
ALLOWING = Network(stand_ins=STAND_IN_SPACE)
PUBLIC = "93.184.216.34"
INSIDE = [
    *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0"),  # noqa: S104  # to be refused
    *("168.63.129.16", "::1", "::ffff:198.18.0.7", "64:ff9b::c612:7", "fd00:ec2::254", "fd00::1", "fe80::1", "ff02::1"),
]
LITERALS = [
    "198.18.0.7",
    "3323068423",
    "0xc6120007",
    "198.18.7",
    "[fc00::7]",
    "240.0.0.7",
    "0306.022.0.7",
    "198.18.0.7.",
]
PRIVATE_NAMES = [
    *("router", "nas.local", "metadata.google.internal", "printer.lan", "a.home.arpa", "x.localhost", "a.corp"),
    *("db.intranet", "NAS.Local", "router.", "files.private", "a.home", "a.localdomain"),
]


async def outcome(url: str, network: Network, trusted: frozenset[str] = frozenset()) -> bytes | ControlNetError:
    """What is fetched, or the refusal."""
    with anyio.fail_after(20):
        try:
            return await fetch(url, limits=Limits(fetch_timeout_seconds=5), trusted_hosts=trusted, network=network)
        except ControlNetError as error:
            return error


async def refusal(url: str, network: Network) -> ControlNetError:
    """The refusal of a link."""
    error = await outcome(url, network)
    assert isinstance(error, ControlNetError)
    return error


@pytest.mark.parametrize("address", STAND_INS)
async def test_d1_a_stand_in_address_is_refused_unless_the_operator_says_so(
    address: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: a public name that resolves to a stand-in is refused, with the setting that lets it through."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering((address,)))
    error = await refusal("https://pictures.example/cat.png", DIRECT)
    assert error.code == "image_blocked"
    assert "Clash" in error.message
    setting = error.hint.partition("CONTROLNET_MCP_STAND_IN_ADDRESSES=")[2].partition(";")[0]
    assert network.dialled == []
    told = Settings.model_validate({"stand_in_addresses": setting}).network
    await outcome("https://pictures.example/cat.png", told)
    assert network.dialled == [(address, 443)]


async def test_d1_a_picture_comes_through_a_stand_in_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D1: the certificate is still that of the name, so the proxy in between cannot be anybody else."""
    with tls_site(tmp_path, giving(PICTURE), monkeypatch, address="198.18.0.7") as (_, dialled):
        assert await outcome(f"https://{NAME}/cat.png", ALLOWING) == PICTURE
        assert isinstance(await outcome("https://other.example/cat.png", ALLOWING), ControlNetError)
    assert dialled.dialled == [("198.18.0.7", 443)] * 2


@pytest.mark.parametrize("address", INSIDE)
async def test_d1_allowing_stand_ins_opens_no_address_inside(
    address: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1, attack: names that lead inside stay closed, alone and beside a stand-in."""
    for answers in ((address,), (STAND_INS[0], address), (address, PUBLIC)):
        monkeypatch.setattr(anyio, "getaddrinfo", answering(answers))
        error = await refusal("https://pictures.example/cat.png", ALLOWING)
        assert (error.code, "STAND_IN" in error.hint) == ("image_blocked", False)
    assert network.dialled == []
    monkeypatch.setattr(ssrf_guard, "is_public", always)
    await outcome("https://pictures.example/cat.png", ALLOWING)
    assert network.dialled == [(address, 443)]


@pytest.mark.parametrize("host", [*LITERALS, *PRIVATE_NAMES])
async def test_d1_only_public_names_lead_to_stand_ins(
    host: str, network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1, attack: an address in any spelling, and a name of a site, are not what a proxy stands in for."""
    monkeypatch.setattr(anyio, "getaddrinfo", answering((STAND_INS[0],)))
    assert (await refusal(f"https://{host}/cat.png", ALLOWING)).code in {"image_blocked", "invalid_request"}
    assert (await refusal("http://pictures.example/cat.png", ALLOWING)).code == "image_blocked"
    assert (await refusal("https://pictures.example:8443/cat.png", ALLOWING)).code == "image_blocked"
    assert network.dialled == []


async def test_d1_whatever_a_name_resolves_to_only_public_and_stand_in_addresses_are_dialled(
    network: Detour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1, attack: any addresses at all, near and inside of the allowed ranges."""
    ours = (ipaddress.ip_network("198.18.0.0/15"), ipaddress.ip_network("fc00::/18"))
    backend = GuardedBackend(frozenset(), Network(stand_ins=ours))
    near = [int(row[0]) + shift for row in (*ours, *STAND_IN_SPACE) for shift in (-1, 0, 1)]
    numbers = st.sampled_from(near) | st.integers(0, 2**128 - 1) | st.integers(0, 2**32 - 1)
    made = numbers.map(lambda number: str(ipaddress.ip_address(number)))

    @hypothesis_settings(max_examples=200, deadline=None)
    @given(st.lists(made, min_size=1, max_size=3))
    def check(addresses: list[str]) -> None:
        async def ask() -> list[str]:
            try:
                return await backend.checked_addresses("pictures.example", 443)
            except ControlNetError:
                return []

        monkeypatch.setattr(anyio, "getaddrinfo", answering(tuple(addresses)))
        for address in from_thread.run(ask):
            assert is_public(address) or any(ipaddress.ip_address(address) in row for row in ours)

    await to_thread.run_sync(check)
    assert network.dialled == []


@pytest.mark.parametrize(
    "ranges",
    [
        *(
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8",
            "127.0.0.1",
            "169.254.0.0/16",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "8.8.8.8",
        ),
        *("fc00::/7", "fd00::/8", "fe80::/10", "198.18.0.0/14", "198.18.0.0/15,10.0.0.1", "true", "198.18.0.0/33"),
    ],
)
def test_d1_no_network_of_somebody_can_be_called_a_stand_in(tmp_path: Path, ranges: str) -> None:
    """D1, attack: the setting takes only addresses that belong to nobody."""
    with pytest.raises(ValidationError):
        settings_for(tmp_path, tmp_path, stand_in_addresses=ranges)


@pytest.mark.parametrize(
    "ranges", ["198.18.0.0/15", "198.18.0.1/16", "198.18.0.0/15, fc00::/18", "fdfe:dcba:9876::1/64"]
)
def test_d1_stand_ins_are_written_as_in_the_configuration_of_the_proxy(tmp_path: Path, ranges: str) -> None:
    """D1: `fake-ip-range: 198.18.0.1/16` is copied as it stands."""
    assert len(settings_for(tmp_path, tmp_path, stand_in_addresses=ranges).network.stand_ins) == ranges.count(",") + 1


async def unknown(*_: object, **__: object) -> None:
    """Stands in for a name server that nobody reaches."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_d2_a_name_that_only_the_proxy_could_resolve_says_so(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: where the environment names a proxy, the error says that links do not go there, and what to set."""
    monkeypatch.setattr(anyio, "getaddrinfo", unknown)
    assert "spelling" in (await refusal("https://pictures.example/cat.png", DIRECT)).hint
    monkeypatch.setenv(variable, "http://127.0.0.1:7890")
    error = await refusal("https://pictures.example/cat.png", settings_for(tmp_path, tmp_path).network)
    assert variable in error.message
    assert "CONTROLNET_MCP_FETCH_PROXY=environment" in error.hint
    assert error.retryable
    private = await refusal("https://nas.local/cat.png", settings_for(tmp_path, tmp_path).network)
    assert "PROXY" not in str(private), "it would be refused there"


async def test_d2_links_are_fetched_through_the_proxy_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: the proxy is asked for the name, which is looked up nowhere here, and cannot read what comes through it."""
    with tls_site(tmp_path, giving(PICTURE), monkeypatch) as (site, direct), proxy_before(site.port) as proxy:
        monkeypatch.setattr(anyio, "getaddrinfo", unknown)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for setting in (proxy.url, proxy.url.removeprefix("http://"), "environment", "Environment"):
            through = settings_for(tmp_path, tmp_path, fetch_proxy=setting).network
            assert await outcome(f"https://{NAME}/cat.png", through) == PICTURE
        for setting in (proxy.url.replace("http", "socks5"), proxy.url.replace("http", "socks")):
            through = settings_for(tmp_path, tmp_path, fetch_proxy=setting).network
            assert await outcome(f"https://{NAME}/cat.png", through) == PICTURE
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"] * 4 + [NAME] * 2
    assert direct.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "198.18.0.7"),
        *("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "[::1%25lo]", "localhost", *PRIVATE_NAMES),
        *("pictures.example:22", "pictures.example:8080", "user@pictures.example", "a..b"),
    ],
)
async def test_d2_the_proxy_is_asked_for_nothing_inside(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D2, attack: private addresses in any spelling, names of a site and other ports; without the check it is asked."""
    monkeypatch.setattr(anyio, "getaddrinfo", unknown)
    with victim_of(giving(PICTURE)) as victim, proxy_before(victim.port) as proxy:
        through = Network(proxy=proxy.url)
        for url in (f"https://{host}/cat.png", f"http://{host}/cat.png"):
            assert (await refusal(url, through)).code in {"image_blocked", "invalid_request"}
        assert proxy.asked == []
        monkeypatch.setattr(ssrf_guard, "is_public_name", always)
        await outcome("https://localhost/cat.png", through)
        assert proxy.asked == ["CONNECT localhost:443 HTTP/1.1"]


async def test_d2_a_redirect_through_the_proxy_does_not_lead_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2, attack: every hop is judged before the proxy is asked for it."""
    for location in ("https://127.0.0.1/x", "https://nas.local/x", f"http://{NAME}/x", "file:///etc/hostname"):
        site_answer = giving(b"", 302, Location=location)
        with tls_site(tmp_path, site_answer, monkeypatch) as (site, _), proxy_before(site.port) as proxy:
            error = await refusal(f"https://{NAME}/cat.png", Network(proxy=proxy.url))
        assert error.code == "image_blocked"
        assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


async def test_d2_a_trusted_host_is_reached_without_the_proxy(victim: Victim) -> None:
    """D2: it may be private, where the proxy cannot reach; a proxy that is down does not matter to it."""
    nobody = Network(proxy="http://127.0.0.1:9")
    assert await outcome(victim.url("/cat.png"), nobody, frozenset({victim.host})) == PICTURE
    error = await refusal("https://pictures.example/cat.png", nobody)
    assert "proxy" in error.message
    assert error.retryable


@pytest.mark.parametrize("proxy", ["ftp://a:1", "http://", "socks4://a:1", "http://a:port", "https://a:99999"])
def test_d2_a_proxy_that_is_none_is_told_at_the_start(tmp_path: Path, proxy: str) -> None:
    """D2: not when the first paid result is to be fetched."""
    with pytest.raises(ValidationError):
        settings_for(tmp_path, tmp_path, fetch_proxy=proxy)


@given(st.text(max_size=12) | st.ip_addresses().map(str) | st.integers(0, 2**40).map(str))
def test_d2_no_address_is_a_public_name(host: str) -> None:
    """D2: whatever a resolver would take for an address, this system's own included, is no name."""
    try:
        socket.inet_aton(host)
    except (OSError, ValueError):
        return
    assert not is_public_name(host)
