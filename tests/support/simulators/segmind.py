"""A simulated Segmind: v1 and v2, storage, credits and its odd errors, reconstructed from the vendor's documentation.

Nothing waits: a job is queued, then processed, then done after so many questions about its status.
"""

import base64
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.segmind_forms import PAGES, breakdown, refusal
from tests.support.simulators.studio import Simulation, Studio, as_file, paint, read_picture

KEY = "SG_0123456789abcdef"
PRICE = 0.017
_BODY: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


@dataclass(slots=True)
class SegmindJob:
    """One v2 request: how often its status was asked for, and how it ends."""

    files: tuple[str, ...] = ()
    error: str | None = None
    polls: int = 0


@dataclass(slots=True)
class SegmindStudio(Studio):
    """The state of the simulated vendor.

    Attributes:
        origin: Where it is served; replies carry absolute URLs of it.
        credits: What the account has.
        polls_until_done: Questions about the status until a job is done.
        without_v2: Slugs that only v1 knows.
        retired: Slugs that answer 410.
        forbidden: Slugs that this account may not use.
        web: Pictures that can be fetched from elsewhere, by URL.
        files: What is stored, by path.
        jobs: v2 requests by id.
        base64_field: Under which name v1 delivers base64.
    """

    origin: str = ""
    credits: float = 5.0
    polls_until_done: int = 2
    without_v2: set[str] = field(default_factory=set[str])
    retired: set[str] = field(default_factory=set[str])
    forbidden: set[str] = field(default_factory=set[str])
    web: dict[str, Rgb] = field(default_factory=dict[str, Rgb])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    jobs: dict[str, SegmindJob] = field(default_factory=dict[str, SegmindJob])
    base64_field: str = "image"
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def keep(self, folder: str, content: bytes, kind: str) -> str:
        """Store a file; gives its absolute URL."""
        path = f"/{folder}/{next(self.numbers):08d}.{kind}"
        self.files[path] = content
        return f"{self.origin}{path}"


class _RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = JSONResponse({"error": message}, status)


def segmind(studio: SegmindStudio) -> Starlette:
    """The simulated vendor as an application."""
    vendor = _Vendor(studio)
    routes = [
        Route("/v1/get-user-credits", vendor.credits),
        Route("/v1/requests/{request_id}", vendor.result),
        Route("/v2/requests/{request_id}/status", vendor.status),
        Route("/v2/requests/{request_id}", vendor.result),
        Route("/v1/{slug}", vendor.infer, methods=["POST"]),
        Route("/v2/{slug}", vendor.submit, methods=["POST"]),
        Route("/upload-asset", vendor.upload, methods=["POST"]),
        Route("/assets/{name}", vendor.file),
        Route("/generations/{name}", vendor.file),
    ]
    return Starlette(routes=routes, exception_handlers={405: _html, _RefusedError: _refused})


def _html(_request: Request, _error: Exception) -> Response:
    """405 is the one error that comes as a web page."""
    return HTMLResponse("<!doctype html><title>405 Method Not Allowed</title><h1>Method Not Allowed</h1>", 405)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _RefusedError)
    return error.answer


@dataclass(frozen=True, slots=True)
class _Vendor:
    studio: SegmindStudio

    async def infer(self, request: Request) -> Response:
        """v1: blocks until the picture is there, and answers with its bytes or with base64 in JSON."""
        if fault := await self.studio.note(request):
            return fault
        slug = self._admit(request)
        body = self._body(await request.body(), slug)
        wrong = breakdown(PAGES[slug], body)
        if wrong:
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, wrong)
        try:
            files = self._draw(body)
        except (ValueError, OSError) as error:
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error
        self._charge(len(files))
        headers = {
            "x-remaining-credits": f"{self.studio.credits:.4f}",
            "x-cost": f"{PRICE * len(files):.4f}",
            "x-request-id": f"v1-{next(self.studio.numbers)}",
            "x-seed-value": str(body.get("seed", 42)),
            "x-generation-time": "3.2",
        }
        if body.get("base64"):
            texts: list[JsonValue] = [base64.b64encode(content).decode() for content in files]
            named = self.studio.base64_field
            return JSONResponse({named: texts if named == "images" else texts[0]}, headers=headers)
        return Response(files[0], headers=headers, media_type=_TYPES[_kind(body)])

    async def submit(self, request: Request) -> Response:
        """v2: a receipt at once; what is wrong with numbers and pictures comes out when the job runs."""
        if fault := await self.studio.note(request):
            return fault
        slug = self._admit(request)
        if slug in self.studio.without_v2:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"Model {slug} not found")
        body = self._body(await request.body(), slug)
        request_id = f"2c7f59ea-13f1-402c-9353-{next(self.studio.numbers):012d}"
        self.studio.jobs[request_id] = self._run(slug, body)
        self.studio.charges += 1
        return JSONResponse(
            {
                "request_id": request_id,
                "status": "QUEUED",
                "poll_url": f"{self.studio.origin}/v1/requests/{request_id}",
                **self._urls(request_id),
            }
        )

    async def status(self, request: Request) -> Response:
        """The status without the output; FAILED comes as 422."""
        if fault := await self.studio.note(request):
            return fault
        request_id, job = self._job(request)
        job.polls += 1
        base: dict[str, JsonValue] = {"request_id": request_id, **self._urls(request_id)}
        if job.polls < self.studio.polls_until_done:
            state = "QUEUED" if job.polls == 1 else "PROCESSING"
            return JSONResponse({"status": state, "metrics": {}, **base})
        if job.error:
            return self._failure(job)
        return JSONResponse({"status": "COMPLETED", "metrics": {"inference_time": 13.06}, **base})

    async def result(self, request: Request) -> Response:
        """The output and what it cost."""
        if fault := await self.studio.note(request):
            return fault
        request_id, job = self._job(request)
        if job.polls < self.studio.polls_until_done:
            return JSONResponse({"status": "PROCESSING", "request_id": request_id, "metrics": {}})
        if job.error:
            return self._failure(job)
        images: list[JsonValue] = [{"url": url, "content_type": "image/jpeg"} for url in job.files]
        metrics: dict[str, JsonValue] = {
            "inference_time": 13.06,
            "queue_time": 0.2,
            "total_time": 13.3,
            "retry_count": 0,
            "cost": PRICE * len(images),
            "remaining_credits": f"{self.studio.credits:.4f}",
        }
        outcome = {"status": "COMPLETED", "request_id": request_id, "output": job.files[0], "images": images}
        return JSONResponse({**outcome, "metrics": metrics})

    async def credits(self, request: Request) -> Response:
        """The balance in two parts."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        return JSONResponse({"credits": self.studio.credits - 1, "free-credits": 1.0})

    async def upload(self, request: Request) -> Response:
        """Store data URLs; there is no way to delete them."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        texts = _BODY.validate_json(await request.body()).get("data_urls")
        if not isinstance(texts, list) or not all(isinstance(text, str) and text[:5] == "data:" for text in texts):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "data_urls must be a list of data URLs")
        urls: list[JsonValue] = [self.studio.keep("assets", as_file(read_picture(text)), "png") for text in texts]
        return JSONResponse({"file_urls": urls, "message": "Files uploaded successfully"})

    async def file(self, request: Request) -> Response:
        """A public file; no key is wanted, and none should come."""
        if fault := await self.studio.note(request):
            return fault
        content = self.studio.files.get(request.url.path)
        if content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(content, media_type=_TYPES[request.url.path.rpartition(".")[2]])

    def _authorise(self, request: Request) -> None:
        key = request.headers.get("x-api-key")
        if key is None:
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "Missing Authorization or x-api-key in header")
        if key != KEY:
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "Unauthorized. API key is invalid or may have expired.")

    def _admit(self, request: Request) -> str:
        """Whether this key may ask this model at all."""
        self._authorise(request)
        slug: str = request.path_params["slug"]
        if slug in self.studio.retired:
            raise _RefusedError(HTTPStatus.GONE, f"Model {slug} has been deprecated")
        if slug in self.studio.forbidden:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "This model is not enabled for your team")
        if slug not in PAGES:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"Model {slug} not found")
        if request.headers.get("content-type") != "application/json":
            raise _RefusedError(HTTPStatus.NOT_ACCEPTABLE, "Invalid content type")
        return slug

    def _body(self, content: bytes, slug: str) -> dict[str, JsonValue]:
        try:
            body = _BODY.validate_json(content)
        except ValidationError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "Malformed body") from error
        wrong = refusal(PAGES[slug], body)
        if wrong:
            status = HTTPStatus.BAD_REQUEST if wrong.startswith("missing") else HTTPStatus.NOT_ACCEPTABLE
            raise _RefusedError(status, wrong)
        if self.studio.credits < PRICE:
            message = f"Insufficient credits. You have {self.studio.credits:g}, this call needs {PRICE:g}."
            raise _RefusedError(HTTPStatus.NOT_ACCEPTABLE, message)
        return body

    def _charge(self, pictures: int) -> None:
        self.studio.charges += 1
        self.studio.credits -= PRICE * pictures

    def _run(self, slug: str, body: dict[str, JsonValue]) -> SegmindJob:
        """What becomes of a job; only a picture is charged."""
        wrong = breakdown(PAGES[slug], body)
        if wrong:
            return SegmindJob(error=wrong)
        try:
            drawn = self._draw(body)
        except (ValueError, OSError) as error:
            return SegmindJob(error=str(error))
        self.studio.credits -= PRICE * len(drawn)
        return SegmindJob(files=tuple(self.studio.keep("generations", content, _kind(body)) for content in drawn))

    def _draw(self, body: dict[str, JsonValue]) -> list[bytes]:
        """One picture per sample, each with the structure of the control picture."""
        control = self._control(body)
        height, width = _size(body, control)
        count, seed = body.get("samples") or body.get("num_outputs") or 1, body.get("seed", 42)
        assert isinstance(count, int)
        assert isinstance(seed, int)
        pictures = (paint(control, width, height, seed + number) for number in range(count))
        return [as_file(picture, _kind(body).upper()) for picture in pictures]

    def _control(self, body: dict[str, JsonValue]) -> Rgb:
        """The control picture: plain base64 or a link; the Flux tools take links only, nobody a data URL."""
        link_only = "control_image" in body
        reference = body["control_image" if link_only else "image"]
        assert isinstance(reference, str)
        if reference in self.studio.web:
            return self.studio.web[reference]
        if reference.startswith(f"{self.studio.origin}/assets/"):
            stored = self.studio.files[reference.removeprefix(self.studio.origin)]
            return read_picture(base64.b64encode(stored).decode())
        if link_only or ":" in reference:
            raise ValueError("the control image could not be fetched")
        return read_picture(reference)

    def _job(self, request: Request) -> tuple[str, SegmindJob]:
        self._authorise(request)
        request_id: str = request.path_params["request_id"]
        if request_id not in self.studio.jobs:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"Request {request_id} not found")
        return request_id, self.studio.jobs[request_id]

    def _urls(self, request_id: str) -> dict[str, JsonValue]:
        root = f"{self.studio.origin}/v2/requests/{request_id}"
        return {"status_url": f"{root}/status", "response_url": root}

    def _failure(self, job: SegmindJob) -> Response:
        metrics: dict[str, JsonValue] = {"inference_time": 0.007, "queue_time": 0.23, "total_time": 0.24}
        return JSONResponse({"status": "FAILED", "error": job.error, "metrics": metrics}, 422)


def _kind(body: dict[str, JsonValue]) -> str:
    named = str(body.get("image_format") or body.get("output_format") or "jpeg")
    return "jpeg" if named == "jpg" else named


def _size(body: dict[str, JsonValue], control: Rgb) -> tuple[int, int]:
    """Height and width: chosen, by megapixels, or those of the control picture."""
    height, width = control.shape[:2]
    if "custom_width" in body and not body.get("use_input_img_dimension"):
        width, height = (side for name in ("width", "height") if isinstance(side := body[f"custom_{name}"], int))
    if "megapixels" in body and body["megapixels"] != "match_input":
        scale = math.sqrt(float(str(body["megapixels"])) * 1e6 / (height * width))
        height, width = round(height * scale), round(width * scale)
    return height, width


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    studio = SegmindStudio(origin=origin, polls_until_done=1)
    return segmind(studio), studio, {"SEGMIND_BASE_URL": origin, "SEGMIND_UPLOAD_URL": f"{origin}/upload-asset"}


SIMULATION = Simulation(
    keys={"SEGMIND_API_KEY": KEY},
    serve=_serve,
    modality="scribble",
    submitted="v2_submitted",
    finished="v2_result",
    balance=5,
)
