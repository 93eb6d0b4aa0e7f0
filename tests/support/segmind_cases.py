"""What the tests of Segmind share: an adapter, requests, and the sample replies of `tests/support/replies/segmind`."""

import json
from functools import partial
from typing import Literal

from pydantic import JsonValue

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.http import HttpReply, Steps
from controlnet_mcp.providers.segmind.adapter import SegmindProvider, SegmindSettings
from controlnet_mcp.providers.types import Control, ResolvedRequest
from tests.support.conversations import FOLDER, held, recorded

KEY = "SG_0123456789abcdef"
LINK = "https://pictures.example/control.png"
REQUEST_ID = "2c7f59ea-13f1-402c-9353-915a2b5a2124"
PICTURE = StoredPicture(sha256="a" * 64, mime_type="image/png", width=1024, height=1024, size_bytes=50_000)
LARGE = PICTURE.model_copy(update={"size_bytes": 4_000_001})
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
sample = partial(recorded, "segmind")
"""A sample reply by the name of its file."""


def adapter(version: Literal["v1", "v2"] = "v2", base_url: str = "https://api.segmind.com") -> SegmindProvider:
    """The adapter with a key."""
    return SegmindProvider(
        SegmindSettings.model_validate({"api_key": KEY, "base_url": base_url, "api_version": version})
    )


def resolved_request(
    modality: str = "pose", *, control: dict[str, object] | None = None, **changes: object
) -> ResolvedRequest:
    """A request with one control picture of 1024x1024 pixels; `changes` are fields of it, `control` of the control."""
    one = Control.model_validate({"modality": modality, "picture": PICTURE, **(control or {})})
    base: dict[str, object] = {"prompt": "a dancer", "controls": (one,), "width": 1024, "height": 1024, "seed": 7}
    return ResolvedRequest.model_validate(base | changes)


def reply(body: bytes | JsonValue, status: int = 200, **headers: str) -> HttpReply:
    """A reply with these bytes, or with this as JSON; underscores in names of headers are hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply("segmind", status, named, content)


def samples() -> list[str]:
    """The names of all sample replies."""
    return sorted(path.stem for path in (FOLDER / "segmind").glob("*.json"))


def converse(steps: Steps[object], *replies: HttpReply) -> tuple[list[str], object]:
    """Hold a conversation with these replies; gives what was asked (`METHOD url`) and what came of it."""
    result, calls = held(steps, *replies)
    return [f"{call.method} {call.url}" for call in calls], result
