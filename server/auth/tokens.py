"""Bearer tokens from a file of the operator: one `name: token` a line, read again when the file changes.

A token may be written as it is (then nobody else may read the file) or as `sha256:` and the hexadecimal SHA-256 of it.
"""

import hashlib
import hmac
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from anyio import to_thread
from mcp.server.auth.provider import AccessToken
from pydantic import SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.redaction import SECRET, Redactor
from controlnet_mcp.server.auth.principals import FILE_ISSUER

SHORTEST_TOKEN = 24
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64}):\s*(?:sha256:(?P<hash>[0-9a-f]{64})|(?P<token>\S+))")
_LARGEST_BYTES = 1024 * 1024
_LOOK_SECONDS = 1.0
"""Time between two looks at the file: a token that was removed works no longer than that."""
_log = logging.getLogger(__name__)
Bearer: TypeAlias = tuple[str, bytes]
"""Name of a caller who may connect, and the SHA-256 of their token."""


@dataclass(slots=True)
class TokenFile:
    """Verifies tokens for the SDK; while the file is wrong, no token is accepted.

    Attributes:
        path: The file.
        redactor: Learns the tokens, so that they are never shown.
        clock: Seconds, of any epoch.
        resource: This server's URL, where OAuth tokens are taken too: those of the file are for this server.
        scopes: The scopes that every bearer in the file has.
    """

    path: Path
    redactor: Redactor
    clock: Callable[[], float] = time.monotonic
    resource: str | None = None
    scopes: Sequence[str] = ()
    _looked_at: float = field(default=float("-inf"), init=False)
    _state: tuple[int, ...] = field(default=(), init=False)
    _bearers: tuple[Bearer, ...] = field(default=(), init=False)

    async def load(self) -> None:
        """Read the file, unless it is as it was.

        Raises:
            RequestError: `not_configured`: it is missing, may be read by others, or holds a line that makes no sense.
        """
        self._looked_at = self.clock()
        await to_thread.run_sync(self._read)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Find the bearer; every entry is compared, each in constant time."""
        if self.clock() - self._looked_at >= _LOOK_SECONDS:
            try:
                await self.load()
            except RequestError as error:
                self._bearers, self._state = (), ()
                _log.error("No token is accepted until the file of tokens is right: %s", error)
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        names = [name for name, known in self._bearers if hmac.compare_digest(known, digest)]
        if not names:
            return None
        (name,) = names
        return AccessToken(
            token=SECRET,
            client_id=name,
            scopes=list(self.scopes),
            resource=self.resource,
            subject=name,
            claims={"iss": FILE_ISSUER},
        )

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                state = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
                if state == self._state:
                    return
                lines = file.read(_LARGEST_BYTES).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _wrong(self.path, f"cannot be read ({type(error).__name__})") from error
        bearers: list[Bearer] = []
        secrets: list[SecretStr] = []
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise _wrong(self.path, f"has a line {number} that is neither `name: token` nor `name: sha256:HEX`")
            name, token = found["name"], found["token"]
            if token is None:
                bearers.append((name, bytes.fromhex(found["hash"])))
                continue
            if len(token) < SHORTEST_TOKEN:
                raise _wrong(self.path, f"has a token in line {number} of fewer than {SHORTEST_TOKEN} characters")
            bearers.append((name, hashlib.sha256(token.encode()).digest()))
            secrets.append(SecretStr(token))
        _check(self.path, status, bearers, readable=not secrets)
        self.redactor.learn(secrets)
        self._bearers, self._state = tuple(bearers), state


def _check(path: Path, status: os.stat_result, bearers: list[Bearer], *, readable: bool) -> None:
    """Refuse a file that others could write, or read unless it may be, and names or tokens that stand twice."""
    if not bearers:
        raise _wrong(path, "names nobody")
    if len(bearers) > min(len(set(column)) for column in zip(*bearers, strict=True)):
        raise _wrong(path, "has a name or a token twice")
    if os.name == "nt":
        return  # its permissions are not these bits; SECURITY.md says so
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _wrong(path, "can be written by others (chmod 600)")
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and not readable:
        raise _wrong(path, "can be read by others (chmod 600, or write sha256:HEX in the place of tokens)")


def _wrong(path: Path, reason: str) -> RequestError:
    return RequestError(
        "not_configured",
        f"The file of tokens {path} {reason}.",
        hint="Write one `name: token` a line, tokens from `openssl rand -hex 32`, and let only its owner read it.",
    )
