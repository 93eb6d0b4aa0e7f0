"""Redaction: secrets are cut out of all that leaves, in every spelling that other programs write them in."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from pydantic import JsonValue, SecretStr

SECRET = "(secret)"  # noqa: S105  # what is shown instead of one
_SHORTEST = 6
"""Shorter texts are no keys; cutting them out would only spoil sentences."""


class Redactor:
    """Replaces secrets: as they are, as JSON escapes them, percent-encoded, and in base64."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        """Take the secrets."""
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[SecretStr]) -> None:
        """Add secrets, such as tokens that the operator adds while the server runs."""
        found = set(self._texts)
        for secret in (secret.get_secret_value() for secret in secrets):
            if len(secret) >= _SHORTEST:
                escaped = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
                encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
                found |= {secret, *escaped, quote(secret, safe=""), quote_plus(secret), encoded}
        ordered = sorted(found, key=len, reverse=True)  # the longest first: some hold others
        self._texts = tuple(ordered)
        self._bytes = tuple(text.encode() for text in ordered)

    def text(self, text: str) -> str:
        """Text without secrets."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, SECRET)
        return text

    def body(self, content: bytes) -> bytes:
        """Bytes without secrets."""
        for secret in self._bytes:
            if secret in content:
                content = content.replace(secret, SECRET.encode())
        return content

    def value(self, value: JsonValue) -> JsonValue:
        """JSON without secrets, keys of objects included."""
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return {self.text(key): self.value(item) for key, item in value.items()}
            case _:
                return value
