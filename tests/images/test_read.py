"""The one door: every kind of reference becomes a clean stored picture, or an error that says how to write it."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import numpy as np
import pytest
from blockbuster import BlockBuster

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.encode import encode_png, jpeg_within
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from tests.test_start import imported_by

pytestmark = pytest.mark.anyio

NOISE = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8)
PICTURE = encode_png(NOISE)
JPEG = jpeg_within(NOISE, 100_000)
DATA_URI = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"

OWNER = "somebody"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The allowed folder, with the picture in it."""
    allowed = tmp_path / "pictures"
    allowed.mkdir()
    (allowed / "cat.png").write_bytes(PICTURE)
    return allowed


@pytest.fixture
def reader(folder: Path) -> PictureReader:
    """A reader whose own references are `controlnet://` and the key of a stored picture."""

    async def resolve(uri: str, owner: str) -> str:
        await anyio.lowlevel.checkpoint()
        assert owner == OWNER
        return uri.removeprefix("controlnet://")

    return PictureReader(
        blobs=BlobStore(folder.parent / "blobs"),
        limits=Limits(max_bytes=1_000_000, max_pixels=1_000_000),
        allowed_folders=(folder,),
        trusted_hosts=frozenset({"127.0.0.1"}),
        resolve_resource=resolve,
    )


@pytest.fixture
def link() -> Iterator[str]:
    """A link to the picture on a server of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PICTURE)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"HTTP://127.0.0.1:{server.server_port}/cat.png"
    server.shutdown()
    server.server_close()
    thread.join()


async def refused(reader: PictureReader, reference: str, *, local_paths: bool = True) -> ControlNetError:
    """The error of reading a reference."""
    with pytest.raises(ControlNetError) as caught:
        await reader.read(reference, local_paths=local_paths, owner=OWNER)
    return caught.value


async def test_every_kind_of_reference_gives_the_same_picture(reader: PictureReader, folder: Path, link: str) -> None:
    """Link, data: URI, path, file: URI and our own reference lead to the same stored bytes."""
    sha256 = reader.blobs.put(PICTURE, "image/png")
    references = [link, DATA_URI, f"  {DATA_URI}\n", f"{folder}/cat.png", (folder / "cat.png").as_uri()]
    references.append(f"controlnet://{sha256}")
    pictures = [(await reader.read(reference, local_paths=True, owner=OWNER)).picture for reference in references]
    expected = StoredPicture(sha256=sha256, mime_type="image/png", width=16, height=12, size_bytes=len(PICTURE))
    assert pictures == [expected] * len(references)
    assert reader.blobs.get(sha256) == PICTURE


async def test_our_own_reference_to_an_original_gives_a_clean_copy(reader: PictureReader) -> None:
    """What a provider made may hold metadata, so it is cleaned before another provider sees it."""
    sha256 = reader.blobs.put(JPEG, "image/jpeg")
    picture = (await reader.read(f"controlnet://{sha256}", local_paths=False, owner=OWNER)).picture
    assert (picture.mime_type, picture.width, picture.height) == ("image/png", 16, 12)
    assert reader.blobs.get(sha256) == JPEG
    assert reader.blobs.get(picture.sha256).startswith(b"\x89PNG")


async def test_an_unknown_reference_of_ours_is_not_found(reader: PictureReader) -> None:
    """The store's own error comes through."""
    assert (await refused(reader, "controlnet://" + "0" * 64)).code == "not_found"


@pytest.mark.parametrize(
    "spelling", ["{}/cat.png", "file://{}/cat.png", "cat.png", "~/cat.png", "C:\\cat.png", "/etc/passwd"]
)
async def test_without_local_paths_no_file_is_touched(reader: PictureReader, folder: Path, spelling: str) -> None:
    """Whoever calls over HTTP learns which references work, and nothing about the files here."""
    error = await refused(reader, spelling.format(folder.as_posix()), local_paths=False)
    assert error.code == "image_blocked"
    assert all(word in error.hint for word in ("https", "data:", "controlnet://"))
    assert str(folder) not in str(error)


@pytest.mark.parametrize("reference", ["", "   \n"])
async def test_nothing_is_an_invalid_request(reader: PictureReader, reference: str) -> None:
    """An empty argument is told how a picture is passed."""
    error = await refused(reader, reference)
    assert (error.code, "https" in error.hint) == ("invalid_request", True)


@pytest.mark.parametrize("reference", ["ftp://example.com/cat.png", "s3://bucket/cat.png", "gopher://127.0.0.1:70/_x"])
async def test_other_schemes_are_named(reader: PictureReader, reference: str) -> None:
    """What cannot be read is not taken for a file name."""
    error = await refused(reader, reference)
    assert error.code == "invalid_request"
    assert reference.partition("://")[0] in error.message


@pytest.mark.parametrize("content", [PICTURE, JPEG])
@pytest.mark.parametrize("local_paths", [True, False])
async def test_bare_base64_is_read(reader: PictureReader, content: bytes, *, local_paths: bool) -> None:
    """The commonest slip of a model costs nothing."""
    picture = (await reader.read(base64.b64encode(content).decode(), local_paths=local_paths, owner=OWNER)).picture
    assert (picture.width, picture.height) == (16, 12)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("text.png", b"I am a text", "image_unreadable"),
        ("broken.png", PICTURE[:100], "image_unreadable"),
        ("large.png", b"x" * 1_000_001, "image_unreadable"),
        ("wide.png", encode_png(np.zeros((1501, 1000, 3), dtype=np.uint8)), "image_unreadable"),
    ],
)
async def test_what_is_no_legal_picture_is_not_stored(
    reader: PictureReader, folder: Path, name: str, content: bytes, code: str
) -> None:
    """The limits of the reader hold for every way in, and a refusal leaves nothing behind."""
    (folder / name).write_bytes(content)
    assert (await refused(reader, f"{folder}/{name}")).code == code
    assert (await refused(reader, f"data:;base64,{base64.b64encode(content).decode()}")).code == code
    assert not (folder.parent / "blobs").exists()


async def test_reading_never_blocks_the_event_loop(reader: PictureReader, folder: Path, link: str) -> None:
    """Files, decoding, hashing and storing happen in worker threads."""
    blocked = BlockBuster(scanned_modules=["controlnet_mcp"])
    sha256 = reader.blobs.put(JPEG, "image/jpeg")
    await reader.read(DATA_URI, local_paths=True)  # what is imported on first use is no part of this
    blocked.activate()
    try:
        for reference in (f"{folder}/cat.png", DATA_URI, link, f"controlnet://{sha256}"):
            await reader.read(reference, local_paths=True, owner=OWNER)
    finally:
        blocked.deactivate()


async def test_many_at_once_agree(reader: PictureReader, folder: Path) -> None:
    """More readers than threads for decoding, on the same new picture."""
    keys: list[str] = []

    async def read() -> None:
        keys.append((await reader.read(f"{folder}/cat.png", local_paths=True)).picture.sha256)

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(read)
    assert keys == [keys[0]] * 12


def test_the_reader_is_light() -> None:
    """Importing the door imports no decoder and no HTTP client: a start needs neither."""
    imported = imported_by("import controlnet_mcp.images.read, controlnet_mcp.images.resize")
    assert imported & {"PIL", "numpy", "cv2", "httpx2", "httpcore2"} == set()
