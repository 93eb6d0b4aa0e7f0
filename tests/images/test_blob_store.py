"""The blob store: whole files under their hash, whatever happens while they are written."""

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controlnet_mcp.foundation.errors import RequestError, StorageError
from controlnet_mcp.images.blob_store import BlobStore

CONTENT = b"pixels" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_can_be_got(tmp_path: Path) -> None:
    """The key is the hash, and the file stands where others may look for it."""
    blobs = BlobStore(tmp_path / "data" / "blobs")
    assert blobs.put(CONTENT, "image/jpeg") == SHA256
    assert blobs.get(SHA256) == CONTENT
    assert blobs.path(SHA256) == tmp_path / "data" / "blobs" / SHA256[:2] / f"{SHA256}.jpg"
    assert blobs.exists(SHA256)
    assert files(tmp_path) == [blobs.path(SHA256)]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_owner_can_read(tmp_path: Path) -> None:
    """Files are 0600 and all new folders 0700, whatever the umask."""
    blobs = BlobStore(tmp_path / "data" / "blobs")
    blobs.put(CONTENT, "image/png")
    path = blobs.path(SHA256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(path.parents)[:3]} == {0o700}


def test_the_same_bytes_are_written_once(tmp_path: Path) -> None:
    """The second put leaves the file as it is, but for its age."""
    blobs = BlobStore(tmp_path)
    blobs.put(CONTENT, "image/png")
    before = blobs.path(SHA256).stat()
    assert blobs.put(CONTENT, "image/png") == SHA256
    assert blobs.path(SHA256).stat().st_ino == before.st_ino


def test_many_writers_of_the_same_bytes_agree(tmp_path: Path) -> None:
    """Concurrent puts all succeed, readers meanwhile see all or nothing, and no temporary file is left."""
    blobs = BlobStore(tmp_path)

    def write_and_read(_: int) -> bool:
        return blobs.put(CONTENT, "image/png") == SHA256 and blobs.get(SHA256) == CONTENT

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(40)))
    assert files(tmp_path) == [blobs.path(SHA256)]


def test_a_file_cut_off_by_somebody_else_is_written_anew(tmp_path: Path) -> None:
    """Putting the bytes again heals a damaged store."""
    blobs = BlobStore(tmp_path)
    blobs.put(CONTENT, "image/png")
    blobs.path(SHA256).write_bytes(CONTENT[:10])
    with pytest.raises(StorageError, match="changed on disk") as caught:
        blobs.get(SHA256)
    assert caught.value.code == "not_configured"
    blobs.put(CONTENT, "image/png")
    assert blobs.get(SHA256) == CONTENT


@pytest.mark.parametrize(
    "key", ["", "0" * 64, SHA256.upper(), f"{SHA256}.png", f"../{SHA256}", "../../etc/passwd", "a" * 63 + "/", "*" * 64]
)
def test_other_keys_lead_nowhere(tmp_path: Path, key: str) -> None:
    """An unknown key and a malformed one are the same error, and nothing outside is touched."""
    blobs = BlobStore(tmp_path / "blobs")
    blobs.put(CONTENT, "image/png")
    (tmp_path / SHA256).write_bytes(b"outside")
    assert not blobs.exists(key)
    with pytest.raises(RequestError) as caught:
        blobs.get(key)
    assert caught.value.code == "not_found"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the bytes cannot be forced to disk, no name appears: neither the picture's nor a temporary one."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    blobs = BlobStore(tmp_path)
    blobs.put(b"another picture", "image/png")
    before = files(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError):
        blobs.put(CONTENT, "image/png")
    assert files(tmp_path) == before
    assert not blobs.exists(SHA256)


@pytest.mark.skipif(os.name == "nt", reason="folders are forced to disk on POSIX only")
def test_bytes_are_on_disk_before_the_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that survives a power cut: file, rename, folder."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def forced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(Path, "replace", renamed)
    BlobStore(tmp_path).put(CONTENT, "image/png")
    assert steps[-3:] == ["file", "rename", "folder"]
    BlobStore(tmp_path).put(CONTENT, "image/png")
    assert steps[-2:] == ["folder", "folder"]


@pytest.mark.parametrize(
    ("number", "retryable"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False), (errno.EACCES, False)]
)
def test_a_disk_that_refuses_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, retryable: bool
) -> None:
    """Full may pass, read-only will not; both name the variable to set."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError) as caught:
        BlobStore(tmp_path).put(CONTENT, "image/png")
    assert (caught.value.code, caught.value.retryable) == ("not_configured", retryable)
    assert "CONTROLNET_MCP_DATA_DIR" in caught.value.hint


def test_a_data_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    """The same error without any trick: the folder cannot be made."""
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be used") as caught:
        BlobStore(tmp_path / "data" / "blobs").put(CONTENT, "image/png")
    assert not caught.value.retryable


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX links")
def test_a_link_waiting_at_the_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Somebody who can write the folder cannot make the store write elsewhere."""
    blobs = BlobStore(tmp_path / "blobs")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place = tmp_path / "blobs" / SHA256[:2] / f"{SHA256}.png"
    place.parent.mkdir(parents=True)
    place.symlink_to(victim)
    blobs.put(CONTENT, "image/png")
    assert victim.read_bytes() == b"precious"
    assert not place.is_symlink()
    assert blobs.get(SHA256) == CONTENT
