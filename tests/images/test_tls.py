"""TLS behind the guard: the address is dialled, and the certificate must be for the name in the link."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpcore2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.encode import encode_png

pytestmark = pytest.mark.anyio

NAME = "pictures.example"
ADDRESS = "93.184.216.34"
PICTURE = encode_png(np.zeros((16, 16, 3), dtype=np.uint8))


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the picture, but `/http` with a redirect to plain http."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(302 if self.path == "/http" else 200)
        self.send_header("Location", f"http://{NAME}/cat.png")
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def certificate(folder: Path) -> Path:
    """A new key and a certificate for the name, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


class Server(ThreadingHTTPServer):
    """A web server that takes a refused handshake calmly: some tests want one."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class Detour(httpcore2.AsyncNetworkBackend):
    """Connects every address to one port of this machine.

    Attributes:
        dialled: Address and port that were asked for.
    """

    def __init__(self, port: int) -> None:
        self.dialled: list[tuple[str, int]] = []
        self._port = port
        self._network = ssrf_guard.DIALLER

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Remember what was asked for and connect to loopback."""
        self.dialled.append((host, port))
        return await self._network.connect_tcp("127.0.0.1", self._port)


async def public(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
    """Stands in for `getaddrinfo`: every name has one public address."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESS, port))]


@pytest.fixture
def dialled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Put a TLS server at every public address, and tell what is dialled."""
    file = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    network = Detour(server.server_port)
    monkeypatch.setattr(anyio, "getaddrinfo", public)
    monkeypatch.setattr(ssrf_guard, "DIALLER", network)
    monkeypatch.setattr(ssrf_guard, "tls_context", lambda: ssl.create_default_context(cafile=file))
    yield network.dialled
    server.shutdown()
    server.server_close()
    thread.join()


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
