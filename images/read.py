"""Reading what a caller names as a picture: it becomes a clean picture in the blob store, or an error."""

import hashlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from anyio import CapacityLimiter, to_thread

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.foundation.limits import DIRECT, Limits, Network, remember
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import ReadPicture
from controlnet_mcp.images.picture import StoredPicture, Use, too_large
from controlnet_mcp.images.references import (
    EXTRA_CHARACTERS,
    QUOTED_CHARACTERS,
    Reference,
    is_of_the_chat,
    parse,
    read_data_uri,
)
from controlnet_mcp.images.safe_open import open_file, read_file

_Source: TypeAlias = tuple[str, Use, tuple[int, int] | None]
"""The hash of a file, its use, and the frame that it was fitted to."""
CLEANED_AT_ONCE = 4
"""Pictures that are decoded at the same time; the largest legal one takes about 400 MB."""

_REMEMBERED = 256
"""Stored pictures that are remembered by the hash of their source, some hundred bytes each."""

_ACCEPTED = "Pass an https link, a data: URI, a controlnet:// reference or the path of a local file."
_REMOTELY = "Pass the picture as an https link, a data: URI or a controlnet:// reference."
_SYSTEMS = {"linux": "Linux", "darwin": "macOS"}


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Reads pictures from links, `data:` URIs, local files and our own references.

    Attributes:
        blobs: Where the clean pictures go.
        limits: Bytes, pixels and seconds.
        allowed_folders: Where local files may be read.
        trusted_hosts: `host` or `host:port` that links may lead to although private or plain http.
        resolve_resource: Maps a `controlnet://` URI of an owner to the SHA-256 of a stored picture.
        open_link: Maps a signed link to the SHA-256 of the stored picture that it opens; to nothing where another
            server signed it (blocks).
        network: How links to all other hosts are reached.
    """

    blobs: BlobStore
    limits: Limits
    allowed_folders: tuple[Path, ...]
    trusted_hosts: frozenset[str]
    resolve_resource: Callable[[str, str], Awaitable[str]]
    open_link: Callable[[str], str | None] = lambda _: None
    network: Network = DIRECT
    _kept: dict[_Source, ReadPicture] = field(default_factory=dict[_Source, ReadPicture], init=False)
    _cleaning: CapacityLimiter = field(default_factory=partial(CapacityLimiter, CLEANED_AT_ONCE), init=False)

    async def read(
        self,
        reference: str,
        *,
        local_paths: bool,
        owner: str = "",
        roots: Sequence[Path] = (),
        use: Use = "picture",
        frame: StoredPicture | None = None,
    ) -> ReadPicture:
        """Read a picture, clean it (upright, 8-bit RGB PNG, no metadata) and store it as what it is used for.

        The reference is an http(s) link, a `data:` URI, a `controlnet://` reference of the owner's, or, with
        `local_paths` (only where caller and server share a machine), a path or `file:` URI, in whatever it is wrapped.
        The `roots` are folders that the caller's client declares. A mask is fitted to the picture that is its `frame`.

        Raises:
            RequestError: `invalid_request`: nothing that names a picture; `not_found`: an unknown reference.
            ImageError: `image_blocked`: it may not be read from there; `image_unreadable`: it is missing, broken, too
                large or no picture.
            StorageError: `not_configured`: the data folder fails.
        """
        if len(reference) > 4 * self.limits.max_bytes + EXTRA_CHARACTERS:
            raise too_large(self.limits.max_bytes)
        notices: list[str] = []
        named = await to_thread.run_sync(parse, reference)
        match named.kind:
            case "data":
                content = await to_thread.run_sync(read_data_uri, named.text, self.limits.max_bytes)
            case "link" | "signed":
                content = await self._linked(named)
            case "stored":
                content = await to_thread.run_sync(self.blobs.get, await self.resolve_resource(named.text, owner))
            case "path" if local_paths:
                content = await to_thread.run_sync(self._file, named.text, tuple(roots), notices)
            case _:
                raise await to_thread.run_sync(partial(self._refusal, named, local_paths=local_paths))
        size = (frame.width, frame.height) if frame else None
        read = await to_thread.run_sync(self._keep, content, use, size, limiter=self._cleaning)
        return replace(read, notes=(*notices, *read.notes))

    async def is_elsewhere(self, references: Iterable[str]) -> bool:
        """Tell whether a reference is a path to no file below the allowed folders, so that roots may lead to it."""

        def look() -> bool:
            for named in map(parse, (text for text in references if len(text) <= EXTRA_CHARACTERS)):
                if named.kind == "path":
                    try:
                        os.close(open_file(named.text, self.allowed_folders))
                    except (ImageError, RequestError):
                        return True
            return False

        return await to_thread.run_sync(look)

    async def _linked(self, named: Reference) -> bytes:
        """The bytes behind a link; an original of this server comes from its store."""
        sha256 = await to_thread.run_sync(self.open_link, named.text) if named.kind == "signed" else None
        if sha256 is not None:
            return await to_thread.run_sync(self.blobs.get, sha256)
        from controlnet_mcp.images.download import fetch

        return await fetch(named.text, limits=self.limits, trusted_hosts=self.trusted_hosts, network=self.network)

    def _file(self, path: str, roots: Sequence[Path], notices: list[str]) -> bytes:
        """The bytes of a file; where there is none, what looks like an attachment of the chat is told as such."""
        roots = [root for root in roots if root.is_dir()]
        folders = (*self.allowed_folders, *filter(is_confined, roots))
        try:
            return read_file(path, folders, self.limits.max_bytes, roots=roots, notices=notices)
        except ImageError as error:
            if not is_of_the_chat(path):
                raise
            raise ImageError(error.code, error.message, hint=self._chat_hint(local_paths=True)) from error

    def _chat_hint(self, *, local_paths: bool) -> str:
        folder = next((folder for folder in self.allowed_folders if folder.is_dir()), None) if local_paths else None
        said = "Pictures of the chat do not reach this server: ask for "
        if not local_paths:
            return f"{said}an https link, or pass the picture as a data: URI."
        return f"{said}the file's path or a link{f', or save it into {folder}' if folder else ''}."

    def _refusal(self, named: Reference, *, local_paths: bool) -> RequestError | ImageError:
        """The error for a reference that cannot be read from anywhere."""
        shown = repr(quote(named.text, QUOTED_CHARACTERS))
        if named.kind == "nothing":
            return RequestError("invalid_request", "No picture was given.", hint=_ACCEPTED)
        if named.kind == "object":
            message = f"In {shown} there is no picture, or more than one."
            return RequestError("invalid_request", message, hint=_ACCEPTED if local_paths else _REMOTELY)
        if named.kind == "scheme":
            scheme = named.text.partition(":")[0][:40]
            return RequestError("invalid_request", f"Pictures cannot be read from {scheme}:// links.", hint=_ACCEPTED)
        if named.kind == "chat":
            message = f"{shown} is an attachment of the chat."
            return ImageError("image_blocked", message, hint=self._chat_hint(local_paths=local_paths))
        if named.kind == "windows" and local_paths:
            system = _SYSTEMS.get(sys.platform, "another system")
            return ImageError(
                "image_unreadable",
                f"{shown} is a path of Windows, and this server runs on {system}.",
                hint="Pass the path that the file has there (in WSL C:\\ is /mnt/c/), a link or a data: URI.",
            )
        return ImageError(
            "image_blocked",
            "Local files cannot be read over this connection, because it may come from another machine.",
            hint=self._chat_hint(local_paths=False) if is_of_the_chat(named.text) else _REMOTELY,
        )

    def _keep(self, content: bytes, use: Use, frame: tuple[int, int] | None) -> ReadPicture:
        """Clean and store a picture, or find it stored: pictures are used again and again; runs in a worker thread."""
        source = (hashlib.sha256(content).hexdigest(), use, frame)
        kept = self._kept.get(source)
        if kept is not None and self.blobs.exists(kept.picture.sha256):
            return kept
        read = self.blobs.put_clean(content, self.limits, use, frame)
        remember(self._kept, source, read, _REMEMBERED)
        return read


def is_confined(root: Path) -> bool:
    """Tell whether a folder that a client declares is narrow enough to be read from.

    The whole disk, the home folder and what holds it are not: keys and mail are there.
    """
    folder, home = root.resolve(), Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  # a machine may have none
    return folder != Path(folder.anchor) and not home.is_relative_to(folder)
