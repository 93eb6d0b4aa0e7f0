"""A TLS server on this machine that stands at every public address, and a proxy that opens tunnels to it."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlnet_mcp.images import ssrf_guard
from tests.support.attack_targets import Answer, Detour, Victim, answering

NAME = "pictures.example"
ADDRESS = "93.184.216.34"


def certificate(folder: Path, *names: str) -> Path:
    """A new key and a certificate for the names, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(row) for row in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


class _Server(ThreadingHTTPServer):
    """A web server that takes a refused handshake calmly: some tests want one."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextmanager
def tls_site(
    folder: Path, answer: Answer, patch: pytest.MonkeyPatch, *names: str, address: str = ADDRESS
) -> Generator[tuple[Victim, Detour]]:
    """Serve names by TLS, at one address; gives the server, and the network that remembers what is dialled."""
    holder: list[Victim] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            holder[0].asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            holder[0].answer(self)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    file = certificate(folder, *(names or (NAME,)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    with _Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        holder.append(Victim(server.server_port, answer))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        network = Detour(server.server_port)
        patch.setattr(anyio, "getaddrinfo", answering((address,)))
        patch.setattr(ssrf_guard, "DIALLER", network)
        patch.setattr(ssrf_guard, "tls_context", lambda: ssl.create_default_context(cafile=file))
        try:
            yield holder[0], network
        finally:
            server.shutdown()
            thread.join()


class Proxy:
    """A proxy, by HTTP and by SOCKS5, that opens every tunnel to one port of this machine, whatever name is asked for.

    Attributes:
        url: Where it listens.
        asked: The first line of each request by HTTP, or the name that was asked for by SOCKS5.
    """

    def __init__(self, listening: socket.socket, port: int) -> None:
        """Take the socket that it listens on, and the port behind it."""
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.asked: list[str] = []
        self._listening, self._port = listening, port

    def serve(self) -> None:
        """Take one connection after the other until the socket is closed."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = client.recv(4096)
        if head.startswith(b"\x05"):  # RFC 1928, without authentication, a name as the address
            client.sendall(b"\x05\x00")
            self.asked.append(client.recv(4096)[5:-2].decode())
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        else:
            while b"\r\n\r\n" not in head and (part := client.recv(4096)):
                head += part
            self.asked.append(head.split(b"\r\n")[0].decode())
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes until either side ends."""
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def proxy_before(port: int) -> Generator[Proxy]:
    """Run a proxy before a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening, port)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        yield proxy
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
