"""What the controls before strangers' pictures cost, beside the same work without them (the floor).

Run with `python -m bench.guards`. Guarded and bare take turns, so that a busy machine slows both; figures are the
least CPU time of this process, and the least wall time where another thread or process works too. Promised are under
5 ms on a fetch and under 2 % of a decode; a worker of HTTP mode is shown beside them, because it costs a copy of the
pixels.
"""

import io
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpcore2
import numpy as np
from PIL import Image
from skimage import data

from bench.support.command import run
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.download import fetch
from controlnet_mcp.images.pillow_decoder import pixels_of
from controlnet_mcp.images.safe_open import read_file
from controlnet_mcp.images.sandbox import DecodeWorkers
from controlnet_mcp.images.ssrf_guard import is_public
from controlnet_mcp.server.settings import system_variables

FETCHES, DECODES, READS = 200, 15, 500
SIDES_PIXELS = (1024, 3456)
ANSWERS = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"] * 4
"""As many addresses as a large site has."""


def picture(side: int, kind: str = "JPEG") -> bytes:
    """A square photograph as a file."""
    file = io.BytesIO()
    with Image.open(Path(data.__file__).with_name("astronaut.png")) as photo:
        photo.convert("RGB").resize((side, side)).save(file, kind, quality=90)
    return file.getvalue()


def compared(
    name: str, bare: Callable[[], object], guarded: Callable[[], object], rounds: int, clock: Callable[[], float]
) -> float:
    """Print the least times in milliseconds, taking turns.

    Returns:
        What the guard costs, in milliseconds.
    """
    spent: dict[Callable[[], object], list[float]] = {bare: [], guarded: []}
    for _ in range(rounds):
        for act, times in spent.items():
            began = clock()
            act()
            times.append(1000 * (clock() - began))
    floor, ours = map(min, spent.values())
    more = ours - floor
    share = f"{100 * more / floor:+7.2f} %" if floor > 1 else ""
    print(f"{name:34} {floor:9.3f} ms  {ours:9.3f} ms  {more:+8.3f} ms  {share}")
    return more


def served(content: bytes) -> ThreadingHTTPServer:
    """A server on loopback that gives one picture."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def fetches() -> None:
    """A download without and with everything that stands before it, and the table of addresses alone."""
    server = served(picture(512))
    host = f"127.0.0.1:{server.server_port}"

    async def bare() -> bytes:
        async with httpcore2.AsyncConnectionPool() as pool, pool.stream("GET", f"http://{host}/") as response:
            return await response.aread()

    async def guarded() -> bytes:
        return await fetch(f"http://{host}/", limits=Limits(), trusted_hosts=frozenset({host}))

    with anyio.from_thread.start_blocking_portal() as portal:
        compared(
            "a fetch (guard, floor of speed)",
            lambda: portal.call(bare),
            lambda: portal.call(guarded),
            FETCHES,
            time.perf_counter,
        )
    server.shutdown()
    compared(
        "eight addresses against the table",
        lambda: None,
        lambda: all(map(is_public, ANSWERS)),
        FETCHES,
        time.process_time,
    )


def reads() -> None:
    """A local file without and with the descent through its folders."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a", "b", "picture.jpg")
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(512))
        allowed = [Path(folder)]
        compared(
            "a local file (three folders deep)",
            path.read_bytes,
            lambda: read_file(str(path), allowed, 10**8),
            READS,
            time.process_time,
        )


def bare_decode(content: bytes) -> object:
    """What is left without format list, pixel budget, orientation and care for modes."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert("RGB") if opened.mode != "RGB" else opened)


def decodes() -> None:
    """A decode in this process, and in a worker."""
    tiny = picture(8)
    compared(
        "decode 8x8 JPEG (checks, mostly)",
        partial(bare_decode, tiny),
        partial(pixels_of, tiny, Limits()),
        FETCHES,
        time.process_time,
    )
    for side in SIDES_PIXELS:
        for kind in ("JPEG", "PNG"):
            content = picture(side, kind)
            compared(
                f"decode {side}x{side} {kind}",
                partial(bare_decode, content),
                partial(pixels_of, content, Limits()),
                DECODES,
                time.process_time,
            )
    with closing(DecodeWorkers(system_variables())) as workers:
        workers.decode(picture(64), Limits())
        for side in SIDES_PIXELS:
            content = picture(side)
            compared(
                f"decode {side}x{side} JPEG in a worker",
                partial(bare_decode, content),
                partial(workers.decode, content, Limits()),
                DECODES,
                time.perf_counter,
            )


def main() -> None:
    """Print the table."""
    print(f"{'':34} {'bare':>12}  {'guarded':>12}  {'cost':>11}")
    fetches()
    reads()
    decodes()


if __name__ == "__main__":
    run(main)
