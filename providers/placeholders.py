"""Placeholders in a call's body: filled in to be sent, abbreviated to be shown."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.redaction import SECRET
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import revealed
from controlnet_mcp.providers.http import Body, HttpCall, PictureData


@dataclass(frozen=True, slots=True)
class PictureSource:
    """The source of picture data when a call is sent.

    Attributes:
        blobs: The stored bytes.
        public_link: Makes a link that the provider can fetch; `None` when nobody outside can reach this server.
    """

    blobs: BlobStore
    public_link: Callable[[StoredPicture], str] | None = None


def no_public_url(provider: str) -> RequestError:
    """The refusal of a picture that a provider would have to fetch from a server that nobody can reach."""
    return RequestError(
        "not_configured",
        f"{provider} fetches pictures by itself, and this one has no public link.",
        hint="Pass an https picture, set CONTROLNET_MCP_PUBLIC_URL to where this server's /files/ can be reached, or "
        "use a provider that takes uploads (list_modalities).",
    )


def fill(body: Body, source: PictureSource) -> JsonValue:
    """Put real picture data and secrets where the adapter left placeholders (reads files: call it in a thread).

    Raises:
        RequestError: `not_configured`, where a link to this server is wanted that nobody outside could open.
    """
    match body:
        case PictureData(form="public_url"):
            if source.public_link is None:
                raise no_public_url("The provider")
            return source.public_link(body.picture)
        case PictureData():
            text = base64.b64encode(source.blobs.get(body.picture.sha256)).decode("ascii")
            return f"data:{body.picture.mime_type};base64,{text}" if body.form == "data_url" else text
        case SecretStr():
            return body.get_secret_value()
        case list():
            return [fill(item, source) for item in body]
        case dict():
            return {key: fill(value, source) for key, value in body.items()}
        case _:
            return body


def show(body: Body) -> JsonValue:
    """Abbreviate picture data to hash and size and hide secrets, for a dry run."""
    match body:
        case PictureData():
            picture = body.picture
            return f"({body.form} of {picture.mime_type}, sha256 {picture.sha256[:12]}, {picture.size_bytes} bytes)"
        case SecretStr():
            return SECRET
        case list():
            return [show(item) for item in body]
        case dict():
            return {key: show(value) for key, value in body.items()}
        case _:
            return body


def content_of(call: HttpCall, source: PictureSource) -> bytes | None:
    """The bytes of a call's body, ready to be sent (reads files where it holds pictures: call it in a thread then)."""
    if call.content is not None:
        return source.blobs.get(call.content.picture.sha256)
    if call.json is not None:
        return json.dumps(fill(call.json, source), ensure_ascii=False, separators=(",", ":")).encode()
    return None


def headers_of(call: HttpCall) -> dict[str, str]:
    """The header fields of a call with secrets revealed."""
    headers = {"content-type": "application/json"} if call.json is not None else {}
    return headers | {name: revealed(value) for name, value in call.headers.items()}


def shown_headers(call: HttpCall) -> dict[str, str]:
    """The header fields of a call with secrets hidden."""
    return {name: SECRET if isinstance(value, SecretStr) else value for name, value in call.headers.items()}
