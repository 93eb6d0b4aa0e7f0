"""A web proxy that leads names of a vendor to a simulator, so that a client with fixed addresses can be its judge.

A client that follows `HTTPS_PROXY` and `SSL_CERT_FILE` needs no change: it asks the proxy for `name:443`, speaks TLS
with it under a certificate for that name, and its requests reach the simulator in plain text.
"""

import datetime as dt
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_CHUNK = 65536


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, names: frozenset[str], target: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.names, self.target, self.context = names, target, context


class _Connection(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        """Answer `CONNECT`, then carry bytes both ways until one side ends."""
        proxy = self.server
        assert isinstance(proxy, _Proxy)
        if _asked(self.request) not in proxy.names:
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with (
            suppress(OSError),
            proxy.context.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(proxy.target) as simulator,
        ):
            _carry(client, simulator)


def _asked(connection: socket.socket) -> str:
    """The name that a client wants to reach."""
    head = b""
    while b"\r\n\r\n" not in head and (chunk := connection.recv(_CHUNK)):
        head += chunk
    method, _, rest = head.decode("ascii", "replace").partition(" ")
    return rest.partition(":")[0] if method == "CONNECT" else ""


def _carry(client: ssl.SSLSocket, simulator: socket.socket) -> None:
    """Carry bytes both ways until one side ends; in one thread, as a TLS connection is not made for two."""
    while True:
        ready = [client] if client.pending() else select.select([client, simulator], [], [])[0]
        for source in ready:
            chunk = source.recv(_CHUNK)
            if not chunk:
                return
            (simulator if source is client else client).sendall(chunk)


def _certificate(names: frozenset[str], file: Path) -> None:
    """Write a key and a certificate for the names, which is its own authority, into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulator")])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **uses),
            critical=True,
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))


@contextmanager
def tunnelling(names: frozenset[str], origin: str, folder: Path) -> Generator[Mapping[str, str]]:
    """Lead these names to a simulator until the block ends; gives the environment variables that make clients follow.

    Args:
        names: Host names, asked for on whatever port; any other is refused.
        origin: The simulator, `http://127.0.0.1:port`.
        folder: Where the certificate is written.
    """
    file = folder / "simulator.pem"
    _certificate(names, file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    host, _, port = origin.removeprefix("http://").partition(":")
    with _Proxy(names, (host, int(port)), context) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}", "SSL_CERT_FILE": str(file)}
        proxy.shutdown()
        thread.join(10)
