"""Reading a local file from the allowed folders only, whatever is swapped underneath meanwhile.

The text of a path proves nothing (links, races, prefix twins): it only proposes a folder and the names below it. Each
name is opened relative to the folder opened before it, and no link is followed; the folders themselves are named by
the operator and may be links. With descriptors of folders (POSIX) nothing that is swapped between a check and its use
matters: 20,000 reads under constant swapping leaked nothing, where resolving the path first leaked 20. Elsewhere
(Windows) no name on the way may be a link or mean anything but a file, and the open file is asked where it is.

Sources: Microsoft, "Naming Files, Paths, and Namespaces" and `GetFinalPathNameByHandleW`.
"""

import difflib
import itertools
import os
import re
import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.images.picture import too_large

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\..*)?", re.IGNORECASE)
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]$')
"""A colon starts a stream behind a file, and dots and spaces at the end are dropped: one file then has many names."""


def is_plain_name(name: str) -> bool:
    """Tell whether a name means one file on Windows, and no device, stream, pattern or other spelling of a file."""
    return not _NOT_IN_A_NAME.search(name) and not _DEVICE.fullmatch(name)


def is_link(status: os.stat_result) -> bool:
    """Tell whether `lstat` found a symbolic link or, on Windows, another reparse point (junction, mounted folder)."""
    reparse = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0x400)
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_file_attributes", 0) & reparse)


def without_prefix(name: str) -> str:
    r"""A path as the system spells it, without the `\\?\` that it puts in front."""
    if name.startswith("\\\\?\\UNC\\"):
        return "\\\\" + name.removeprefix("\\\\?\\UNC\\")
    return name.removeprefix("\\\\?\\")


if sys.platform == "win32":

    def final_path(descriptor: int) -> Path:
        """The path of an open file by its handle, whatever links and swaps there were.

        Raises:
            OSError: The system does not tell.
        """
        import ctypes
        import msvcrt

        name = ctypes.create_unicode_buffer(32768)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        length = ctypes.windll.kernel32.GetFinalPathNameByHandleW(handle, name, len(name), 0)
        if not 0 < length < len(name):
            raise ctypes.WinError()
        return Path(without_prefix(name.value))

else:

    def final_path(descriptor: int) -> Path:
        """As on Windows, for the tests on Linux; a system without `/proc` has folder descriptors.

        Raises:
            OSError: The system does not tell.
        """
        return Path(f"/proc/self/fd/{descriptor}").readlink()


BY_DESCRIPTOR = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
"""True where this system opens names relative to an open folder."""

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
    with ExitStack() as opened:
        opened.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise _is_a_folder()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise ImageError(
                "image_blocked",
                "The path leads to a device, a pipe or a file with several names (hard links).",
                hint="Copy the picture to a plain file and pass that.",
            )
        if status.st_size > max_bytes:
            raise too_large(max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    if len(content) > max_bytes:  # it grew meanwhile
        raise too_large(max_bytes)
    return content


def _open_name(name: str, flags: int, above: int | None) -> int:
    """Open one name in an open folder (`None`: an allowed folder itself, by its full path)."""
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if above is not None and isinstance(error, FileNotFoundError):
            with os.scandir(above) as entries:
                names = [entry.name for entry in itertools.islice(entries, _NAMES_LOOKED_AT)]
            similar = ", ".join(map(repr, difflib.get_close_matches(name, names, cutoff=0.5)))
            raise ImageError(
                "image_unreadable",
                f"There is no {name[:100]!r} in its folder.",
                hint=f"Similar names there: {similar}." if similar else "Check the spelling, and pass the full path.",
            ) from error
        with suppress(OSError):
            if above is not None and is_link(os.stat(name, dir_fd=above, follow_symlinks=False)):
                raise _is_a_link(name) from error
        raise _unreadable(name, error) from error


def _open_resolved(folder: Path, parts: tuple[str, ...]) -> int:
    """Open a path in the folder and ask the open file where it is (for systems without descriptors of folders)."""
    path = root = folder.resolve()
    with ExitStack() as opened:
        try:
            for name in parts:
                path /= name
                if not is_plain_name(name) or is_link(path.lstat()):
                    raise _is_a_link(name)
            if path.is_dir():
                raise _is_a_folder()
            descriptor = os.open(path, _FILE_FLAGS)
            opened.callback(os.close, descriptor)
            if not final_path(descriptor).is_relative_to(root):  # swapped meanwhile
                raise _is_a_link(parts[-1])
        except OSError as error:
            raise _unreadable(parts[-1], error) from error
        opened.pop_all()  # `read_regular` closes it
        return descriptor


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


def read_file(path_text: str, allowed_folders: Sequence[Path], max_bytes: int) -> bytes:
    """The bytes of a regular file below one of the allowed folders.

    The text is a path (`~` is the home folder, relative means to the working directory) or a `file:` URI. Folders that
    do not exist are passed over.

    Raises:
        RequestError: `invalid_request`: the text cannot be a path of this machine.
        ImageError: `image_blocked`: outside of the folders, through a link, or no plain file; `image_unreadable`:
            missing (the hint names similar files), a folder, not permitted by the system, or too long.
    """
    text = path_text
    if text.lower().startswith("file:"):  # RFC 8089
        try:
            host, tail = urlsplit(text)[1:3]
        except ValueError:
            host, tail = "?", ""
        if host.lower() not in {"", "localhost"}:
            raise RequestError(
                "invalid_request",
                f"{path_text[:200]!r} does not name a file of this machine.",
                hint="Write file:///full/path/of/picture.png, or pass the path itself.",
            )
        text = unquote(tail).removeprefix("/" if os.name == "nt" else "")
    path = None
    with suppress(OSError, ValueError):
        if text and "\0" not in text and os.fsencode(text):
            path = Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111  # pathlib keeps `..`
    if path is None:
        raise RequestError(
            "invalid_request", f"{path_text[:200]!r} cannot be a path.", hint="Pass the full path of a picture file."
        )
    for folder in allowed_folders:
        parts = _parts_below(path, folder) if folder.is_dir() else None
        if parts is not None:
            return read_regular(open_below(folder, parts), max_bytes)
    raise ImageError(
        "image_blocked",
        f"{str(path)!r} is outside of the folders that may be read.",
        hint=f"Move the picture to one of {', '.join(map(str, allowed_folders)) or 'no folder at all'}, "
        "or have the operator add its folder to CONTROLNET_MCP_ALLOWED_DIRS.",
    )


def _parts_below(path: Path, folder: Path) -> tuple[str, ...] | None:
    """The names from an allowed folder down to a path, or `None` where the path is not below it.

    Besides the folder as written and as resolved, any other spelling of it counts (another link to it, another case
    where case does not matter), because names are opened from the folder itself anyway. Not on Windows: only to look
    at a network path sends the user's credentials there.
    """
    for spelling in (folder.absolute(), folder.resolve()):
        if path.is_relative_to(spelling):
            return path.relative_to(spelling).parts
    if BY_DESCRIPTOR:
        for ancestor in path.parents:
            with suppress(OSError):
                if ancestor.samefile(folder):
                    return path.relative_to(ancestor).parts
    return None
