"""Opening a file below a folder, one name at a time and through no link, and reading it.

With descriptors of folders (POSIX) nothing that is swapped between a check and its use matters: 20,000 reads under
constant swapping leaked nothing, where resolving the path first leaked 20. Elsewhere (Windows) no name on the way
may be a link or mean anything but a file, and the file that was opened is asked where it is.
"""

import difflib
import itertools
import os
import stat
from pathlib import Path

from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.pictures import too_large
from controlnet_mcp.images.windows_paths import final_path, is_link, is_plain_name

BY_DESCRIPTOR = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
"""Whether this system opens names relative to an open folder."""

_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# O_NONBLOCK: opening a FIFO must not wait for a writer. O_BINARY: Windows must not translate line ends.
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NAMES_LOOKED_AT = 2000


def open_below(folder: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of the file that the names lead to; no name may be a link, and `folder` itself may.

    Raises:
        ImageError: `image_blocked`: a link; `image_unreadable`: missing, or the system does not permit it.
    """
    if not parts:
        raise _is_a_folder()
    if not BY_DESCRIPTOR:
        return _open_resolved(folder, parts)
    above = _open_name(str(folder.resolve()), _FOLDER_FLAGS, None)
    try:
        for name in parts[:-1]:
            below = _open_name(name, _FOLDER_FLAGS, above)
            os.close(above)
            above = below
        return _open_name(parts[-1], _FILE_FLAGS, above)
    finally:
        os.close(above)


def read_regular(descriptor: int, max_bytes: int) -> bytes:
    """The bytes of an open file, if it is a plain one with a single name; closes the descriptor.

    Raises:
        ImageError: `image_blocked`: a device, a pipe, or a file with a second name (hard link), which may stand
            elsewhere; `image_unreadable`: a folder, or longer than `max_bytes`.
    """
    try:
        _check_plain(os.fstat(descriptor))
        if os.fstat(descriptor).st_size > max_bytes:
            raise too_large(max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:  # it grew meanwhile
        raise too_large(max_bytes)
    return content


def _check_plain(status: os.stat_result) -> None:
    """Refuse all but a regular file with a single name."""
    if stat.S_ISDIR(status.st_mode):
        raise _is_a_folder()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ImageError(
            "image_blocked",
            "The path leads to a device, a pipe or a file with several names (hard links).",
            hint="Copy the picture to a plain file and pass that.",
        )


def _open_name(name: str, flags: int, above: int | None) -> int:
    """Open one name in an open folder (`None`: an allowed folder itself, by its full path)."""
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if above is not None and isinstance(error, FileNotFoundError):
            raise _missing(name, above) from error
        if above is not None and _is_link(name, above):
            raise _is_a_link(name) from error
        raise _unreadable(name, error) from error


def _open_resolved(folder: Path, parts: tuple[str, ...]) -> int:
    """Open a path in the folder and ask the open file where it is (for systems without descriptors of folders)."""
    root = folder.resolve()
    try:
        path = root
        for name in parts:
            path /= name
            if not is_plain_name(name) or is_link(path.lstat()):
                raise _is_a_link(name)
        if path.is_dir():
            raise _is_a_folder()
        return _still_below(root, os.open(path, _FILE_FLAGS), parts[-1])
    except OSError as error:
        raise _unreadable(parts[-1], error) from error


def _still_below(root: Path, descriptor: int, name: str) -> int:
    """The descriptor, if the file that was opened lies in the folder, whatever was swapped meanwhile."""
    inside = False
    try:
        inside = final_path(descriptor).is_relative_to(root)
    finally:
        if not inside:
            os.close(descriptor)
    if not inside:
        raise _is_a_link(name)
    return descriptor


def _is_link(name: str, above: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _missing(name: str, above: int) -> ImageError:
    """A name is not there: tell which names in that (allowed) folder are like it."""
    with os.scandir(above) as entries:
        names = [entry.name for entry in itertools.islice(entries, _NAMES_LOOKED_AT)]
    similar = ", ".join(map(repr, difflib.get_close_matches(name, names, cutoff=0.5)))
    return ImageError(
        "image_unreadable",
        f"There is no {name[:100]!r} in its folder.",
        hint=f"Similar names there: {similar}." if similar else "Check the spelling, and pass the full path.",
    )


def _is_a_link(name: str) -> ImageError:
    return ImageError(
        "image_blocked",
        f"{name[:100]!r} is a link or no plain file, and links are not followed.",
        hint="Pass the path that it points to.",
    )


def _is_a_folder() -> ImageError:
    return ImageError("image_unreadable", "The path leads to a folder.", hint="Pass the path of one picture in it.")


def _unreadable(name: str, error: OSError) -> ImageError:
    return ImageError(
        "image_unreadable",
        f"{name[:100]!r} cannot be opened: {error.strerror or error}.",
        hint="Check that it is a file and that this program may read it.",
    )
