"""Running a simulator: a Starlette application on a real socket of this machine, in a thread of its own."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the waiting test as soon as connections are accepted."""
        await super().startup(sockets=sockets)
        self.is_up.set()


def free_socket() -> socket.socket:
    """A listening socket on a free loopback port.

    Its connections send a short body at once, as asyncio has those do that it makes itself (it asks for the protocol,
    which is 0 here): else each reply waits 40 ms for the acknowledgement of its headers.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listening


@contextmanager
def running(app: ASGIApp, listening: socket.socket, keep_alive_seconds: int = 5) -> Generator[str]:
    """Serve an application until the block ends; gives its origin, `http://127.0.0.1:port`.

    The socket is made first, because replies carry absolute URLs of the simulator's own origin.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=keep_alive_seconds,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        assert server.is_up.wait(60), "the simulator did not start"
        yield origin_of(listening)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def origin_of(listening: socket.socket) -> str:
    """The origin under which a listening socket is reached."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"
