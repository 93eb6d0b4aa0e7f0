"""Attacks by what a server sends (15 to 17): each is cut off, and goes through as soon as its control is off."""

import gzip
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator
from http.server import BaseHTTPRequestHandler

import anyio
import httpcore2
import httpx2
import numpy as np
import pytest
from PIL import ImageFile

from controlnet_mcp.foundation.errors import ControlNetError, ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import download as fetching
from controlnet_mcp.images.decode import original
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.encode import encode_png
from tests.support.attack_targets import Answer, Victim, giving, victim_of

pytestmark = pytest.mark.anyio

PICTURE = encode_png(np.zeros((16, 16, 3), dtype=np.uint8))
PIECES = 16


@pytest.fixture
def site() -> Generator[Victim]:
    """A server that the operator trusts, whose answers a test chooses."""
    with victim_of(giving(PICTURE)) as made:
        yield made


async def outcome(site: Victim, **limits: float) -> bytes | str:
    """What is fetched from the site, or the sentence of the refusal."""
    with anyio.fail_after(120):
        try:
            return await fetch(site.url(), limits=Limits(**limits), trusted_hosts=frozenset({site.host}))  # type: ignore[arg-type]  # bytes are whole numbers
        except ControlNetError as error:
            assert error.code == "image_unreadable"  # noqa: PT017  # what is looked at is the sentence
            return error.message


def long(request: BaseHTTPRequestHandler) -> None:
    """A picture with four megabytes behind it, and no length before it."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(PICTURE)
    for _ in range(64):
        request.wfile.write(b"\0" * 65_536)


async def unbounded(parts: AsyncIterator[bytes], **_: object) -> bytes:
    """The control that is missing in a usual client."""
    return b"".join([part async for part in parts])


async def test_15_an_endless_body_is_cut_off(site: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are counted as they come; without the counter all of them are taken."""
    site.answer = long
    assert "larger than the limit" in str(await outcome(site, max_bytes=1_000_000))
    monkeypatch.setattr(fetching, "read_body", unbounded)
    assert len(await outcome(site, max_bytes=1_000_000)) == len(PICTURE) + 64 * 65_536


async def test_15_a_compressed_body_is_not_inflated(site: Victim) -> None:
    """50 kB that would become 50 MB; a usual client inflates them without being asked."""
    bomb = gzip.compress(PICTURE + b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    site.answer = giving(bomb, Content_Encoding="gzip")
    assert "compressed" in str(await outcome(site))
    assert site.asked[0][1]["accept-encoding"] == "identity"
    async with httpx2.AsyncClient() as usual:
        assert len((await usual.get(site.url())).content) > 50_000_000


@pytest.mark.parametrize("size_bytes", [200_000, 10_000_000])
async def test_15_huge_headers_are_refused(site: Victim, size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks off after 100 kB of them; the limit is the library's, and is what does it."""
    site.answer = giving(PICTURE, X="x" * size_bytes)
    assert "RemoteProtocolError" in str(await outcome(site))
    if size_bytes < 1_000_000:
        monkeypatch.setattr(httpcore2.AsyncHTTP11Connection, "MAX_INCOMPLETE_EVENT_SIZE", 2**24)
        assert await outcome(site) == PICTURE


def dripping(head: bytes, piece: bytes, tail: bytes, done: Callable[[float], bool]) -> Answer:
    """An answer in sixteen small pieces with a pause before each."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + head)
        for _ in range(PIECES):
            if done(0.06):
                return
            request.wfile.write(piece)
            request.wfile.flush()
        request.wfile.write(tail)

    return answer


async def test_16_a_slow_body_is_given_up(site: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a kilobyte a second is no download; without the floor it goes on to its end."""
    site.answer = dripping(b"\r\n" + PICTURE, b"\0", b"", site.done.wait)
    began = time.monotonic()
    assert "bytes per second" in str(await outcome(site, stall_seconds=0.3))
    assert time.monotonic() - began < 30
    monkeypatch.setattr(fetching, "MIN_BYTES_PER_SECOND", 0)
    assert await outcome(site, stall_seconds=0.3) == PICTURE + b"\0" * PIECES


async def test_16_slow_headers_meet_the_deadline(site: Victim) -> None:
    """The total counts from the first look-up; a timeout of each read alone would never strike."""
    site.answer = dripping(b"", b"X: y\r\n", b"\r\n" + PICTURE, site.done.wait)
    assert "0.3 seconds" in str(await outcome(site, fetch_timeout_seconds=0.3))
    assert await outcome(site, fetch_timeout_seconds=15) == PICTURE
    async with httpx2.AsyncClient(timeout=0.3) as usual:
        assert (await usual.get(site.url())).content == PICTURE


async def test_17_a_body_that_breaks_off_is_refused(site: Victim) -> None:
    """Fewer bytes than announced are an error of the connection; a plain socket is content with half."""
    site.answer = giving(PICTURE[:40], Content_Length=str(len(PICTURE)))
    assert "broke off" in str(await outcome(site))
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(65_536), b""))
    assert answer.partition(b"\r\n\r\n")[2] == PICTURE[:40]


async def test_17_half_a_picture_without_a_length_does_not_decode(
    site: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no length is announced nothing seems missing, so all of it must decode."""

    def half(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + PICTURE[:60])

    site.answer = half
    content = await outcome(site)
    assert content == PICTURE[:60]
    assert isinstance(content, bytes)
    with pytest.raises(ImageError, match="truncated"):
        original(content, Limits())
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert original(content, Limits())[1].width == 16
