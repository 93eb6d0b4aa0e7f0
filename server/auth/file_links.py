"""Signed, expiring links to originals under `/files/`: each opens one picture for a day."""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import write_whole
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture, StoredType

LIFETIME_SECONDS = 24 * 3600
_SECRET = "files.secret"  # noqa: S105  # the name of a file
_SECONDS = re.compile(r"[0-9]{1,12}")


def load_secret(folder: Path) -> bytes:
    """Read the signing secret of a data folder, or make one that only the owner can read (blocks)."""
    path = folder / _SECRET
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
    """

    base_url: str
    secret: bytes
    clock: Callable[[], float]

    def url_of(self, picture: StoredPicture) -> str:
        """A link to a picture that works for a day."""
        name = f"{picture.sha256}.{EXTENSIONS[picture.mime_type]}"
        expires = int(self.clock()) + LIFETIME_SECONDS
        return f"{self.base_url.rstrip('/')}/files/{name}?expires={expires}&signature={self._sign(name, expires)}"

    def opens(self, name: str, expires: str, signature: str) -> tuple[str, StoredType] | None:
        """The picture that a link opens, as hash and MIME type; `None` for a forged, altered or expired link."""
        if not _SECONDS.fullmatch(expires) or int(expires) < self.clock():
            return None
        if not hmac.compare_digest(self._sign(name, int(expires)).encode(), signature.encode()):
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
        if not _SECONDS.fullmatch(expires):
            return None
        if not hmac.compare_digest(self._sign(name, int(expires)).encode(), signature.encode()):
            return None
        if opened := self.opens(name, expires, signature):
            return opened[0]
        raise RequestError(
            "not_found",
            "This link to a picture of this server has expired: such links work for a day.",
            hint="Pass the picture's controlnet:// URI, which job_status tells.",
        )

    def _sign(self, name: str, expires: int) -> str:
        return hmac.digest(self.secret, f"{name}\n{expires}".encode(), "sha256").hex()
