"""Signed, expiring links to originals under `/files/`: each opens one picture for a day."""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import storage_errors, write_whole
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture, StoredType

LIFETIME_SECONDS = 24 * 3600
_SECRET = "files.secret"  # noqa: S105  # the name of a file
_SECONDS = re.compile(r"[0-9]{1,12}")


_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_LONGEST_PREFIX = 200


def forwarded_prefix(headers: Headers) -> str:
    """The path under which a proxy serves this server, as it says in `X-Forwarded-Prefix`; empty where it says nothing.

    Whoever sends the header is the only one to be told the path, and anything but plain names in it is passed over, so
    that it leads to no other host. Several proxies are one path, the outermost first.
    """
    told = [part.strip(" /") for row in headers.getlist("x-forwarded-prefix") for part in row.split(",")]
    path = "".join(f"/{part}" for part in told if part)
    return path if _PATH.fullmatch(path) and len(path) <= _LONGEST_PREFIX else ""


def load_secret(folder: Path) -> bytes:
    """Read the signing secret of a data folder, or make one that only the owner can read (blocks).

    Raises:
        StorageError: `not_configured`: the data folder cannot be used.
    """
    path = folder / _SECRET
    with storage_errors():
        if not path.is_file():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, secrets.token_bytes(32))
        return path.read_bytes()


def sha256_behind(url: str, folder: Path) -> str | None:
    """The picture that a link opens which was signed with the secret of a data folder, if it has one (blocks).

    Raises:
        RequestError: As `FileLinks.sha256_behind`.
    """
    if not (folder / _SECRET).is_file():
        return None
    return FileLinks("", load_secret(folder), time.time).sha256_behind(url)


@dataclass(frozen=True, slots=True)
class FileLinks:
    """Makes and checks links.

    Attributes:
        base_url: Address of this server for others.
        secret: Signs; links of another secret are void.
        clock: Seconds since the epoch.
        told: The operator set the address; otherwise it is merely where the server listens.
    """

    base_url: str
    secret: bytes
    clock: Callable[[], float]
    told: bool = True

    def seen_by(self, request: object) -> "FileLinks":
        """The links for the sender of a request over HTTP, whose `Host` was checked: where they reached this server."""
        if self.told or not isinstance(request, Request) or not (host := request.headers.get("host")):
            return self
        return replace(self, base_url=f"{request.url.scheme}://{host}{forwarded_prefix(request.headers)}")

    def url_of(self, picture: StoredPicture) -> str:
        """A link to a picture that works for a day."""
        name = f"{picture.sha256}.{EXTENSIONS[picture.mime_type]}"
        expires = int(self.clock()) + LIFETIME_SECONDS
        return f"{self.base_url.rstrip('/')}/files/{name}?expires={expires}&signature={self._sign(name, expires)}"

    def opens(self, name: str, expires: str, signature: str) -> tuple[str, StoredType] | None:
        """The picture that a link opens, as hash and MIME type; `None` for a forged, altered or expired link."""
        if not self._signed(name, expires, signature) or int(expires) < self.clock():
            return None
        sha256, _, extension = name.partition(".")
        return next(((sha256, kind) for kind, ending in EXTENSIONS.items() if ending == extension), None)

    def sha256_behind(self, url: str) -> str | None:
        """The picture that a link opens, wherever this server is reached; `None` for a link of another secret.

        Raises:
            RequestError: `not_found`: a link of ours that has expired.
        """
        parts = urlsplit(url)
        query, name = parse_qs(parts.query), parts.path.rpartition("/")[2]
        expires, signature = (query.get(key, [""])[0] for key in ("expires", "signature"))
        if not self._signed(name, expires, signature):
            return None
        if opened := self.opens(name, expires, signature):
            return opened[0]
        raise RequestError(
            "not_found",
            "This link to a picture of this server has expired: such links work for a day.",
            hint="Pass the picture's controlnet:// URI, which job_status tells.",
        )

    def _signed(self, name: str, expires: str, signature: str) -> bool:
        """Tell whether a link was made with this secret, expired or not."""
        if not _SECONDS.fullmatch(expires):
            return False
        return hmac.compare_digest(self._sign(name, int(expires)).encode(), signature.encode())

    def _sign(self, name: str, expires: int) -> str:
        return hmac.digest(self.secret, f"{name}\n{expires}".encode(), "sha256").hex()
