"""Where the simulator of Scenario keeps pictures: assets, signed links and large uploads.

Links to pictures are signed anew on every look at an asset and work only while they are the newest, so that a client
that keeps an old link is found out; a request for one that carries the key is refused, as the storage behind the
vendor's links does.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.studio import Studio, read_picture

KEY, SECRET = "key-of-the-simulator", "secret-of-the-simulator"
WHEN = "2026-11-20T08:00:00.000Z"
UPLOAD_STATUSES = ("complete", "validating", "validated", "imported")
LARGE_BYTES = 6_000_000


async def gate(request: Request, studio: Studio) -> Response | None:
    """Note a request; gives the scripted fault, or the refusal of a wrong key."""
    if (fault := await studio.note(request)) is not None:
        return fault
    pair = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    return None if request.headers.get("authorization") == f"Basic {pair}" else refused(401, "Unauthorized")


def refused(status: int, message: str, **more: JsonValue) -> Response:
    """A refusal in the vendor's shape."""
    return JSONResponse({"status": "error", "code": status, "message": message, **more}, status_code=status)


@dataclass(slots=True)
class ScenarioStore:
    """Assets by id, what their links are signed with, tickets of large uploads, and the filter's marks on assets."""

    origin: str
    studio: Studio
    assets: dict[str, bytes] = field(default_factory=dict[str, bytes])
    signatures: dict[str, int] = field(default_factory=dict[str, int])
    tickets: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])
    nsfw: JsonValue = None

    def keep(self, content: bytes) -> str:
        """Store a picture; gives its asset id."""
        asset_id = f"asset_{len(self.assets) + 1:04}"
        self.assets[asset_id] = content
        return asset_id

    def picture(self, data_url: str | None, asset_id: str | None) -> Rgb:
        """The picture of a call; the id is ignored when a data URL is there too."""
        if data_url is not None:
            return read_picture(data_url)
        return read_picture(base64.b64encode(self.assets[str(asset_id)]).decode())

    async def receive(self, request: Request) -> Response:
        """Store a picture of less than 6 MB that came as base64."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        body = json.loads(await request.body())
        try:
            content = base64.b64decode(body["image"], validate=True)
            assert body["name"]
        except (KeyError, TypeError, binascii.Error, AssertionError):
            return refused(400, "name and image (base64) are required")
        if len(content) >= LARGE_BYTES:
            return refused(400, "use /uploads for 6 MB and more")
        return JSONResponse({"asset": self._asset(self.keep(content))})

    async def asset(self, request: Request) -> Response:
        """Tell of an asset, with a fresh link."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        asset_id = request.path_params["asset_id"]
        if asset_id not in self.assets:
            return refused(404, f"Asset {asset_id} not found")
        return JSONResponse({"asset": self._asset(asset_id)})

    async def content(self, request: Request) -> Response:
        """The bytes behind a signed link."""
        if (fault := await self.studio.note(request)) is not None:
            return fault
        asset_id = request.path_params["asset_id"]
        if "authorization" in request.headers:
            return Response("Only one auth mechanism allowed", 400)
        if request.query_params.get("signature") != str(self.signatures.get(asset_id)):
            return Response("<Error><Code>AccessDenied</Code></Error>", 403)
        return Response(self.assets[asset_id], media_type="image/png")

    async def ticket(self, request: Request) -> Response:
        """Begin a large upload."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        body = json.loads(await request.body())
        wanted = {"fileName": str, "contentType": str, "fileSize": int, "kind": str, "parts": int}
        if {name: type(value) for name, value in body.items()} != wanted or body["kind"] != "image":
            return refused(400, "fileName, contentType, fileSize, kind and parts are required")
        upload_id = f"upload_{len(self.tickets) + 1}"
        self.tickets[upload_id] = {**body, "status": "pending", "received": {}}
        return JSONResponse({"upload": self._upload(upload_id)})

    async def part(self, request: Request) -> Response:
        """Receive one part under its presigned link."""
        if (fault := await self.studio.note(request)) is not None:
            return fault
        if "authorization" in request.headers:
            return Response("Only one auth mechanism allowed", 400)
        received = self.tickets[request.path_params["upload_id"]]["received"]
        assert isinstance(received, dict)
        content = await request.body()
        received[str(request.path_params["number"])] = content.decode("latin-1")
        return Response(headers={"etag": '"of-the-part"'})

    async def complete(self, request: Request) -> Response:
        """All parts are there: the checks begin."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        if json.loads(await request.body()) != {"action": "complete"}:
            return refused(400, "unknown action")
        ticket = self.tickets[request.path_params["upload_id"]]
        received = ticket["received"]
        assert isinstance(received, dict)
        content = b"".join(str(received[name]).encode("latin-1") for name in sorted(received))
        whole = len(content) == ticket["fileSize"] and len(received) == ticket["parts"]
        ticket["status"] = "complete" if whole else "failed"
        if whole:
            ticket["entityId"] = self.keep(content)
        else:
            ticket["errorMessage"] = "size does not match"
        return JSONResponse({"upload": self._upload(request.path_params["upload_id"])})

    async def upload(self, request: Request) -> Response:
        """Tell how far the checks are; every look takes them one status further."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        ticket = self.tickets[request.path_params["upload_id"]]
        if ticket["status"] in UPLOAD_STATUSES[:-1]:
            ticket["status"] = UPLOAD_STATUSES[UPLOAD_STATUSES.index(str(ticket["status"])) + 1]
        return JSONResponse({"upload": self._upload(request.path_params["upload_id"])})

    def _asset(self, asset_id: str) -> JsonValue:
        self.signatures[asset_id] = self.signatures.get(asset_id, 0) + 1
        return {
            "id": asset_id,
            "url": f"{self.origin}/cdn/{asset_id}?signature={self.signatures[asset_id]}",
            "mimeType": "image/png",
            "kind": "image",
            "status": "success",
            "metadata": {"kind": "image", "type": "inference-controlnet"},
            "properties": {"size": len(self.assets[asset_id])},
            "nsfw": self.nsfw,
            "createdAt": WHEN,
            "updatedAt": WHEN,
        }

    def _upload(self, upload_id: str) -> JsonValue:
        ticket = self.tickets[upload_id]
        count = ticket["parts"]
        assert isinstance(count, int)
        links: list[JsonValue] = [
            {"number": number, "url": f"{self.origin}/parts/{upload_id}/{number}", "expires": WHEN}
            for number in range(1, count + 1)
        ]
        hidden = {"received", "parts", *(["entityId"] if ticket["status"] != "imported" else [])}
        told: dict[str, JsonValue] = {name: value for name, value in ticket.items() if name not in hidden}
        return {"id": upload_id, "source": "multipart", "parts": links, "createdAt": WHEN, "updatedAt": WHEN, **told}
