"""Files named on the command line: the user named them, so they are read wherever they are and through links."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

PICTURE_NAMES = frozenset({"control_image", "init_image", "mask_image", "image"})
"""Arguments that name a picture, also inside of `extra_controls`."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_ASSET_ID = "asset_"


def with_own_files(arguments: Mapping[str, object]) -> tuple[dict[str, object], frozenset[Path]]:
    """Write local pictures as full paths.

    Returns:
        The arguments, and the folders of the pictures.
    """
    folders: set[Path] = set()
    written = {name: _written(name, value, folders) for name, value in arguments.items()}
    return written, frozenset(folders)


def _written(name: str, value: object, folders: set[Path]) -> object:
    if isinstance(value, str) and name in PICTURE_NAMES:
        path = file_meant(value)
        if path is not None:
            folders.add(path.parent)
            return str(path)
    if isinstance(value, list):
        return [_written(name, item, folders) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        rows = cast("dict[str, object]", value)
        return {inner: _written(inner, item, folders) for inner, item in rows.items()}
    return value


def file_meant(reference: str) -> Path | None:
    """The file of a reference, links resolved; `None` for links of the web, URIs and ids of assets."""
    path = Path(reference)
    if not reference.strip() or _URI.match(reference) or (reference.startswith(_ASSET_ID) and not path.exists()):
        return None
    with suppress(RuntimeError):  # no such user's home folder
        path = path.expanduser()
    return path.resolve()
