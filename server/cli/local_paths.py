"""Files named on the command line: the user named them, so they are read wherever they are and through links."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.references import is_of_the_chat, parse, path_spellings

PICTURE_NAMES = frozenset({"control_image", "init_image", "mask_image", "image"})
"""Arguments that name a picture, also inside of `extra_controls`."""

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
                hint="Check the spelling; in `generate`, PROMPT comes before IMAGE.",
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
    """The file of a reference, links resolved; `None` for links, URIs, ids and all else that names none here."""
    if not os.path.exists(reference):  # noqa: PTH110  # pathlib raises for names that are too long
        named = parse(reference)
        if named.kind != "path" or named.text.startswith(_ASSET_ID) or is_of_the_chat(named.text):
            return None
        try:
            spellings = [os.path.expanduser(spelling) for spelling in path_spellings(named.text)]  # noqa: PTH111  # as above
        except RequestError:  # a URI of another machine, which the tool refuses
            return None
        reference = next(filter(os.path.exists, spellings), spellings[0])
    with suppress(OSError, ValueError):
        return Path(reference).resolve()
    return None
