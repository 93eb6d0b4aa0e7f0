"""Placeholders in a call's body: filled in to be sent, abbreviated to be shown."""

import base64
import json

from pydantic import JsonValue, SecretStr

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.providers.wire import Body, HttpCall, PictureData

SECRET = "(secret)"  # noqa: S105  # what is shown instead of one


def fill(body: Body, blobs: BlobStore) -> JsonValue:
    """Put real picture data and secrets where the adapter left placeholders (reads files: call it in a thread)."""
    match body:
        case PictureData():
            return _encode(body, blobs)
        case SecretStr():
            return body.get_secret_value()
        case list():
            return [fill(item, blobs) for item in body]
        case dict():
            return {key: fill(value, blobs) for key, value in body.items()}
        case _:
            return body


def _encode(data: PictureData, blobs: BlobStore) -> str:
    text = base64.b64encode(blobs.get(data.picture.sha256)).decode("ascii")
    return f"data:{data.picture.mime_type};base64,{text}" if data.form == "data_url" else text


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


def content_of(call: HttpCall, blobs: BlobStore) -> bytes | None:
    """The bytes of a call's body, ready to be sent (reads files: call it in a thread)."""
    if call.content is not None:
        return blobs.get(call.content.picture.sha256)
    if call.json is not None:
        return json.dumps(fill(call.json, blobs), ensure_ascii=False, separators=(",", ":")).encode()
    return None


def headers_of(call: HttpCall) -> dict[str, str]:
    """The header fields of a call with secrets revealed."""
    headers = {"content-type": "application/json"} if call.json is not None else {}
    for name, value in call.headers.items():
        headers[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return headers


def shown_headers(call: HttpCall) -> dict[str, str]:
    """The header fields of a call with secrets hidden."""
    return {name: SECRET if isinstance(value, SecretStr) else value for name, value in call.headers.items()}
