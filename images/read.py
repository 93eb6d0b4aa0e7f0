"""Reading what a caller names as a picture: it becomes a clean picture in the blob store, or an error.

`data:` URIs (RFC 2397) are read tolerantly but never beyond the limit; the type that they claim is ignored.
"""

import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from anyio import CapacityLimiter, to_thread

from controlnet_mcp.foundation.errors import ImageError, RequestError
from controlnet_mcp.foundation.limits import DIRECT, Limits, Network, remember
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import StoredPicture, too_large
from controlnet_mcp.images.safe_open import read_file

_BASE64 = re.compile(r"[A-Za-z0-9+/=_\-\s]+")
_SHORTEST_BASE64 = 48
# The first base64 digits of the signatures of PNG, JPEG, WebP, GIF and BMP.
_PICTURE_STARTS = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "UklGR": "webp", "R0lGOD": "gif", "Qk": "bmp"}
_LONGEST_PATH = 4096
_URL_SAFE = str.maketrans("-_", "+/")
CLEANED_AT_ONCE = 4
"""Pictures that are decoded at the same time; the largest legal one takes about 400 MB."""

_REMEMBERED = 256
"""Stored pictures that are remembered by the hash of their source, some hundred bytes each."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+):(?P<slashes>//)?")
_SCHEMES = frozenset({"data", "http", "https", "controlnet", "file"})
_ACCEPTED = "Pass an https link, a data: URI, a controlnet:// reference or the path of a local file."


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """The bytes of a `data:` URI: base64 (with or without padding, spaces and URL-safe digits) or percent-encoded.

    Raises:
        RequestError: `invalid_request`: there is no comma, or the base64 is broken.
        ImageError: `image_unreadable`: more than `max_bytes`; raised before anything is decoded.
    """
    header, comma, body = uri.partition(":")[2].partition(",")
    if not comma:
        raise _malformed("there is no comma after its type")
    in_base64 = header.lower().rstrip().endswith(";base64")
    longest = max_bytes * (4 if in_base64 else 3)  # every byte as %XX, or each base64 digit of four so
    if len(body) > longest:
        raise too_large(max_bytes)
    if in_base64:
        digits = "".join(unquote(body).split()).rstrip("=").translate(_URL_SAFE)
        try:
            content = binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
        except ValueError as error:
            raise _malformed("its base64 is cut off or holds other characters") from error
    else:
        content = unquote_to_bytes(body)
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def missing_prefix(text: str) -> str | None:
    """The prefix that would make a `data:` URI of bare base64; `None` where the text is something else, like a path."""
    if len(text) < _SHORTEST_BASE64 or not _BASE64.fullmatch(text):
        return None
    kind = next((kind for start, kind in _PICTURE_STARTS.items() if text.startswith(start)), None)
    if kind is None and len(text) <= _LONGEST_PATH:
        return None
    return f"data:image/{kind or 'png'};base64,"


def _malformed(why: str) -> RequestError:
    return RequestError(
        "invalid_request",
        f"The data: URI cannot be read: {why}.",
        hint="Write it as data:image/png;base64,<all of the base64>; better, pass a link or a file.",
    )


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Reads pictures from links, `data:` URIs, local files and our own references.

    Attributes:
        blobs: Where the clean pictures go.
        limits: Bytes, pixels and seconds.
        allowed_folders: Where local files may be read.
        trusted_hosts: `host` or `host:port` that links may lead to although private or plain http.
        resolve_resource: Maps a `controlnet://` URI of an owner to the SHA-256 of a stored picture.
        network: How links to all other hosts are reached.
    """

    blobs: BlobStore
    limits: Limits
    allowed_folders: tuple[Path, ...]
    trusted_hosts: frozenset[str]
    resolve_resource: Callable[[str, str], Awaitable[str]]
    network: Network = DIRECT
    _kept: dict[str, StoredPicture] = field(default_factory=dict[str, StoredPicture], init=False)
    _cleaning: CapacityLimiter = field(default_factory=partial(CapacityLimiter, CLEANED_AT_ONCE), init=False)

    async def read(self, reference: str, *, local_paths: bool, owner: str = "") -> StoredPicture:
        """Read a picture, clean it (upright, 8-bit RGB PNG, no metadata) and store it.

        The reference is an http(s) link, a `data:` URI, a `controlnet://` reference of the owner's, or, with
        `local_paths` (only where caller and server share a machine), a path or `file:` URI.

        Raises:
            RequestError: `invalid_request`: nothing that names a picture; `not_found`: an unknown reference.
            ImageError: `image_blocked`: it may not be read from there; `image_unreadable`: it is missing, broken, too
                large or no picture.
            StorageError: `not_configured`: the data folder fails.
        """
        reference = reference.strip()
        if not reference:
            raise RequestError("invalid_request", "No picture was given.", hint=_ACCEPTED)
        found = _SCHEME.match(reference)
        scheme = found["scheme"].lower() if found else ""
        if scheme not in _SCHEMES:  # a path, if it is not one of two mistakes
            if found and found["slashes"]:
                message = f"Pictures cannot be read from {scheme[:40]}:// links."
                raise RequestError("invalid_request", message, hint=_ACCEPTED)
            if prefix := missing_prefix(reference):
                message = "The picture was given as base64 without saying so."
                raise RequestError("invalid_request", message, hint=f"Put {prefix!r} in front of it.")
        match scheme:
            case "data":
                content = await to_thread.run_sync(read_data_uri, reference, self.limits.max_bytes)
            case "http" | "https":
                from controlnet_mcp.images.download import fetch

                content = await fetch(
                    reference, limits=self.limits, trusted_hosts=self.trusted_hosts, network=self.network
                )
            case "controlnet":
                content = await to_thread.run_sync(self.blobs.get, await self.resolve_resource(reference, owner))
            case _ if local_paths:
                content = await to_thread.run_sync(read_file, reference, self.allowed_folders, self.limits.max_bytes)
            case _:
                raise ImageError(
                    "image_blocked",
                    "Local files cannot be read over this connection, because it may come from another machine.",
                    hint="Pass the picture as an https link, a data: URI or a controlnet:// reference.",
                )
        return await to_thread.run_sync(self._keep, content, limiter=self._cleaning)

    def _keep(self, content: bytes) -> StoredPicture:
        """Clean and store a picture, or find it stored: pictures are used again and again; runs in a worker thread."""
        sha256 = hashlib.sha256(content).hexdigest()
        kept = self._kept.get(sha256)
        if kept is not None and self.blobs.exists(kept.sha256):
            return kept
        picture = self.blobs.put_clean(content, self.limits)
        remember(self._kept, sha256, picture, _REMEMBERED)
        return picture
