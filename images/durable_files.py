"""Files that appear whole or not at all, survive a crash, and are readable by their owner only. All functions block."""

import errno
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from controlnet_mcp.images.errors import StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Windows knows no links at this level and must be told not to translate line ends.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents, for the owner only, and force their names to disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        force_names(path.parent)


def write_whole(path: Path, content: bytes, *, forced: bool = True) -> None:
    """Write a file so that its name appears with all of its bytes or not at all.

    Args:
        path: In a folder that is there; a file of that name is replaced.
        content: All of it.
        forced: Whether that holds after a power failure too, which costs a wait for the disk.
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
def explained() -> Generator[None, None, None]:
    """Tell what went wrong with the data folder, and the operator what to do about it."""
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
