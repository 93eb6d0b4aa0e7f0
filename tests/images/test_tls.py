"""TLS behind the guard: the address is dialled, and the certificate must be for the name in the link."""

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.encode import encode_png
from tests.support.attack_targets import giving
from tests.support.tls_site import ADDRESS, NAME, tls_site

pytestmark = pytest.mark.anyio

PICTURE = encode_png(np.zeros((16, 16, 3), dtype=np.uint8))


def answer(request: BaseHTTPRequestHandler) -> None:
    """Answer every request with the picture, but `/http` with a redirect to plain http."""
    giving(PICTURE, 302 if request.path == "/http" else 200, Location=f"http://{NAME}/cat.png")(request)


@pytest.fixture
def dialled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Put a TLS server at every public address, and tell what is dialled."""
    with tls_site(tmp_path, answer, monkeypatch) as (_, network):
        yield network.dialled


async def test_the_certificate_is_checked_against_the_name(dialled: list[tuple[str, int]]) -> None:
    """The address is what is dialled, and yet the name is what the certificate must be for."""
    assert await fetch(f"https://{NAME}/cat.png", limits=Limits()) == PICTURE
    assert dialled == [(ADDRESS, 443)]


@pytest.mark.parametrize("host", ["other.example", ADDRESS])
async def test_a_certificate_for_another_name_is_refused(host: str, dialled: list[tuple[str, int]]) -> None:
    """Neither another name nor the bare address will do."""
    with pytest.raises(ImageError) as caught:
        await fetch(f"https://{host}/cat.png", limits=Limits())
    assert caught.value.code == "image_unreadable"
    assert dialled == [(ADDRESS, 443)]


async def test_https_never_becomes_http(dialled: list[tuple[str, int]]) -> None:
    """Not even for a host that may speak plain http when asked so at first."""
    with pytest.raises(ImageError, match="http") as caught:
        await fetch(f"https://{NAME}/http", limits=Limits(), trusted_hosts=frozenset({NAME}))
    assert caught.value.code == "image_blocked"
    assert dialled == [(ADDRESS, 443)]


def test_the_real_context_verifies() -> None:
    """What the tests replace asks for a valid certificate of the right name, and is made once."""
    context = ssrf_guard.tls_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert ssrf_guard.tls_context() is context
