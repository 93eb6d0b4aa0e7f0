"""A simulator of ModelsLab: both plans, the three layouts of the enterprise paths, uploads, wallet and result links.

It is strict where the vendor's pages say what is refused, and as loose as their examples: numbers may be text, unset
fields null or left out. Ids are integers in submissions and text in the first fetch, as in the vendor's own examples.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.modelslab_rules import RefusedError, check, number, text
from tests.support.simulators.studio import Simulation, Studio, as_file, paint, read_picture

ENTERPRISE_KEY, COMMUNITY_KEY = "enterprise-key-of-the-simulator", "community-key-of-the-simulator"
LAYOUTS = ("/api/v1/enterprise", "/api/v1/enterprise/images", "/api/v1/enterprise/txt2img", "/api/v1/enterprise/pony")
UPLOAD_LIMIT_BYTES = 5_000_000
QUEUE_LIMIT = 5
Fields: TypeAlias = dict[str, JsonValue]
_OBJECT: TypeAdapter[Fields] = TypeAdapter(Fields)
Handler: TypeAlias = Callable[[Request, Fields], Awaitable[Response]]


@dataclass(slots=True)
class Task:
    """One accepted request: its pictures, and how often it was asked for."""

    pictures: list[bytes]
    meta: Fields
    inline: bool
    flagged: bool
    asked: int = 0


@dataclass(slots=True)
class ModelsLabSimulator:
    """The service.

    Attributes:
        origin: Its own origin, for links in replies.
        asks_until_done: How many fetches a request takes; 0 answers the submission with the pictures.
        fetch_origin: Where `fetch_result` points.
        legacy: Whether errors come inside HTTP 200 and as `messege`.
        web: Pictures that the vendor could fetch elsewhere, by link.
    """

    origin: str
    studio: Studio = field(default_factory=Studio)
    asks_until_done: int = 2
    fetch_origin: str | None = None
    legacy: bool = False
    web: dict[str, bytes] = field(default_factory=dict[str, bytes])
    tasks: list[Task] = field(default_factory=list[Task])

    def app(self) -> Starlette:
        """The application to serve."""
        posts: dict[str, Handler] = {"/api/v6/base64_to_url": self.upload, "/api/wallet_balance": self.wallet}
        for path in (
            *(f"{layout}/controlnet" for layout in LAYOUTS),
            "/api/v5/controlnet",
            "/api/v6/images/controlnet",
        ):
            posts[path] = self.controlnet
        for path in (*(f"{layout}/fetch" for layout in LAYOUTS), "/api/v6/images/fetch"):
            posts[path] = posts[f"{path}/{{task}}"] = self.fetch
        posts["/api/v1/enterprise/get_all_models"] = self.models
        routes = [Route(path, self._guarded(handler), methods=["POST", "GET"]) for path, handler in posts.items()]
        return Starlette(routes=[*routes, Route("/files/{name}", self.file, methods=["GET"])])

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Record, play the scripted fault, refuse wrong verbs and wrong keys, and say refusals as the vendor does."""

        async def answer(request: Request) -> Response:
            fault = await self.studio.note(request)
            if fault is not None:
                return fault
            if request.method != "POST":
                page = "<html><body>The GET method is not supported for this route.</body></html>"
                return HTMLResponse(page, 405)
            try:
                body = _fields(await request.body())
                self._check_key(request.url.path, body)
                return await handler(request, body)
            except RefusedError as refused:
                return self._refusal(refused)

        return answer

    def _refusal(self, refused: RefusedError) -> Response:
        more: Fields = {"retry_after": "30"} if refused.status == 429 else {}
        spelling = "messege" if self.legacy else "message"
        body = {"status": "error", spelling: refused.message, **more}
        return JSONResponse(body, 200 if self.legacy else refused.status)

    def _check_key(self, path: str, body: Fields) -> None:
        """Enterprise paths want the enterprise key; the others take both."""
        key = body.get("key")
        if key not in {ENTERPRISE_KEY, COMMUNITY_KEY}:
            raise RefusedError(401, "Invalid API key")
        if "/enterprise" in path and key != ENTERPRISE_KEY:
            raise RefusedError(403, "This feature requires a premium subscription")

    async def controlnet(self, request: Request, body: Fields) -> Response:
        """Accept a generation, and answer it at once or with an id."""
        check(body, enterprise="/enterprise" in request.url.path)
        if sum(task.asked < self.asks_until_done for task in self.tasks) >= QUEUE_LIMIT:
            raise RefusedError(429, f"Rate limit exceeded. Maximum {QUEUE_LIMIT} queued requests allowed.")
        task = self._drawn(body)
        self.studio.charges += 1
        self.tasks.append(task)
        number_of_task = len(self.tasks)
        if not self.asks_until_done:
            return JSONResponse(self._finished(number_of_task, task))
        links: list[JsonValue] = [self._result(number_of_task, index) for index in range(len(task.pictures))]
        fetch = f"{self.fetch_origin or self.origin}/api/v6/images/fetch/{number_of_task}"
        return JSONResponse(
            {
                "status": "processing",
                "tip": "Get 20x faster image generation using enterprise plan.",
                "eta": "3.5",
                "message": "Try to fetch request after seconds estimated",
                "fetch_result": fetch,
                "id": number_of_task,
                "output": [],
                "meta": task.meta,
                "future_links": links,
            }
        )

    async def fetch(self, request: Request, body: Fields) -> Response:
        """Tell how a request stands; its id is in the path or in the body."""
        name = request.path_params.get("task") or body.get("request_id")
        if not str(name).isdigit() or not 0 < int(str(name)) <= len(self.tasks):
            raise RefusedError(400, "Request not found")
        task = self.tasks[int(str(name)) - 1]
        task.asked += 1
        if task.asked < self.asks_until_done:
            return JSONResponse({"status": "processing", "id": str(name), "output": [], "message": "Still processing"})
        return JSONResponse(self._finished(int(str(name)), task))

    async def upload(self, request: Request, body: Fields) -> Response:  # noqa: ARG002  # one shape for all
        """Keep a picture for a link."""
        data = text(body, "base64_string") or ""
        if not data.startswith("data:image/"):
            raise RefusedError(400, "base64_string must be a data URL")
        content = base64.b64decode(data.partition("base64,")[2], validate=True)
        if len(content) > UPLOAD_LIMIT_BYTES:
            raise RefusedError(400, "The file must not be greater than 5 MB")
        link = f"{self.origin}/files/upload-{len(self.web)}.png"
        self.web[link] = content
        return JSONResponse({"status": "success", "messege": "image uploaded", "id": len(self.web), "output": [link]})

    async def wallet(self, request: Request, body: Fields) -> Response:  # noqa: ARG002  # one shape for all
        """Tell the balance."""
        return JSONResponse({"status": "success", "data": {"balance": 43.6, "currency": "USD"}})

    async def models(self, request: Request, body: Fields) -> Response:  # noqa: ARG002  # one shape for all
        """Tell the loaded models; the shape is made up, the vendor does not document it."""
        rows = [{"model_id": name, "loaded_at": "2026-11-21"} for name in ("my-own-model", "midjourney")]
        return JSONResponse({"status": "success", "messege": "model list", "data": rows})

    async def file(self, request: Request) -> Response:
        """Give out a finished picture."""
        await self.studio.note(request)
        task, _, index = request.path_params["name"].removesuffix(".png").partition("-")
        if not task.isdigit():
            return Response(self.web[str(request.url)], media_type="image/png")
        return Response(self.tasks[int(task) - 1].pictures[int(index)], media_type="image/png")

    def _result(self, task: int, index: int) -> str:
        return f"{self.origin}/files/{task}-{index}.png"

    def _finished(self, name: int, task: Task) -> Fields:
        links: list[JsonValue] = [self._result(name, index) for index in range(len(task.pictures))]
        inline: list[JsonValue] = [base64.b64encode(row).decode() for row in task.pictures]
        return {
            "status": "success",
            "generationTime": 1.25,
            "id": name,
            "output": inline if task.inline else links,
            "nsfw_content_detected": task.flagged,
            "meta": task.meta,
        }

    def _picture(self, body: Fields, name: str) -> Rgb | None:
        """Fetch a picture as the vendor would."""
        reference = text(body, name)
        if reference is None:
            return None
        if body.get("base64") != "yes":
            if reference not in self.web:
                raise RefusedError(400, "Unable to fetch image from provided URL")
            reference = base64.b64encode(self.web[reference]).decode()
        try:
            return read_picture(reference)
        except ValueError as error:
            raise RefusedError(400, f"{name} must be a valid base64 image") from error

    def _drawn(self, body: Fields) -> Task:
        start, control, mask = (self._picture(body, f"{name}_image") for name in ("init", "control", "mask"))
        seen = start if control is None else control
        if start is None or seen is None:
            raise RefusedError(400, "init_image is required")
        inpaints = "inpaint" in (text(body, "controlnet_model") or "")
        if inpaints and mask is None:
            raise RefusedError(400, "mask_image is required")
        flagged = "nsfw" in (text(body, "prompt") or "") and body.get("safety_checker") == "yes"
        factor = 2 if body.get("upscale") == "yes" else 1
        width, height = (int(number(body, side, 512)) * factor for side in ("width", "height"))
        seed = int(number(body, "seed", 7))
        structure = _edges(seen) if body.get("auto_hint") == "yes" else seen
        count = int(number(body, "samples", 1))
        drawn = [paint(structure, width, height, seed + index) for index in range(count)]
        drawn = [np.zeros_like(row) for row in drawn] if flagged else drawn
        if mask is not None:
            drawn = [_repainted(start, row, mask) for row in drawn]
        meta: Fields = {"seed": str(seed), "W": width, "H": height, "n_samples": count, "model_id": body["model_id"]}
        return Task([as_file(row) for row in drawn], meta, body.get("base64") == "yes", flagged)


def _fields(content: bytes) -> Fields:
    """The body as a JSON object, which it must be."""
    try:
        return _OBJECT.validate_json(content)
    except ValidationError as error:
        raise RefusedError(400, "Malformed JSON in request body") from error


def _edges(picture: Rgb) -> Rgb:
    """The vendor's own preprocessing: edges, as a stand-in for every detector."""
    edges = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 80, 160)
    return np.asarray(cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _repainted(start: Rgb, drawn: Rgb, mask: Rgb) -> Rgb:
    """The start picture with what was drawn where the mask is white."""
    size = (drawn.shape[1], drawn.shape[0])
    below, white = cv2.resize(start, size), cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 127
    result: Rgb = np.where(white, drawn, below).astype(np.uint8)
    return result


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    service = ModelsLabSimulator(origin, asks_until_done=1)
    return service.app(), service.studio, {"MODELSLAB_BASE_URL": f"{origin}/api"}


SIMULATION = Simulation(
    keys={"MODELSLAB_API_KEY": ENTERPRISE_KEY},
    serve=_serve,
    modality="softedge",
    submitted="processing",
    finished="success",
    balance=43.6,
    listing="/api/v1/enterprise/get_all_models",
)
