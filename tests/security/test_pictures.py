"""Attacks inside picture files (10 to 12): bombs, polyglots, foreign formats, hidden data, many of broken files."""

import base64
import io
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import blob_store
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import clean, original
from controlnet_mcp.images.pillow_decoder import pixels_of
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.images.sandbox import Allowance, Worker
from controlnet_mcp.server.settings import system_variables
from tests.support.broken_pictures import mangled, seeds

pytestmark = pytest.mark.anyio
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SMALL = Limits(max_bytes=2_000_000, max_pixels=1_000_000)
CEILING_KIB = 90_000
"""Above what a worker occupies with its libraries (about 50 MB) and the largest picture that `SMALL` allows."""
CANARY = b"52.5200 north"


@pytest.fixture
def worker() -> Generator[Worker]:
    """A process whose memory is looked at; it decodes with nothing else going on."""
    made = Worker(system_variables())
    yield made
    made.end()


def peak_kib(worker: Worker) -> int:
    """The most memory that the process ever occupied."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text("ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def bomb(kind: str) -> bytes:
    """A file of some kilobytes that is 9 million pixels."""
    file = io.BytesIO()
    mode = "1" if kind == "BMP" else "L"
    Image.new(mode, (3000, 3000)).save(file, kind, **({"lossless": True, "method": 0} if kind == "WEBP" else {}))
    return file.getvalue()


@needs_linux
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_10_a_bomb_takes_no_memory(kind: str, worker: Worker) -> None:
    """Refused by its header in every format; with the limit on pixels lifted, the same file takes the memory."""
    content = bomb(kind)
    assert len(content) < 2_100_000
    tight, lifted = Limits(max_pixels=1_000_000), Limits(max_pixels=100_000_000)
    with pytest.raises(ImageError, match="limit is 1,000,000 pixels"):
        worker.decode(content, tight, Allowance())
    assert peak_kib(worker) < CEILING_KIB
    assert worker.decode(content, lifted, Allowance()).shape == (3000, 3000, 3)
    assert peak_kib(worker) > CEILING_KIB


def other_formats() -> list[bytes]:
    """What Pillow opens of its own accord and no caller has any business to send."""
    made: list[bytes] = []
    for kind in ("TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "MSP"):
        file = io.BytesIO()
        Image.new("1" if kind == "MSP" else "RGB", (16, 16)).save(file, kind)
        made.append(file.getvalue())
    return made


@pytest.mark.parametrize("content", other_formats(), ids=lambda content: content[:4].hex())
def test_11_other_formats_are_refused(content: bytes) -> None:
    """Each decoder is a risk of its own; Pillow's own opener takes them all."""
    with pytest.raises(ImageError, match="not a picture that can be read"):
        pixels_of(content, SMALL)
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()


def test_11_a_polyglot_leaves_its_other_half_behind() -> None:
    """A page behind a picture is in the original, which is why only clean copies go to third parties."""
    content = seeds()[4] + b"<script>alert(1)</script>"
    assert b"<script>" not in clean(content, SMALL)[0]
    assert b"<script>" in original(content, SMALL)[0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_12_a_position_does_not_leave_the_machine(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one door stores, and providers are sent, has no EXIF; without cleaning it has."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = CANARY.decode()
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind, exif=exif)

    async def unknown(_uri: str, _owner: str) -> str:
        raise AssertionError

    readers = [PictureReader(BlobStore(tmp_path), SMALL, (), frozenset(), unknown) for _ in range(2)]
    uri = f"data:;base64,{base64.b64encode(file.getvalue()).decode()}"
    picture = await readers[0].read(uri, local_paths=False)
    assert CANARY not in readers[0].blobs.get(picture.sha256)
    monkeypatch.setattr(blob_store, "clean", original)
    picture = await readers[1].read(uri, local_paths=False)
    assert CANARY in readers[1].blobs.get(picture.sha256)


def survived(worker: Worker, count: int, seed: int) -> int:
    """Have so many broken files decoded by one process, and count those that were pictures all the same."""
    read = 0
    for content in mangled(count, seed):
        with suppress(ImageError):
            pixels = worker.decode(content, SMALL, Allowance())
            assert 0 < pixels.shape[0] * pixels.shape[1] <= SMALL.max_pixels
            read += 1
    return read


@needs_linux
def test_broken_files_crash_nothing_and_take_no_memory(worker: Worker) -> None:
    """A thousand files in one process that lives on; some are still pictures, most are not."""
    assert 50 < survived(worker, 1000, seed=1) < 950
    assert peak_kib(worker) < CEILING_KIB
    assert np.array_equal(worker.decode(seeds()[4], SMALL, Allowance()), pixels_of(seeds()[4], SMALL))


@needs_linux
@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_ten_thousand_broken_files_crash_nothing_and_take_no_memory(worker: Worker) -> None:
    """The same at length; `.ci/run` has a step of its own for it."""
    assert 500 < survived(worker, 10_000, seed=2) < 9_500
    assert peak_kib(worker) < CEILING_KIB
    assert worker.process.poll() is None


def test_every_seed_is_a_picture() -> None:
    """Else what is broken would be refused for another reason."""
    for content in seeds():
        assert pixels_of(content, SMALL).shape in {(32, 48, 3), (48, 32, 3)}
