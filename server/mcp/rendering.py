"""An answer as MCP content: the facts as text, small previews, links to the originals.

The text comes first because every host shows text to the model. Structured content is left out as soon as there is a
picture: one common host shows the model only one of the two. No message may reach 1,000,000 bytes.
"""

import base64
import logging

import mcp_types as types
from anyio import to_thread
from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.tools.tool import Answer, Shown

PREVIEW_BYTES = 150_000
"""All previews of one answer together, before base64."""
PREVIEW_SIDE = 768
_log = logging.getLogger(__name__)


def text_of(body: BaseModel) -> str:
    """Compact JSON without nulls."""
    return body.model_dump_json(exclude_none=True, by_alias=True)


async def render(answer: Answer, blobs: BlobStore, links: FileLinks | None, *, typed: bool) -> types.CallToolResult:
    """Write an answer; `typed` where its tool promised structured content."""
    share = PREVIEW_BYTES // max(len(answer.pictures), 1)
    shown = answer.pictures if answer.previews else ()
    made = [await to_thread.run_sync(_preview, picture, blobs, share) for picture in shown]
    previews = [block for block in made if block is not None]
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text_of(answer.body)), *previews]
    for picture in answer.pictures:
        url = links.url_of(picture.picture) if links else picture.uri
        content.append(
            types.ResourceLink(
                type="resource_link",
                uri=url,
                name=picture.name,
                # only of https links: one framework hands typed links to models as pictures
                mime_type=picture.picture.mime_type if url.startswith("https://") else None,
                size=picture.picture.size_bytes,
                annotations=types.Annotations(audience=["user"], priority=0.8),
            )
        )
    structured = (
        answer.body.model_dump(mode="json", exclude_none=True, by_alias=True) if typed or not previews else None
    )
    return types.CallToolResult(content=content, structured_content=structured)


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
