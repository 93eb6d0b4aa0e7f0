"""Resources: the lists, jobs, finished pictures and maps."""

import base64
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import mcp_types as types
from anyio import to_thread
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.foundation.text import shortened
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.resource_uris import SCHEME, job_uri
from controlnet_mcp.jobs.results import sheet_file
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import Application
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.mcp.rendering import text_of
from controlnet_mcp.tools.list_jobs import job_list
from controlnet_mcp.tools.list_modalities import ModalityList, modality_list
from controlnet_mcp.tools.tool import Call
from controlnet_mcp.tools.views import views_of

MAX_BLOB_BYTES = 700_000
"""Largest picture that is read whole: with base64 and its envelope it stays under 1,000,000 bytes, the limit of one
common host and of every client built on the SDK."""
_JSON = "application/json"
Contents: TypeAlias = types.TextResourceContents | types.BlobResourceContents
_RECENT = 50

RESOURCES = tuple(
    types.Resource(uri=f"controlnet://{name}", name=name, mime_type=_JSON, description=description)
    for name, description in (
        ("modalities", "Structures and who offers them"),
        ("providers", "Providers and limits"),
        ("jobs", "Recent jobs, newest first"),
    )
)
_HANDED_IN = "A picture that was handed in: control_image, init_image, mask_image, extra_control_0"
_SHEET = "Control image, map and results of a finished job side by side, for people"
TEMPLATES = tuple(
    types.ResourceTemplate(uri_template=f"controlnet://{path}", name=name, mime_type=mime_type, description=description)
    for path, name, mime_type, description in (
        ("jobs/{job_id}", "job", _JSON, "One job"),
        ("jobs/{job_id}/images/{index}", "image", None, "A finished picture, counted from 0"),
        ("jobs/{job_id}/control-map", "control-map", None, "The map made for a job"),
        ("jobs/{job_id}/sources/{name}", "source", None, _HANDED_IN),
        ("jobs/{job_id}/sheet", "sheet", "image/jpeg", _SHEET),
        ("maps/{map_id}", "map", None, "A map of extract_control_map"),
    )
)


@dataclass(frozen=True, slots=True)
class ResourceReader:
    """Reads resources for one client."""

    application: Application
    links: FileLinks | None
    caller: Caller

    async def read(self, uri: str) -> types.ReadResourceResult:
        """Read one.

        Raises:
            MCPError: Invalid parameters: a URI of nothing that this caller has.
        """
        await self.application.table.load()
        try:
            return types.ReadResourceResult(contents=await self._contents(uri))
        except ControlNetError as error:
            raise MCPError(
                code=types.INVALID_PARAMS,
                message=self.application.settings.redactor.text(str(error)),
                data={"uri": uri},
            ) from error

    async def _contents(self, uri: str) -> list[Contents]:
        """Facts as JSON, or a picture, or a smaller copy with a word on where the original is."""
        services, lookup, call = self.application.services, self.application.pictures, Call(self.caller)
        jobs, blobs, owner = services.jobs, services.blobs, self.caller.principal
        body: BaseModel
        if not uri.startswith(SCHEME):
            said = f"{shortened(uri)!r} is not the URI of a resource here."
            raise RequestError("invalid_request", said, hint=f"Those begin with {SCHEME}, as {job_uri('JOB')} does.")
        match uri.removeprefix(SCHEME).split("/"):
            case ["modalities"]:
                body = modality_list(services.entries, models=services.map_models)
            case ["providers"]:
                body = ModalityList(modalities=(), providers=modality_list(services.entries).providers)
            case ["jobs"]:
                page = await jobs.store.page(owner, status=None, provider=None, limit=_RECENT, cursor=None)
                body = job_list(await views_of(services, call, page.jobs), page)
            case ["jobs", job_id]:
                (body,) = await views_of(services, call, (await jobs.get(job_id, self.caller),))
            case ["jobs", job_id, "sheet"]:
                draw = partial(sheet_file, await jobs.get(job_id, self.caller), blobs, max_bytes=MAX_BLOB_BYTES)
                return [_blob(uri, await to_thread.run_sync(draw, limiter=self.application.drawing), "image/jpeg")]
            case ["maps", _]:
                sha256 = await lookup.sha256_of(uri, owner)
                return await to_thread.run_sync(_picture, uri, sha256, None, blobs, self.links)
            case _:
                picture = await lookup.picture(uri, owner)
                return await to_thread.run_sync(_picture, uri, picture.sha256, picture, blobs, self.links)
        return [types.TextResourceContents(uri=uri, mime_type=_JSON, text=text_of(body))]


def _picture(
    uri: str, sha256: str, picture: StoredPicture | None, blobs: BlobStore, links: FileLinks | None
) -> list[Contents]:
    """Read a picture as far as a message holds it; of a map only the hash is known (blocks)."""
    content = blobs.get(sha256)
    if picture is None:
        from controlnet_mcp.images.decode import original

        _, picture = original(content, RESULT_LIMITS, blobs.decoder)
    if len(content) <= MAX_BLOB_BYTES:
        return [_blob(uri, content, picture.mime_type)]
    from controlnet_mcp.images.encode import jpeg_within

    copy = jpeg_within(blobs.pixels(sha256, RESULT_LIMITS), MAX_BLOB_BYTES)
    place = links.url_of(picture) if links else blobs.path(sha256)
    said = (
        f"The picture was re-encoded to fit a message. The original is {picture.width}x{picture.height} pixels, "
        f"{picture.mime_type}, {picture.size_bytes} bytes: {place}"
    )
    return [_blob(uri, copy, "image/jpeg"), types.TextResourceContents(uri=uri, mime_type="text/plain", text=said)]


def _blob(uri: str, content: bytes, mime_type: str) -> types.BlobResourceContents:
    return types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=base64.b64encode(content).decode("ascii"))
