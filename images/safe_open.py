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
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import too_large
from controlnet_mcp.images.references import QUOTED_CHARACTERS, path_spellings

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
_MOST_SIMILAR = 5


Choose: TypeAlias = Callable[[int | Path, str], str]
"""Chooses the name that is opened in a folder (its descriptor, or its path) for a name that was given."""


def open_below(folder: Path, parts: tuple[str, ...], choose: Choose = lambda _, name: name) -> int:
    """A descriptor of the file that the names lead to; no name may be a link, and `folder` itself may.

    Raises:
        FileNotFoundError: There is no such file.
        ImageError: `image_blocked`: a link; `image_unreadable`: the system does not permit it.
    """
    if not parts:
        raise _is_a_folder()
    if not BY_DESCRIPTOR:
        return _open_resolved(folder, parts, choose)
    above = _open_name(str(folder.resolve()), _FOLDER_FLAGS, None)
    try:
        for name in parts[:-1]:
            below = _open_name(choose(above, name), _FOLDER_FLAGS, above)
            os.close(above)
            above = below
        return _open_name(choose(above, parts[-1]), _FILE_FLAGS, above)
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
    except FileNotFoundError:
        raise
    except OSError as error:
        with suppress(OSError):
            if above is not None and is_link(os.stat(name, dir_fd=above, follow_symlinks=False)):
                raise _is_a_link(name) from error
        raise _unreadable(name, error) from error


def _open_resolved(folder: Path, parts: tuple[str, ...], choose: Choose) -> int:
    """Open a path in the folder and ask the open file where it is (for systems without descriptors of folders)."""
    path = root = folder.resolve()
    with ExitStack() as opened:
        try:
            for part in parts:
                name = choose(path, part)
                path /= name
                if not is_plain_name(name) or is_link(path.lstat()):
                    raise _is_a_link(name)
            if path.is_dir():
                raise _is_a_folder()
            descriptor = os.open(path, _FILE_FLAGS)
            opened.callback(os.close, descriptor)
            if not final_path(descriptor).is_relative_to(root):  # swapped meanwhile
                raise _is_a_link(parts[-1])
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(parts[-1], error) from error
        opened.pop_all()  # `read_regular` closes it
        return descriptor


def _is_a_link(name: str) -> ImageError:
    return ImageError(
        "image_blocked",
        f"{_quoted(name)} is a link or no plain file, and links are not followed.",
        hint="Pass the path that it points to.",
    )


def _is_a_folder() -> ImageError:
    return ImageError("image_unreadable", "The path leads to a folder.", hint="Pass the path of one picture in it.")


def _unreadable(name: str, error: OSError) -> ImageError:
    return ImageError(
        "image_unreadable",
        f"{_quoted(name)} cannot be opened: {error.strerror or error}.",
        hint="Check that it is a file and that this program may read it.",
    )


def read_file(
    path_text: str,
    allowed_folders: Sequence[Path],
    max_bytes: int,
    *,
    roots: Sequence[Path] = (),
    notices: list[str] | None = None,
) -> bytes:
    """The bytes of a regular file below one of the allowed folders; the arguments and errors are those of `open_file`.

    Raises:
        RequestError: `invalid_request`: the text cannot be a path of this machine.
        ImageError: As `open_file`, and `image_unreadable` for a folder or a file that is too long.
    """
    return read_regular(open_file(path_text, allowed_folders, roots, notices), max_bytes)


def open_file(
    path_text: str, allowed_folders: Sequence[Path], roots: Sequence[Path] = (), notices: list[str] | None = None
) -> int:
    """A descriptor of a file below one of the allowed folders.

    The text is a path (`~` is the home folder, relative means to the working directory, then to the `roots`) or a
    `file:` URI. A file that has the name as written comes first; then one that is alike (`alike`), which is told in the
    `notices`. Folders that do not exist are passed over.

    Raises:
        RequestError: `invalid_request`: the text cannot be a path of this machine.
        ImageError: `image_blocked`: outside of the folders, through a link, or no plain file; `image_unreadable`:
            missing (the hint names similar files), or not permitted by the system.
    """
    starts: list[str | Path] = ["", *roots]
    paths = _paths_meant(path_text, starts)
    if not paths:
        raise RequestError(
            "invalid_request", f"{_quoted(path_text)} cannot be a path.", hint="Pass the full path of a picture file."
        )
    folders = [folder for folder in allowed_folders if folder.is_dir()]
    below = [
        (folder, parts) for path in paths for folder in folders if (parts := _parts_below(path, folder)) is not None
    ]
    for folder, parts in below:
        with suppress(FileNotFoundError):
            return open_below(folder, parts)
    refusal: ImageError | None = None
    for folder, parts in below:
        chosen: list[str] = []
        try:
            descriptor = open_below(folder, parts, partial(_name_there, folder, chosen))
        except FileNotFoundError as error:  # it has just gone
            refusal = refusal or _unreadable(parts[-1], error)
        except ImageError as error:
            refusal = refusal or error
        else:
            if notices is not None:
                notices.append(
                    f"The file that was read is {str(folder.joinpath(*chosen))!r}: it is the only one there that "
                    "differs from the given name in nothing but spaces, quotes, dashes, case or Unicode form."
                )
            return descriptor
    raise refusal or _is_outside(path_text, paths[0], starts, allowed_folders)


def _paths_meant(path_text: str, starts: Sequence[str | Path]) -> list[Path]:
    """The absolute paths that a text may stand for."""
    paths: list[Path] = []
    for spelling in path_spellings(path_text):
        with suppress(OSError, ValueError):
            if spelling and "\0" not in spelling and os.fsencode(spelling):
                relative = os.path.expanduser(spelling)  # noqa: PTH111  # pathlib raises where there is no such user
                paths += [Path(os.path.abspath(os.path.join(start, relative))) for start in starts]  # noqa: PTH100, PTH118  # pathlib keeps `..`
    return list(dict.fromkeys(paths))


def _is_outside(
    path_text: str, path: Path, starts: Sequence[str | Path], allowed_folders: Sequence[Path]
) -> ImageError:
    message = f"{_quoted(str(path))} is outside of the folders that may be read."
    if not (path_text.startswith(("~", "$", "%")) or path_text[:5].lower() == "file:" or Path(path_text).is_absolute()):
        places = " and ".join(repr(os.path.abspath(start)) for start in starts)  # noqa: PTH100  # also of nothing
        message = f"{_quoted(path_text)} was looked up in {places}, outside of the folders that may be read."
    there = [str(folder) for folder in allowed_folders if folder.is_dir()]
    absent = ", ".join(str(folder) for folder in allowed_folders if not folder.is_dir())
    hint = (
        f"Move the picture to {' or '.join(there) or 'no folder at all'} and pass its full path, or have the operator "
        f"add its folder to CONTROLNET_MCP_ALLOWED_DIRS{f' ({absent} does not exist)' if absent else ''}."
    )
    return ImageError("image_blocked", message, hint=hint)


def _quoted(text: str) -> str:
    return repr(quote(text, QUOTED_CHARACTERS))


def _parts_below(path: Path, folder: Path) -> tuple[str, ...] | None:
    """The names from an allowed folder down to a path, or `None` where the path is not below it.

    Besides the folder as written and as resolved, any other spelling of it counts (another link to it, another case
    where case does not matter, a name that is alike where no folder has the given one), because names are opened from
    the folder itself anyway. Not on Windows: only to look at a network path sends the user's credentials there.
    """
    for spelling in (folder.absolute(), folder.resolve()):
        if path.is_relative_to(spelling):
            return path.relative_to(spelling).parts
    if BY_DESCRIPTOR:
        for ancestor in path.parents:
            with suppress(OSError):
                if ancestor.samefile(folder):
                    return path.relative_to(ancestor).parts
        depth = len(folder.absolute().parts)
        if alike(str(Path(*path.parts[:depth]))) == alike(str(folder.absolute())):
            given = Path(*path.parts[:depth])
            with suppress(OSError):
                return None if given.exists() else path.parts[depth:]
    return None


_QUOTES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u0060\u00b4\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    }
)
_MOST_NAMES = 20_000


def alike(name: str) -> str:
    """The form in which names are equal that people and models do not tell apart.

    Compatible forms of characters (NFKC), kinds of spaces, quotes and dashes, case, and characters without a shape: a
    macOS screenshot has a narrow no-break space before PM, and its accents are characters of their own.
    """
    text = unicodedata.normalize("NFKC", name.translate(_QUOTES)).casefold()
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", shown).split())


def _name_there(root: Path, chosen: list[str], folder: int | Path, name: str) -> str:
    """The name where it exists, else the only one in the folder that is alike; what was chosen so far is noted.

    Raises:
        ImageError: `image_unreadable`: none is alike, or several are; the hint names them.
    """
    try:
        os.lstat(name, dir_fd=folder) if isinstance(folder, int) else os.lstat(folder / name)  # by descriptor
    except FileNotFoundError as error:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
        found = [other for other in names if alike(other) == alike(name)]
        if len(found) != 1:
            near = found or difflib.get_close_matches(name, names[:_NAMES_LOOKED_AT], cutoff=0.5)
            similar = ", ".join(map(ascii if found else repr, near[:_MOST_SIMILAR]))
            raise ImageError(
                "image_unreadable",
                f"There is no {_quoted(name)} in {_quoted(str(root.joinpath(*chosen)))}.",
                hint=f"Similar names there: {similar}." if near else "Check the spelling, and pass the full path.",
            ) from error
        name = found[0]
    except (OSError, ValueError):
        pass  # opening it tells what is wrong
    chosen.append(name)
    return name
