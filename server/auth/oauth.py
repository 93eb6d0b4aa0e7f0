"""Tokens of an authorization server (OAuth 2.1): signed for this server, by that issuer, and not expired.

The keys come from the address that the operator set; nothing in a token says where to look or how it was signed.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import httpx2
import jwt
from jwt.exceptions import PyJWTError
from mcp.server.auth.provider import AccessToken
from pydantic import BaseModel, TypeAdapter, ValidationError

from controlnet_mcp.foundation.redaction import SECRET
from controlnet_mcp.images.download import TooLongError, TooSlowError, read_body

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key only: a published key must never verify as a shared one, and `none` is no signature."""
_FETCH_SECONDS = 10.0
_MAX_KEY_SET_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)


class _Claims(BaseModel):
    """Claims of a token whose signature, issuer, audience and time are right."""

    sub: str
    exp: int
    client_id: str | None = None
    azp: str | None = None
    scope: str = ""


_KEY_SET: TypeAdapter[dict[str, list[dict[str, object]]]] = TypeAdapter(dict[str, list[dict[str, object]]])


@dataclass(slots=True)
class KeySet:
    """The issuer's public keys, fetched when an unknown one is named and when they are old.

    Attributes:
        url: The address that they are published at.
        clock: Seconds, of any epoch.
        pause_seconds: Shortest time between two fetches, failed ones included.
        lifetime_seconds: A key that the issuer withdrew opens nothing after this.
        patience_seconds: No key opens anything when the issuer's keys could not be had for so long: it may have
            withdrawn them all.
    """

    url: str
    clock: Callable[[], float] = time.monotonic
    pause_seconds: float = 30.0
    lifetime_seconds: float = 300.0
    patience_seconds: float = 3600.0
    _keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict[str, jwt.PyJWK], init=False)
    _known_at: float = field(default=float("-inf"), init=False)
    _fetched_at: float = field(default=float("-inf"), init=False)
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock, init=False)

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of an id."""
        async with self._one_at_a_time:
            lasts = self.lifetime_seconds if key_id in self._keys and self._holds() else self.pause_seconds
            if self.clock() - self._fetched_at >= lasts:
                self._fetched_at = self.clock()
                await self._fetch()
            return self._keys.get(key_id) if self._holds() else None

    def _holds(self) -> bool:
        """Tell whether the known keys still count."""
        return self.clock() - self._known_at < self.patience_seconds

    async def _fetch(self) -> None:
        """Fetch the published keys; where that fails, the known ones stay. Keys of other kinds are passed over."""
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                async with (
                    httpx2.AsyncClient(follow_redirects=False) as client,
                    client.stream("GET", self.url) as answer,
                ):
                    parts = answer.raise_for_status().aiter_bytes()
                    content = await read_body(parts, max_bytes=_MAX_KEY_SET_BYTES, window_seconds=_FETCH_SECONDS)
            rows = _KEY_SET.validate_json(content)["keys"]
        except (
            *(httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, TooLongError, TooSlowError),
            *(ValueError, KeyError, ImportError),
        ) as error:
            _log.warning("The keys of the token issuer cannot be fetched: %s", type(error).__name__)
            return
        found: dict[str, jwt.PyJWK] = {}
        for row in rows:
            with suppress(PyJWTError, ValueError, TypeError, KeyError):  # one that nobody here can read
                key = jwt.PyJWK(row)
                if key.algorithm_name in ALGORITHMS and row.get("use", "sig") == "sig":
                    found[str(row["kid"])] = key
        self._keys, self._known_at = found, self.clock()


@dataclass(frozen=True, slots=True)
class OAuthTokens:
    """Verifies tokens for the SDK.

    Attributes:
        issuer: `iss` of every token.
        resource: `aud` of every token: this server's own URL, so that a token for another service opens nothing here.
        keys: The issuer's.
    """

    issuer: str
    resource: str
    keys: KeySet

    async def verify_token(self, token: str) -> AccessToken | None:
        """Find the bearer; `None` for any doubt."""
        try:
            key = await self.keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                return None
            claims = _Claims.model_validate(
                jwt.decode(
                    token,
                    key,
                    algorithms=ALGORITHMS,
                    issuer=self.issuer,
                    audience=self.resource,
                    options={"require": ["exp", "iss", "aud", "sub"]},
                )
            )
        except (PyJWTError, ValidationError) as error:
            _log.info("A token was refused: %s", type(error).__name__)
            return None
        return AccessToken(
            token=SECRET,
            client_id=claims.client_id or claims.azp or claims.sub,
            scopes=claims.scope.split(),
            expires_at=claims.exp,
            resource=self.resource,
            subject=claims.sub,
            claims={"iss": self.issuer},
        )
