"""Downloads from servers on this machine that behave well, badly and with bad intent."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import anyio
import httpcore2
import numpy as np
import pytest

from controlnet_mcp.foundation.errors import ControlNetError, ImageError, RequestError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.encode import encode_png

pytestmark = pytest.mark.anyio

PICTURE = encode_png(np.zeros((16, 16, 3), dtype=np.uint8))
Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A web server on loopback whose answers a test chooses, and which remembers what it was asked.

    Attributes:
        answers: What to do for each path.
        asked: Path and headers of each request.
        trusted: What `fetch` must be told to come here.
    """

    def __init__(self) -> None:
        site = self
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.done = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                site.answers[self.path](self)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.trusted = frozenset({f"127.0.0.1:{self.server.server_port}"})

    def url(self, path: str) -> str:
        """The full link of a path."""
        return f"http://127.0.0.1:{self.server.server_port}{path}"


class Recording(httpcore2.AsyncNetworkBackend):
    """The real network, but it remembers.

    Attributes:
        dialled: Address and port of each connection.
    """

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []
        self._network = ssrf_guard.DIALLER

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Remember and connect."""
        self.dialled.append((host, port))
        return await self._network.connect_tcp(host, port)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that runs during the test."""
    running = Site()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.done.set()
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def giving(content: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with a body and headers (underscores stand for hyphens)."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def leading(location: str, status: int = 302) -> Answer:
    """A redirect."""
    return giving(b"moved", status, Location=location, Set_Cookie="session=1")


async def refused(site: Site, path: str, limits: Limits | None = None) -> ControlNetError:
    """The error of fetching a path of the site."""
    with pytest.raises(ControlNetError) as caught:
        await fetch(site.url(path), limits=limits or Limits(), trusted_hosts=site.trusted)
    return caught.value


async def test_a_picture_is_fetched_whatever_its_header_claims(site: Site) -> None:
    """The first bytes decide, not the type that the server tells."""
    site.answers["/cat"] = giving(PICTURE, Content_Type="text/html")
    assert await fetch(site.url("/cat"), limits=Limits(), trusted_hosts=site.trusted) == PICTURE


async def test_the_request_carries_nothing_of_the_user(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cookie, credential or proxy, even where the environment offers them, and no compression is asked for."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.answers["/cat?size=1"] = leading("/cat")
    site.answers["/cat"] = giving(PICTURE)
    await fetch(site.url("/cat?size=1"), limits=Limits(), trusted_hosts=site.trusted)
    assert [path for path, _ in site.asked] == ["/cat?size=1", "/cat"]
    for _, headers in site.asked:
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert headers["accept-encoding"] == "identity"
        assert f"127.0.0.1:{site.server.server_port}" == headers["host"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_three_times(site: Site, status: int) -> None:
    """The third leads to the picture; a fourth is refused without being asked."""
    for hop in range(4):
        site.answers[f"/{hop}"] = leading(f"/{hop + 1}", status)
    site.answers["/4"] = giving(PICTURE)
    assert await fetch(site.url("/1"), limits=Limits(), trusted_hosts=site.trusted) == PICTURE
    error = await refused(site, "/0")
    assert (error.code, error.retryable) == ("image_unreadable", False)
    assert [path for path, _ in site.asked] == ["/1", "/2", "/3", "/4", "/0", "/1", "/2", "/3"]


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1/x", "https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "//127.0.0.1/x"),
        *("https://169.254.169.254/latest/meta-data/", "http://metadata.example/", "https://2130706433/"),
        *("file:///etc/passwd", "gopher://127.0.0.1/", "data:image/png;base64,AAAA", "https://user:pass@example.com/"),
        *("https://127.0.0.1:22/", "https:///nowhere"),
    ],
)
async def test_a_redirect_leads_nowhere_else(site: Site, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hop is judged like the first link; only the trusted site itself was ever connected to."""
    network = Recording()
    monkeypatch.setattr(ssrf_guard, "DIALLER", network)
    site.answers["/cat"] = leading(location)
    assert (await refused(site, "/cat")).code == "image_blocked"
    assert network.dialled == [("127.0.0.1", site.server.server_port)]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://pictures.example/cat.png", "image_blocked"),
        ("https://user@pictures.example/cat.png", "image_blocked"),
        ("https://user:secret@pictures.example/cat.png", "image_blocked"),
        ("https://pictures.example:8443/cat.png", "image_blocked"),
        ("ftp://pictures.example/cat.png", "invalid_request"),
        ("https://", "invalid_request"),
        ("https:///cat.png", "invalid_request"),
        ("https://[::1/cat.png", "invalid_request"),
        ("https://pictures.example:port/", "invalid_request"),
        ("https://pictures.example/\n", "invalid_request"),
    ],
)
async def test_links_that_may_not_be_followed(url: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by their text or their port, before any name is looked up."""

    async def looked_up(*_: object, **__: object) -> None:
        pytest.fail("a name was looked up")

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    with pytest.raises((ImageError, RequestError)) as caught:
        await fetch(url, limits=Limits())
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


async def test_this_machine_is_not_read_without_trust(site: Site) -> None:
    """The same server, https or http, is closed to a caller whom the operator gave no word."""
    for url in (site.url("/cat"), site.url("/cat").replace("http:", "https:"), "https://127.0.0.1/cat"):
        with pytest.raises(ImageError) as caught:
            await fetch(url, limits=Limits())
        assert caught.value.code == "image_blocked"
    assert site.asked == []


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(401, False), (403, False), (404, False), (410, False), (429, True), (500, True), (503, True)],
)
async def test_http_errors_say_whether_to_try_again(site: Site, status: int, *, retryable: bool) -> None:
    """The status is told, the link with its signature is not."""
    site.answers["/cat?signature=abc"] = giving(PICTURE, status)
    error = await refused(site, "/cat?signature=abc")
    assert (error.code, error.retryable) == ("image_unreadable", retryable)
    assert str(status) in error.message
    assert "abc" not in str(error)


async def test_a_body_longer_than_announced_limits_is_not_begun(site: Site) -> None:
    """Content-Length is believed where it speaks against the picture."""
    site.answers["/cat"] = giving(PICTURE, Content_Length="1001")
    assert "larger than the limit" in (await refused(site, "/cat", Limits(max_bytes=1000))).message


async def test_an_endless_body_is_cut_off(site: Site) -> None:
    """Without a length the bytes are counted as they come."""
    sent: list[int] = []

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            request.wfile.write(PICTURE)
            while not site.done.is_set():
                sent.append(request.wfile.write(b"\0" * 65_536))
        except OSError:
            return

    site.answers["/cat"] = endless
    assert "larger than the limit" in (await refused(site, "/cat", Limits(max_bytes=1_000_000))).message
    assert sum(sent) < 50_000_000


async def test_a_slow_body_meets_the_deadline(site: Site) -> None:
    """A byte now and then keeps no connection alive beyond the total time."""

    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not site.done.wait(0.02):
                request.wfile.write(PICTURE[:1])
                request.wfile.flush()
        except OSError:
            return

    site.answers["/cat"] = slow
    with anyio.fail_after(120):
        error = await refused(site, "/cat", Limits(fetch_timeout_seconds=0.3))
    assert (error.code, error.retryable) == ("image_unreadable", True)
    assert "0.3 seconds" in error.message


async def test_what_is_not_a_picture_is_given_up_after_its_first_bytes(site: Site) -> None:
    """A web page says so, and the rest of it is not waited for."""

    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"<!DOCTYPE html>" + b" " * 100)
        request.wfile.flush()
        site.done.wait(10)

    site.answers["/cat"] = page
    with anyio.fail_after(120):
        error = await refused(site, "/cat")
    assert "web page" in error.message


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_compressed_bodies_are_refused(site: Site, encoding: str) -> None:
    """Nothing is inflated, so nothing can explode."""
    site.answers["/cat"] = giving(PICTURE, Content_Encoding=encoding)
    assert "compressed" in (await refused(site, "/cat")).message


@pytest.mark.parametrize("announced", [len(PICTURE) + 10, 10**6])
async def test_a_body_that_breaks_off_is_an_error(site: Site, announced: int) -> None:
    """Fewer bytes than announced never count as the picture."""
    site.answers["/cat"] = giving(PICTURE, Content_Length=str(announced))
    error = await refused(site, "/cat")
    assert (error.code, error.retryable) == ("image_unreadable", True)


async def test_a_closed_port_is_an_error_worth_a_retry() -> None:
    """Nobody listens: perhaps in a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ImageError) as caught:
            await fetch(f"http://{host}/cat.png", limits=Limits(), trusted_hosts=frozenset({host}))
    assert (caught.value.code, caught.value.retryable) == ("image_unreadable", True)
