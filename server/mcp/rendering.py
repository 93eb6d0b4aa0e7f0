"""An answer as MCP content: the facts as text, small previews, links to the originals.

The text comes first because every host shows text to the model. Structured content is left out as soon as there is a
picture: one common host shows the model only one of the two. A link is a block of its own only where it is https: one
framework hands every such block to the model's provider, which fails on others. No message may reach 1,000,000 bytes.
"""

import base64
import json
import logging

import mcp_types as types
from anyio import to_thread
from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.tools.tool import Answer, Shown

MOST_ANSWER_BYTES = 990_000
"""Longest result, without its envelope: no message may reach 1,000,000 bytes, the limit of one common host and of every
client that is built on the SDK."""
PREVIEW_BYTES = 150_000
"""All previews of one answer together, before base64."""
PREVIEW_SIDE = 768
_WIDEST_CHARACTER = 3
"""Most bytes of JSON in ASCII for each byte of the same JSON in UTF-8."""
_log = logging.getLogger(__name__)


def text_of(body: BaseModel) -> str:
    """Compact JSON without nulls."""
    return body.model_dump_json(exclude_none=True, by_alias=True)


async def render(
    answer: Answer, blobs: BlobStore, links: FileLinks | None, *, typed: bool, linked: bool = False
) -> types.CallToolResult:
    """Write an answer.

    Args:
        answer: The facts, and the pictures to show.
        blobs: Where they are.
        links: Makes links to originals where others can reach this server.
        typed: Its tool promised structured content.
        linked: Links of any scheme are blocks, for hosts that read them.

    Raises:
        RequestError: The answer is longer than a message may be.
    """
    share = PREVIEW_BYTES // max(len(answer.pictures), 1)
    previewed = answer.pictures if answer.previews else ()
    made = [await to_thread.run_sync(_preview, picture, blobs, share) for picture in previewed]
    previews = [block for block in made if block is not None]
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text_of(answer.body)), *previews]
    urls = [links.url_of(picture.picture) if links else picture.uri for picture in answer.pictures]
    pairs = zip(answer.pictures, urls, strict=True)
    blocks = [
        types.ResourceLink(
            type="resource_link",
            uri=url,
            name=shown.name,
            # only of https links: one framework hands typed links to models as pictures
            mime_type=shown.picture.mime_type if url.startswith("https://") else None,
            size=shown.picture.size_bytes,
            annotations=types.Annotations(audience=["user"], priority=0.8),
        )
        for shown, url in pairs
        if linked or url.startswith("https://")
    ]
    content += blocks
    if links and urls and not blocks:  # the URIs of resources stand in the facts
        content.append(types.TextContent(type="text", text=f"The originals, for a day: {' '.join(urls)}"))
    structured = (
        answer.body.model_dump(mode="json", exclude_none=True, by_alias=True) if typed or not previews else None
    )
    for repeated in (structured, structured if typed else None):  # what is too long when said twice is said once
        result = types.CallToolResult(content=content, structured_content=repeated)
        if _WIDEST_CHARACTER * len(result.model_dump_json().encode()) < MOST_ANSWER_BYTES:
            return result
        if len(json.dumps(result.model_dump(mode="json", by_alias=True))) < MOST_ANSWER_BYTES:
            return result
    raise RequestError(
        "unsupported",
        "The answer is longer than a message may be (1,000,000 bytes).",
        hint="Ask for less at once. If a job was submitted, list_jobs shows it.",
    )


def render_error(error: ControlNetError) -> types.CallToolResult:
    """Write an error as a result that the model reads."""
    body = {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
    text = f"{error.code}: {error}"
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content={"error": body}, is_error=True)


def _preview(shown: Shown, blobs: BlobStore, max_bytes: int) -> types.ContentBlock | None:
    """Make a small copy; none of a picture that is gone: the rest of the answer is still worth having (blocks)."""
    from controlnet_mcp.images.encode import preview

    try:
        pixels = blobs.pixels(shown.picture.sha256, RESULT_LIMITS)
        content = preview(pixels, longest_side=PREVIEW_SIDE, max_bytes=max_bytes)
    except ControlNetError as error:
        _log.warning("There is no preview of %s: %s", shown.uri, error)
        return None
    return types.ImageContent(type="image", data=base64.b64encode(content).decode("ascii"), mime_type="image/jpeg")
