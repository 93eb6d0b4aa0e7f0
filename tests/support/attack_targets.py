"""Who suffers when a control is missing: a server on loopback that counts its visitors, and a network that leads there.

An attack succeeds when the victim was asked. A test shows both: with the control the victim hears nothing, and with the
control switched off the very same attack reaches it, so the test would notice if the control were gone.
"""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import httpcore2
import numpy as np

from controlnet_mcp.images import ssrf_guard
from controlnet_mcp.images.encode import encode_png

PICTURE = encode_png(np.zeros((16, 16, 3), dtype=np.uint8))
Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


@dataclass(slots=True)
class Victim:
    """A server that nobody outside should reach.

    Attributes:
        port: Where it listens on 127.0.0.1.
        asked: Path and headers of each request that reached it.
        answer: What it does with one.
        done: Set when the test is over, for answers that would go on.
    """

    port: int
    answer: Answer
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        """What an operator would have to name."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/", scheme: str = "http") -> str:
        """A link to it."""
        return f"{scheme}://{self.host}{path}"


def giving(content: bytes, status: int = 200, /, **headers: str) -> Answer:
    """An answer with a body and headers (underscores stand for hyphens)."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


@contextmanager
def victim_of(answer: Answer) -> Generator[Victim]:
    """A victim that runs during the block."""
    holder: list[Victim] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            holder[0].asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            try:
                holder[0].answer(self)
            except OSError:  # it was given up, as it should be
                self.close_connection = True

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def do_CONNECT(self) -> None:
            self.do_GET()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        holder.append(Victim(server.server_port, answer))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield holder[0]
        finally:
            holder[0].done.set()
            server.shutdown()
            thread.join()


class Detour(httpcore2.AsyncNetworkBackend):
    """A network in which every address is that of one victim: what an attacker inside would reach.

    Attributes:
        dialled: Address and port that were asked for.
    """

    def __init__(self, port: int) -> None:
        """Take the port of the victim."""
        self.dialled: list[tuple[str, int]] = []
        self._port = port
        self._network = ssrf_guard.DIALLER

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """Remember what was asked for and connect to the victim."""
        self.dialled.append((host, port))
        return await self._network.connect_tcp("127.0.0.1", self._port)


def always(*_: object) -> bool:
    """A check that is switched off."""
    return True


Resolver: TypeAlias = Callable[..., object]


def answering(*turns: tuple[str, ...]) -> Resolver:
    """Stands in for `anyio.getaddrinfo`: a name has these addresses the first time, those the second, and so on."""
    left = list(turns)

    async def answer(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return answer
