"""Files named on the command line: the user named them, so they are read wherever they are and through links."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.server.environment import expanded

PICTURE_NAMES = frozenset({"control_image", "init_image", "mask_image", "image"})
"""Arguments that name a picture, also inside of `extra_controls`."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_ASSET_ID = "asset_"


def with_own_files(arguments: Mapping[str, object]) -> tuple[dict[str, object], frozenset[Path]]:
    """Write local pictures as full paths.

    Returns:
        The arguments, and the folders of the pictures.

    Raises:
        ImageError: `image_unreadable`: the folder of a picture does not exist.
    """
    folders: set[Path] = set()
    written = {name: _written(name, value, folders) for name, value in arguments.items()}
    return written, frozenset(folders)


def _written(name: str, value: object, folders: set[Path]) -> object:
    if isinstance(value, str) and name in PICTURE_NAMES:
        path = file_meant(value)
        if path is not None and not os.path.isdir(path.parent):  # noqa: PTH112  # pathlib raises for long names
            raise ImageError(
                "image_unreadable",
                f"There is no file {quote(value, 100)!r}, and no folder that it could be in.",
                hint="Check the spelling; PROMPT comes before IMAGE.",
            )
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
    """The file of a path or `file:` URI, links resolved; `None` for links of the web, other URIs and ids of assets."""
    text = reference.strip()
    if text.lower().startswith("file:"):
        text = expanded(text, {})
    if not text or _URI.match(text) or "\0" in text or (text.startswith(_ASSET_ID) and not os.path.exists(text)):  # noqa: PTH110  # pathlib raises for long names
        return None
    return Path(os.path.realpath(os.path.expanduser(text)))  # noqa: PTH111  # as above
