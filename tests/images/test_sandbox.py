"""Decoding in processes of their own: the same pixels, no secrets, and a dead worker is an answer, not an outage."""

import base64
import io
import os
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import ExifTags, Image

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.maps.arrays import Pixels
from controlnet_mcp.images.pillow_decoder import pixels_of
from controlnet_mcp.images.sandbox import (
    PICTURES_PER_WORKER,
    Allowance,
    BrokenWorkerError,
    DecodeWorkers,
    Worker,
)
from controlnet_mcp.server.settings import system_variables
from tests.support.picture_files import DISPLAY_P3, gradient, heic, png_of_16_bits, profile
from tests.support.server_process import Web, connected

LIMITS = Limits(max_pixels=1_000_000)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def saved(mode: str, kind: str, **options: object) -> bytes:
    """A gradient of 60x40 pixels as a file, lying on its side where the format can say so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    turned = {"exif": exif} if kind in {"PNG", "JPEG", "WEBP"} else {}
    Image.linear_gradient("L").resize((60, 40)).convert(mode).save(file, kind, **turned, **options)
    return file.getvalue()


PICTURES = [saved("RGB", kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")] + [
    *(saved(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    *(saved("CMYK", "JPEG"), saved("RGBA", "WEBP"), saved("P", "GIF", transparency=3)),
    *(saved("RGB", kind, icc_profile=profile(DISPLAY_P3)) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")),
    *(saved(mode, "TIFF") for mode in ("1", "L", "P", "RGBA", "CMYK", "LAB", "I;16", "I", "F")),
    *(saved("RGB", "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
    *(saved("1", "TIFF", compression=name) for name in ("group3", "group4")),
    png_of_16_bits(np.dstack((gradient(),) * 3)),
    png_of_16_bits(np.dstack((gradient(), np.full_like(gradient(), 65535)))),
    heic(Image.linear_gradient("L").convert("RGB")),
]


@pytest.fixture(scope="module")
def workers() -> Generator[DecodeWorkers]:
    """Workers that the tests share."""
    with closing(DecodeWorkers(system_variables())) as made:
        yield made


def busy(workers: DecodeWorkers) -> Worker:
    """The worker that decodes next."""
    workers.decode(PICTURES[0], LIMITS)
    worker = workers.idle.queue[-1]
    assert worker is not None
    return worker


@pytest.mark.parametrize("content", PICTURES)
def test_the_pixels_are_the_same(content: bytes, workers: DecodeWorkers) -> None:
    """Every format and mode, and nothing that a decoder needs is missing in the locked process."""
    pixels = workers.decode(content, LIMITS)
    assert np.array_equal(pixels, pixels_of(content, LIMITS), equal_nan=pixels.dtype == np.float32)
    assert not pixels.flags.writeable


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        *((b"<svg/>", LIMITS), (b"", LIMITS), (PICTURES[0][:90], LIMITS), (PICTURES[0], Limits(max_pixels=100))),
        (PICTURES[4], Limits(max_bytes=1000)),
    ],
)
def test_the_refusals_are_the_same(content: bytes, limits: Limits, workers: DecodeWorkers) -> None:
    """Sentence for sentence, and the worker goes on."""
    before = busy(workers)
    with pytest.raises(ImageError) as here:
        pixels_of(content, limits)
    with pytest.raises(ImageError) as there:
        workers.decode(content, limits)
    assert (there.value.code, there.value.message, there.value.hint) == (
        here.value.code,
        here.value.message,
        here.value.hint,
    )
    assert busy(workers) is before


def test_whatever_a_store_of_pictures_decodes_goes_to_its_decoder(workers: DecodeWorkers, tmp_path: Path) -> None:
    """Pictures that come in, results, and stored pictures that are looked at: nothing is decoded beside it."""
    before = busy(workers).decoded
    used: list[bytes] = []

    def counting(content: bytes, limits: Limits) -> Pixels:
        used.append(content)
        return workers.decode(content, limits)

    blobs = BlobStore(tmp_path, counting)
    cleaned = blobs.put_clean(PICTURES[1], LIMITS).picture
    blobs.put_original(PICTURES[2], LIMITS)
    blobs.put_original(PICTURES[3], LIMITS)
    assert blobs.pixels(cleaned.sha256, LIMITS).shape == (60, 40, 3)
    assert used == [*PICTURES[1:4], blobs.get(cleaned.sha256)]
    assert busy(workers).decoded == before + len(used) + 1


def broken(python: str, **allowance: int) -> tuple[str, float]:
    """What is told of a picture whose worker is a program that does something else, and the seconds that took."""
    workers = DecodeWorkers(system_variables(), Allowance(**allowance), ("-c", python))
    began = time.monotonic()
    with closing(workers), pytest.raises(ImageError) as caught:
        workers.decode(PICTURES[0], LIMITS)
    assert (caught.value.code, bool(caught.value.hint)) == ("image_unreadable", True)
    return caught.value.message, time.monotonic() - began


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_an_idle_worker_that_was_killed_is_replaced(workers: DecodeWorkers) -> None:
    """The system may end it when memory is short; nobody has to know."""
    worker = busy(workers)
    worker.process.kill()
    worker.process.wait()
    assert workers.decode(PICTURES[1], LIMITS).shape == (60, 40, 3)
    assert busy(workers) is not worker


def test_a_worker_that_dies_of_a_picture_is_an_answer() -> None:
    """The picture is unreadable, and the next one gets a worker of its own."""
    message, _ = broken("import os; os.read(0, 100); os._exit(139)")
    assert "memory and time" in message


def test_a_worker_that_never_answers_is_ended() -> None:
    """The clock of this process is what holds on every system."""
    message, seconds = broken("import sys; sys.stdin.buffer.read()", wall_seconds=1)
    assert "memory and time" in message
    assert seconds < 10


BUSY = """
from controlnet_mcp.images import pillow_decoder, sandbox_worker
def spin(*_):
    while True: pass
pillow_decoder.pixels_of = spin
sandbox_worker.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="the system does not bound CPU time")
def test_a_picture_that_costs_too_much_time_ends_its_worker() -> None:
    """The bound on CPU time is the system's, and counts from the start of the picture; else the clock ends it."""
    message, seconds = broken(BUSY, cpu_seconds=0, wall_seconds=50)
    assert "memory and time" in message
    assert seconds < 30
    _, seconds = broken(BUSY, cpu_seconds=50, wall_seconds=2)
    assert seconds >= 2, "it is busy until it is ended"


@needs_linux
@pytest.mark.parametrize(("bytes_per_pixel", "read"), [(0, False), (32, True)])
def test_a_picture_beyond_the_memory_is_refused(bytes_per_pixel: int, *, read: bool) -> None:
    """With the check of its size out of the way, the bound on memory stops a picture; without the bound, it is read."""
    file = io.BytesIO()
    Image.new("L", (6_000, 6_000)).save(file, "PNG")
    code = f"from controlnet_mcp.images import sandbox_worker as w; w.BYTES_PER_PIXEL = {bytes_per_pixel}; w.main()"
    workers = DecodeWorkers(system_variables(), program=("-c", code))
    with closing(workers), nullcontext() if read else pytest.raises(ImageError, match=r"damaged|memory"):
        assert workers.decode(file.getvalue(), Limits(max_bytes=1_000_000, max_pixels=36_000_000)).shape[0] == 6_000


@needs_linux
def test_a_worker_has_no_secret_and_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment holds no key, and it may open neither files nor sockets nor start processes."""
    monkeypatch.setenv("SEGMIND_API_KEY", "canary")
    with closing(DecodeWorkers(system_variables())) as workers:
        proc = Path(f"/proc/{busy(workers).process.pid}")
        environment = (proc / "environ").read_bytes()
        assert b"PYTHONPATH" in environment
        assert b"canary" not in environment
        assert len(list((proc / "fd").iterdir())) == 3
        rows = {line[:25].strip(): line[25:].split() for line in (proc / "limits").read_text("ascii").splitlines()}
    assert all(rows[name][:2] == ["3", "3"] for name in ("Max open files",))
    assert all(rows[name][:2] == ["0", "0"] for name in ("Max processes", "Max core file size"))
    assert all(rows[name][0].isdecimal() for name in ("Max address space", "Max cpu time"))


OPENING = """
import sys
from controlnet_mcp.images import sandbox_worker
if "unlocked" in sys.argv:
    sandbox_worker.LOCKED = {}
sandbox_worker.main()
try:
    open(sys.argv[1], "x")
except OSError:
    sys.exit(5)
"""


@pytest.mark.skipif(os.name == "nt", reason="the system does not lock")
@pytest.mark.parametrize(("lock", "exit_code"), [("locked", 5), ("unlocked", 0)])
def test_a_worker_that_is_asked_no_more_ends_as_locked_as_it_was(tmp_path: Path, lock: str, exit_code: int) -> None:
    """It answers what it was asked, and ends with its stdin; without the lock it could open a file by then."""
    worker = Worker(system_variables(), ("-c", OPENING, str(tmp_path / "made"), lock))
    assert worker.decode(PICTURES[0], LIMITS, Allowance()).shape == (60, 40, 3)
    with pytest.raises(ImageError):
        worker.decode(b"<svg/>", LIMITS, Allowance())
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(120) == exit_code
    worker.end()
    assert (tmp_path / "made").exists() == (lock == "unlocked")


@pytest.mark.parametrize(
    "answer", ["", "00000000", "00ffffffffffffffff", "01ffffffff00000000", "070000000000000000", "00000000000000000100"]
)
def test_what_a_worker_cannot_have_meant_ends_it(answer: str) -> None:
    """A process that was taken over can only answer, and never with more than the picture was allowed."""
    code = f"import os; os.read(0, 100); os.write(1, bytes.fromhex({answer!r}))"
    worker = Worker(system_variables(), ("-c", code))
    with pytest.raises(BrokenWorkerError):
        worker.decode(PICTURES[0], LIMITS, Allowance())
    worker.end()


def test_workers_are_renewed() -> None:
    """No process outlives two hundred pictures, and a second thread has a second worker."""
    with closing(DecodeWorkers(system_variables())) as workers:
        first = busy(workers)
        first.decoded = PICTURES_PER_WORKER - 1
        workers.decode(PICTURES[0], LIMITS)
        assert first.process.returncode is not None
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(workers.decode, PICTURES[0], LIMITS) for _ in range(8)]
            assert {future.result().shape for future in made} == {(60, 40, 3)}


@needs_linux
@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_only_the_web_server_decodes_in_workers(
    transport: Literal["http", "stdio"], web: Web, tmp_path: Path
) -> None:
    """The wiring: a picture that came over HTTP was in a process of its own, one over stdio was not."""
    uri = f"data:image/png;base64,{base64.b64encode(PICTURES[0]).decode()}"
    async with connected(transport, "auto", web, tmp_path / "log") as client:
        answer = await client.call_tool("extract_control_map", {"image": uri, "modality": "gray"})
        assert not answer.is_error
        lines = children_of(os.getpid())
        (server,) = [pid for pid, line in lines.items() if "transports.stdio" in line] or [web.process.pid]
        below = children_of(server).values()
    assert any("sandbox_worker" in line for line in below) == (transport == "http")
    assert (server == web.process.pid) == (transport == "http")


def children_of(pid: int) -> dict[int, str]:
    """The processes that a process started, with their command lines."""
    told = (path.read_text("ascii").split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return {int(child): Path(f"/proc/{child}/cmdline").read_text("ascii") for row in told for child in row}
