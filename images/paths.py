"""Reading a local file from the allowed folders only, whatever is swapped underneath meanwhile.

The text of a path proves nothing (links, races, prefix twins), so it only proposes a folder and the names below it;
each name is opened relative to the folder opened before it, and no link is followed. The folders themselves are the
operator's word and may be links.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from controlnet_mcp.images.descent import BY_DESCRIPTOR, open_below, read_regular
from controlnet_mcp.images.errors import ImageError, RequestError


def read_file(path_text: str, allowed_folders: Sequence[Path], max_bytes: int) -> bytes:
    """The bytes of a regular file below one of the allowed folders.

    Args:
        path_text: A path (`~` is the home folder, relative means to the working directory) or a `file:` URI.
        allowed_folders: Where files may be read; those that do not exist are passed over.
        max_bytes: Longest file.

    Raises:
        RequestError: `invalid_request`: the text cannot be a path of this machine.
        ImageError: `image_blocked`: outside of the folders, through a link, or no plain file; `image_unreadable`:
            missing (the hint names similar files), a folder, not permitted by the system, or too long.
    """
    path = _absolute(path_text)
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


def _absolute(path_text: str) -> Path:
    """The absolute path that a text means, with `..` resolved as text."""
    text = _from_uri(path_text) if path_text.lower().startswith("file:") else path_text
    if not text or "\0" in text:
        raise _no_path(path_text)
    try:
        os.fsencode(text)
        return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111  # pathlib keeps `..`
    except (OSError, ValueError) as error:
        raise _no_path(path_text) from error


def _no_path(path_text: str) -> RequestError:
    return RequestError(
        "invalid_request", f"{path_text[:200]!r} cannot be a path.", hint="Pass the full path of a picture file."
    )


def _from_uri(uri: str) -> str:
    """The path in a `file:` URI of this machine (RFC 8089)."""
    try:
        parts = urlsplit(uri)
        local = parts.netloc.lower() in {"", "localhost"}
    except ValueError:
        local, parts = False, urlsplit("")
    if not local:
        raise RequestError(
            "invalid_request",
            f"{uri[:200]!r} does not name a file of this machine.",
            hint="Write file:///full/path/of/picture.png, or pass the path itself.",
        )
    path = unquote(parts.path)
    return path.removeprefix("/") if os.name == "nt" else path


def _parts_below(path: Path, folder: Path) -> tuple[str, ...] | None:
    """The names from an allowed folder down to a path, or `None` where the path is not below it.

    Besides the folder as written and as resolved, any other spelling of it counts (another link to it, another case
    where case does not matter), because the descent starts from the folder itself anyway. Not on Windows: only to look
    at a network path sends the user's credentials there.
    """
    for spelling in (folder.absolute(), folder.resolve()):
        if path.is_relative_to(spelling):
            return path.relative_to(spelling).parts
    if BY_DESCRIPTOR:
        for ancestor in path.parents:
            try:
                if ancestor.samefile(folder):
                    return path.relative_to(ancestor).parts
            except OSError:
                continue
    return None
