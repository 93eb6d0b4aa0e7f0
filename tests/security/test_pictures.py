"""Attacks inside picture files (10 to 12): bombs, polyglots, foreign formats, hidden data, many of broken files."""

import base64
import io
import struct
import sys
import zlib
from collections.abc import Callable, Generator
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images import blob_store
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import Decoder, ReadPicture, clean, decode, original
from controlnet_mcp.images.picture import Use
from controlnet_mcp.images.pillow_decoder import pixels_of
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.images.sandbox import Allowance, Worker
from controlnet_mcp.images.sandbox_worker import BYTES_PER_PIXEL
from controlnet_mcp.server.settings import system_variables
from tests.support.broken_pictures import mangled, seeds
from tests.support.picture_files import DISPLAY_P3, chunk, heic, profile, saved

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
    options: dict[str, dict[str, object]] = {
        "WEBP": {"lossless": True, "method": 0},
        "TIFF": {"compression": "tiff_adobe_deflate"},
        "AVIF": {"speed": 10},
    }
    mode = {"BMP": "1", "alpha": "RGBA"}.get(kind, "L")
    if kind == "HEIC":
        return heic(Image.new("RGB", (3000, 3000)))
    return saved(Image.new(mode, (3000, 3000)), "PNG" if kind == "alpha" else kind, **options.get(kind, {}))


@needs_linux
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "alpha"])
def test_10_a_bomb_takes_no_memory(kind: str, worker: Worker) -> None:
    """Refused by its header in every format; with the limit on pixels lifted, the same file takes the memory."""
    content = bomb(kind)
    assert len(content) < 2_100_000
    tight, lifted = Limits(max_pixels=1_000_000), Limits(max_pixels=100_000_000)
    with pytest.raises(ImageError, match="limit is 1,000,000 pixels"):
        worker.decode(content, tight, Allowance())
    assert peak_kib(worker) < CEILING_KIB
    assert worker.decode(content, lifted, Allowance()).shape[:2] == (3000, 3000)
    assert peak_kib(worker) > CEILING_KIB


def inflating_profile(kind: str) -> bytes:
    """A small picture whose colour profile is enormous: 400 MB out of 400 kB in PNG, tables in the others."""
    small = Image.new("RGB", (64, 48), (200, 60, 40))
    if kind == "PNG":
        deflated = zlib.compressobj(9)
        body = b"".join([deflated.compress(bytes(1_000_000)) for _ in range(400)]) + deflated.flush()
        plain = saved(small)
        return plain[:33] + chunk(b"iCCP", b"x\0\0" + body) + plain[33:]
    grid = 50  # points on each axis of a table for three channels
    table = struct.pack(">4sIBBBB", b"mft2", 0, 3, 3, grid, 0) + bytes(36) + struct.pack(">HH", 4096, 4096)
    table += bytes(2 * 3 * (2 * 4096 + (grid**3 if kind == "WEBP" else 1000)))
    head = profile(DISPLAY_P3)[:128] + struct.pack(">I", 1) + b"A2B0" + struct.pack(">II", 144, len(table))
    return saved(small, kind, icc_profile=head + table)


@needs_linux
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_10_a_profile_bomb_costs_neither_memory_nor_the_picture(kind: str, worker: Worker) -> None:
    """B4: a profile that inflates, or promises tables that are not there, is left out, and the picture is read."""
    pixels = worker.decode(inflating_profile(kind), SMALL, Allowance(cpu_seconds=10))
    assert pixels.shape == (48, 64, 3)
    assert peak_kib(worker) < CEILING_KIB


def lying(kind: str) -> bytes:
    """A file of 9 million pixels whose header tells of 9,216, which its own decoder believes for a while."""
    content = bomb(kind)
    size = struct.pack(">II", 3000, 3000)
    assert content.count(size) == 1
    return content.replace(size, struct.pack(">II", 96, 96))


@needs_linux
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_10_a_container_that_lies_about_its_picture_is_refused(kind: str, worker: Worker) -> None:
    """B5: the size in the container is what is checked; the picture in it may not be another one."""
    with suppress(ImageError):
        pixels = worker.decode(lying(kind), SMALL, Allowance())
        assert pixels.shape[0] * pixels.shape[1] <= SMALL.max_pixels
    assert peak_kib(worker) < CEILING_KIB + SMALL.max_pixels * BYTES_PER_PIXEL // 1024


def tiff_of(**tags: tuple[int, int, int]) -> bytes:
    """A TIFF of 64x64 pixels with changed tags: tag_NUMBER = (type, count, value)."""
    content = bytearray(saved(Image.new("L", (64, 64)), "TIFF", compression="tiff_adobe_deflate"))
    (folder,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, folder)
    rows = {struct.unpack_from("<H", content, folder + 2 + 12 * row)[0]: folder + 2 + 12 * row for row in range(count)}
    for name, row in tags.items():
        number = int(name.removeprefix("tag_"))
        place = rows.get(number) or rows[max(rows)]
        struct.pack_into("<HHII", content, place, number, *row)
    return bytes(content)


def many_pages() -> bytes:
    """A TIFF of 3,000 pages."""
    page = Image.new("1", (8, 8))
    return saved(page, "TIFF", save_all=True, append_images=[page] * 3000)


def endless_pages() -> bytes:
    """A TIFF whose only page names itself as the next one."""
    content = bytearray(saved(Image.new("L", (64, 64)), "TIFF"))
    (folder,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, folder)
    struct.pack_into("<I", content, folder + 2 + 12 * count, folder)
    return bytes(content)


TIFFS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "pages": (many_pages, True),
    "pages without end": (endless_pages, True),
    "a tile of 4 billion pixels": (lambda: tiff_of(tag_322=(4, 1, 65_000), tag_323=(4, 1, 65_000)), False),
    "strips of 4 billion rows": (lambda: tiff_of(tag_278=(4, 1, 0xFFFFFFFF)), True),
    "a billion strips": (lambda: tiff_of(tag_273=(4, 1_000_000_000, 8)), False),
    "numbers as long as the file": (lambda: tiff_of(tag_65000=(3, 900_000, 8)) + bytes(1_900_000), False),
    "65,000 channels": (lambda: tiff_of(tag_277=(3, 1, 65_000)), False),
    "LZMA, whose dictionary may be 4 GB": (lambda: tiff_of(tag_259=(3, 1, 34925)), False),
    "WebP within": (lambda: tiff_of(tag_259=(3, 1, 50001)), False),
    "old JPEG within": (lambda: tiff_of(tag_259=(3, 1, 6)), False),
}


@needs_linux
@pytest.mark.parametrize("name", TIFFS)
def test_10_a_tiff_cannot_hide_a_bomb(name: str, worker: Worker) -> None:
    """B5: pages, tiles, strips, tags and compressions are bounded beside the size; one page is read."""
    make, read = TIFFS[name]
    with nullcontext() if read else pytest.raises(ImageError):
        assert worker.decode(make(), SMALL, Allowance(cpu_seconds=10)).shape[2] == 3
    assert peak_kib(worker) < CEILING_KIB


@needs_linux
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_10_blank_frames_are_not_looked_at_for_ever(kind: str, worker: Worker) -> None:
    """B3: of an animation of many blank frames, a bounded number is decoded."""
    sheets = [Image.new("RGB", (400, 400), (255, 255, 255 - index % 2)) for index in range(300)]
    content = saved(sheets[0], kind, save_all=True, append_images=sheets[1:])
    assert worker.decode(content, Limits(max_pixels=200_000), Allowance(cpu_seconds=5)).shape == (400, 400, 3)
    assert peak_kib(worker) < CEILING_KIB


def other_formats() -> list[bytes]:
    """What Pillow opens of its own accord and no caller has any business to send."""
    made: list[bytes] = []
    for kind in ("ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "MSP"):
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

    def unclean(
        content: bytes, limits: Limits, decoder: Decoder, _use: Use, _frame: tuple[int, int] | None
    ) -> tuple[bytes, ReadPicture]:
        kept, made = original(content, limits, decoder)
        return kept, ReadPicture(made)

    readers = [PictureReader(BlobStore(tmp_path), SMALL, (), frozenset(), unknown) for _ in range(2)]
    uri = f"data:;base64,{base64.b64encode(file.getvalue()).decode()}"
    picture = (await readers[0].read(uri, local_paths=False)).picture
    assert CANARY not in readers[0].blobs.get(picture.sha256)
    monkeypatch.setattr(blob_store, "clean", unclean)
    picture = (await readers[1].read(uri, local_paths=False)).picture
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
        assert decode(content, SMALL).shape in {(32, 48, 3), (48, 32, 3)}
