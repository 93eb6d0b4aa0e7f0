"""The blob store: pictures in a folder, under the hash of their bytes, readable by their owner only.

All functions block and belong in a worker thread. A picture is written to a temporary file that nobody else can name,
forced to disk, renamed, and the folder forced to disk too, so that a name that exists holds all its bytes after a
crash at any moment. Writers never wait for each other: the same name always means the same bytes.
"""

import errno
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from controlnet_mcp.foundation.errors import RequestError, StorageError
from controlnet_mcp.foundation.limits import Limits, remember
from controlnet_mcp.images.decode import Decoder, ReadPicture, clean, decode, decode_channels, describe, original
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture, StoredType, Use

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Windows knows no links at this level and must be told not to translate line ends.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents, for the owner only, and force their names to disk."""
    missing = itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents))
    for path in reversed(list(missing)):
        path.mkdir(mode=0o700, exist_ok=True)
        force_names(path.parent)


def write_whole(path: Path, content: bytes, *, forced: bool = True) -> None:
    """Write a file so that its name appears with all of its bytes or not at all; a file of that name is replaced.

    Where it is `forced`, that holds after a power failure too, at the price of a wait for the disk.
    """
    temporary = path.with_name(f".{secrets.token_hex(16)}.tmp")
    try:
        with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as file:
            file.write(content)
            if forced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def force_names(folder: Path) -> None:
    """Force the names in a folder to disk, where the system can open a folder for that (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors() -> Generator[None, None, None]:
    """Raise errors of the system as `StorageError`, with a hint for the operator."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                "not_configured",
                "The disk of the data folder is full.",
                hint="Free some space, or set CONTROLNET_MCP_DATA_DIR to a folder on another disk; then try again.",
                retryable=True,
            ) from error
        raise StorageError(
            "not_configured",
            f"The data folder cannot be used: {error.strerror or error}.",
            hint="Set CONTROLNET_MCP_DATA_DIR to a folder that this program may write.",
        ) from error


_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_SEEN = 10_000
"""Most paths that are remembered, some hundred bytes each."""


class BlobStore:
    """Content-addressed files `<folder>/<first two digits>/<sha256>.<extension>`, readable by their owner only.

    Attributes:
        decoder: Decodes every picture that comes in or is looked at.
        seen: Where files were stored or found, by key: known without a look at the disk, as long as nobody deletes
            them.
    """

    def __init__(self, folder: Path, decoder: Decoder = decode_channels) -> None:
        """Take the folder and the decoder; by default this process decodes."""
        self._folder = folder
        self.decoder = decoder
        self.seen: dict[str, Path] = {}

    def pixels(self, sha256: str, limits: Limits) -> "Rgb":
        """The pixels of a stored picture: shape (height, width, 3), 0 to 255, read-only.

        Raises:
            RequestError, StorageError: As `get`.
            ImageError: `image_unreadable`: as `controlnet_mcp.images.decode.decode`.
        """
        return decode(self.get(sha256), limits, self.decoder)

    def put_clean(
        self, content: bytes, limits: Limits, use: Use = "picture", frame: tuple[int, int] | None = None
    ) -> ReadPicture:
        """Store an untrusted picture as `controlnet_mcp.images.decode.clean` makes it.

        Raises:
            ImageError: `image_unreadable`: it is no picture, too large or broken, or a blank mask.
            StorageError: As `put`.
        """
        kept, read = clean(content, limits, self.decoder, use, frame)
        self.put(kept, read.picture.mime_type)
        return read

    def put_original(self, content: bytes, limits: Limits) -> StoredPicture:
        """Store a result as `controlnet_mcp.images.decode.original` leaves it; raises as `put_clean`."""
        return self._put(*original(content, limits, self.decoder))

    def put_pixels(self, rgb: "Rgb") -> StoredPicture:
        """Store pixels that were made here as PNG; raises as `put`."""
        from controlnet_mcp.images.encode import encode_png

        content = encode_png(rgb)
        return self._put(content, describe(content, "image/png", rgb))

    def put(self, content: bytes, mime_type: StoredType) -> str:
        """Store a picture; storing the same bytes again, even at the same moment, is cheap and changes nothing.

        Returns:
            The SHA-256 of the bytes, which is their key.

        Raises:
            StorageError: `not_configured`: the data folder cannot be written, or the disk is full (worth a retry).
        """
        sha256 = hashlib.sha256(content).hexdigest()
        self._write(content, sha256, mime_type)
        return sha256

    def _put(self, content: bytes, picture: StoredPicture) -> StoredPicture:
        self._write(content, picture.sha256, picture.mime_type)
        return picture

    def _write(self, content: bytes, sha256: str, mime_type: StoredType) -> None:
        path = self._folder / sha256[:2] / f"{sha256}.{EXTENSIONS[mime_type]}"
        with storage_errors():
            try:
                stored = path.stat().st_size == len(content)
            except FileNotFoundError:
                stored = False
                make_private(path.parent)
            if stored:
                os.utime(path)  # stored again, so it is not old
            else:
                write_whole(path, content)
            force_names(path.parent)  # always: another writer may just have renamed the file
        remember(self.seen, sha256, path, _MOST_SEEN)

    def get(self, sha256: str) -> bytes:
        """The bytes under a key, checked against it.

        Raises:
            RequestError: `not_found`: nothing is stored under the key.
            StorageError: `not_configured`: the file cannot be read, or was changed on disk.
        """
        path = self.path(sha256)
        with storage_errors():
            content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StorageError(
                "not_configured",
                f"The stored picture {sha256} was changed on disk.",
                hint="Delete its file in the data folder (CONTROLNET_MCP_DATA_DIR), then pass the picture again.",
            )
        return content

    def path(self, sha256: str) -> Path:
        """The file under a key.

        Raises:
            RequestError: `not_found`: it is no SHA-256 in lower-case hexadecimal digits, or nothing is stored under it.
        """
        if _SHA256.fullmatch(sha256):
            names = (f"{sha256}.{extension}" for extension in EXTENSIONS.values())
            for path in (self._folder / sha256[:2] / name for name in names):
                if path.is_file():
                    remember(self.seen, sha256, path, _MOST_SEEN)
                    return path
        self.seen.pop(sha256, None)
        raise RequestError(
            "not_found",
            f"No picture is stored under {sha256[:64]!r}.",
            hint="It may have been deleted from the data folder; make it or pass it again.",
        )

    def older_than(self, before: float) -> set[str]:
        """The keys of pictures that were not stored since a time (seconds since the epoch).

        Raises:
            StorageError: `not_configured`: the data folder cannot be read.
        """
        with storage_errors():
            paths = [path for path in self._folder.glob("*/*") if _SHA256.fullmatch(path.stem)]
            return {path.stem for path in paths if path.stat().st_mtime < before}

    def delete(self, sha256: str, before: float) -> None:
        """Delete a picture and its notes, unless stored again since a time (seconds of the epoch); raises as `put`."""
        with suppress(RequestError), storage_errors():
            path = self.path(sha256)
            if path.stat().st_mtime < before:
                for file in (path, *path.parent.glob(f"{sha256}.*.json")):
                    file.unlink(missing_ok=True)

    def delete_notes(self, about: Collection[str]) -> None:
        """Delete the notes of some names on all pictures; the pictures stay. Raises as `put`."""
        with storage_errors():
            for note in self._folder.glob("*/*.json"):
                if note.stem.partition(".")[2] in about:
                    note.unlink(missing_ok=True)

    def annotate(self, sha256: str, about: str, content: bytes) -> None:
        """Write a note (JSON) called `about` into a file beside a picture, whose bytes are not touched.

        Not forced to disk: a power failure may lose a note, but the record has the same facts.

        Raises:
            RequestError: `not_found`: nothing is stored under the key.
            StorageError: As `put`.
        """
        path = note_beside(self.seen.get(sha256) or self.path(sha256), about)
        with storage_errors():
            write_whole(path, content, forced=False)

    def exists(self, sha256: str) -> bool:
        """Tell whether something is stored under a key."""
        with suppress(RequestError):
            return self.path(sha256).is_file()
        return False


def note_beside(picture: Path, about: str) -> Path:
    """The file into which `annotate` writes a note on a stored picture."""
    return picture.with_suffix(f".{about}.json")
