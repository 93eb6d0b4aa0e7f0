"""A simulated fal: the queue, both ways to upload, and the files of results.

Reconstructed from the vendor's pages and from what its published clients fal-client 1.0.3 and @fal-ai/client send and
read. Nothing waits: a request is queued, then worked at, then completed after so many questions about it. The hosts
`queue.fal.run`, `rest.fal.ai` and `v3.fal.media` are one application here, since no path of theirs is another's.
"""

import base64
import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.fal_forms import FORMS, Form, bad_file, complaints
from tests.support.simulators.studio import Simulation, Studio, as_file, paint, read_picture

KEY = "6a1f0c52-7e3b-4c0e-9a55-0b6d3f1f2a77:2b7c9d1e4f60718293a4b5c6d7e8f901"
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_CANCELLED: dict[str, JsonValue] = {"detail": "Request was cancelled by the client", "error_type": "client_cancelled"}


@dataclass(frozen=True, slots=True)
class Failure:
    """How a request ends that does not succeed.

    Attributes:
        status: HTTP status of the result.
        detail: A text for faults of the platform, a list of problems for those of a model.
        error_type: The platform's word for it, which is then in the status as well.
    """

    status: int
    detail: JsonValue
    error_type: str | None = None

    @property
    def body(self) -> dict[str, JsonValue]:
        """The body of the result."""
        return {"detail": self.detail} | ({"error_type": self.error_type} if self.error_type else {})


FLAGGED = Failure(
    422,
    [
        {
            "loc": ["body", "prompt"],
            "msg": "The content could not be processed because it contained material flagged by a content checker.",
            "type": "content_policy_violation",
            "url": "https://docs.fal.ai/errors#content_policy_violation",
        }
    ],
)
"""A refusal of the content checker."""
TIMED_OUT = Failure(504, "Request timed out", "request_timeout")
"""A request that no runner took in time."""


@dataclass(slots=True)
class Task:
    """One request: what was asked, and how often it was looked at."""

    model: str
    form: Form | None
    control: Rgb | None
    failure: Failure | None
    webhook: str | None
    looks: int = 0
    state: Literal["open", "cancelled"] = "open"

    @property
    def seed(self) -> int:
        """The seed that was asked for, or one of its own."""
        return self.form.seed if self.form is not None and self.form.seed is not None else 1234567


@dataclass(slots=True)
class Upload:
    """One uploaded file."""

    content_type: str
    token: str
    content: bytes = b""


class Ticket(BaseModel):
    """The request for an upload."""

    model_config = ConfigDict(extra="forbid")

    content_type: str
    file_name: str


@dataclass(slots=True)
class FalStudio(Studio):
    """The state of the simulated vendor.

    Attributes:
        origin: Where its queue is served; replies carry absolute URLs of it.
        media_origin: Where files are served; the queue's origin when empty.
        balance: US dollars of the account; without any it is locked.
        price: US dollars for each picture.
        looks_until_done: Questions about a request until it has ended.
        failure: How requests end that would succeed otherwise.
        checks_at_once: Whether a wrong input is refused when it is submitted, and not in the result.
        ignores_unknown: Whether fields that a model does not have are passed over.
        nsfw: The content checker's word on each picture, in order.
        stops_running: Whether a request that is being worked at can be stopped.
        forgets_cancelled: Whether a stopped request is unknown from then on.
        web: Pictures that can be fetched from elsewhere, by URL.
    """

    origin: str = ""
    media_origin: str = ""
    balance: float = 10.0
    price: float = 0.04
    looks_until_done: int = 2
    failure: Failure | None = None
    checks_at_once: bool = False
    ignores_unknown: bool = False
    nsfw: tuple[bool, ...] = ()
    stops_running: bool = True
    forgets_cancelled: bool = False
    web: dict[str, Rgb] = field(default_factory=dict[str, Rgb])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    uploads: dict[str, Upload] = field(default_factory=dict[str, Upload])
    cdn_token: str = ""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def files(self) -> str:
        """The origin of files."""
        return self.media_origin or self.origin


def fal(studio: FalStudio) -> Starlette:
    """The simulated vendor as an application."""
    vendor = _Vendor(studio)
    routes = [
        Route("/storage/upload/initiate", vendor.ticket, methods=["POST"]),
        Route("/storage/auth/token", vendor.token, methods=["POST"]),
        Route("/files/upload", vendor.direct_upload, methods=["POST"]),
        Route("/files/put/{name}", vendor.put, methods=["PUT"]),
        Route("/files/in/{name}", vendor.uploaded),
        Route("/files/out/{task}/{index:int}", vendor.output),
        Route("/{owner}/{app}/requests/{task}/status", vendor.status),
        Route("/{owner}/{app}/requests/{task}/cancel", vendor.cancel, methods=["PUT"]),
        Route("/{owner}/{app}/requests/{task}", vendor.result),
        Route("/{model:path}", vendor.submit, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={_RefusedError: _refused})


class _RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: dict[str, JsonValue]) -> None:
        super().__init__(str(body))
        self.answer = JSONResponse(body, status)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _RefusedError)
    return error.answer


@dataclass(frozen=True, slots=True)
class _Vendor:
    studio: FalStudio

    async def submit(self, request: Request) -> Response:
        """Queue a request; a wrong input makes it fail later, as it is the model that reads it."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        model = request.path_params["model"]
        if model not in FORMS:
            raise _RefusedError(404, {"detail": f"Application '{'/'.join(model.split('/')[:2])}' not found"})
        if self.studio.balance <= 0:
            words = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
            raise _RefusedError(403, {"detail": words})
        task = self._read(model, await request.body(), request.query_params.get("fal_webhook"))
        if task.failure is not None and self.studio.checks_at_once:
            raise _RefusedError(task.failure.status, task.failure.body)
        task_id = f"019af0c2-{secrets.token_hex(2)}-7{secrets.token_hex(1)}0-8000-{secrets.token_hex(6)}"
        self.studio.tasks[task_id] = task
        if task.form is not None:
            self.studio.charges += 1
            self.studio.balance -= self.studio.price * task.form.num_images
        return self._told(task_id, {"status": "IN_QUEUE", "queue_position": 0, **self._links(task_id)}, 200)

    async def status(self, request: Request) -> Response:
        """How a request stands: 202 until it has ended."""
        if fault := await self.studio.note(request):
            return fault
        task_id, task = self._known(request)
        task.looks += 1
        logs: JsonValue = [] if request.query_params.get("logs") in {"1", "true"} else None
        shared: dict[str, JsonValue] = {**self._links(task_id), "logs": logs}
        if task.state == "cancelled":
            said: dict[str, JsonValue] = {"error": _CANCELLED["detail"], "error_type": _CANCELLED["error_type"]}
            return self._told(task_id, {"status": "COMPLETED", "metrics": {}, **said, **shared}, 200)
        if task.looks < self.studio.looks_until_done:
            if task.looks == 1:
                return self._told(task_id, {"status": "IN_QUEUE", "queue_position": 0, **shared}, 202)
            return self._told(task_id, {"status": "IN_PROGRESS", **shared}, 202)
        ended: dict[str, JsonValue] = {"status": "COMPLETED", "metrics": {"inference_time": 3.7}, **shared}
        if task.failure is not None and task.failure.error_type:
            ended |= {"error": task.failure.detail, "error_type": task.failure.error_type}
        return self._told(task_id, ended, 200)

    async def result(self, request: Request) -> Response:
        """The pictures, or why there are none."""
        if fault := await self.studio.note(request):
            return fault
        task_id, task = self._known(request)
        if task.state == "cancelled":
            return self._told(task_id, _CANCELLED, 499)
        if task.looks < self.studio.looks_until_done:
            return self._told(task_id, {"detail": "Request is still in progress"}, 400)
        if task.failure is not None:
            return self._told(task_id, task.failure.body, task.failure.status, task.failure.error_type)
        form = task.form
        assert form is not None
        flags = [*self.studio.nsfw, *([False] * form.num_images)][: form.num_images]
        drawn: dict[str, JsonValue] = {
            "images": [self._image(task_id, task, index) for index in range(form.num_images)],
            "timings": {"inference": 3.7},
            "seed": task.seed,
            "has_nsfw_concepts": list[JsonValue](flags),
            "prompt": form.prompt,
        }
        return self._told(task_id, drawn, 200)

    async def cancel(self, request: Request) -> Response:
        """Take a request out of the queue, or ask its runner to stop."""
        if fault := await self.studio.note(request):
            return fault
        task_id, task = self._known(request, {"status": "NOT_FOUND"})
        if task.state == "cancelled" or task.looks >= self.studio.looks_until_done:
            return self._told(task_id, {"status": "ALREADY_COMPLETED"}, 400)
        if task.looks < 2 or self.studio.stops_running:
            task.state = "cancelled"
        return self._told(task_id, {"status": "CANCELLATION_REQUESTED"}, 202)

    async def ticket(self, request: Request) -> Response:
        """Say where the bytes of a file may be put."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        try:
            asked = Ticket.model_validate_json(await request.body())
        except ValidationError as error:
            raise _RefusedError(422, {"detail": complaints(error)}) from error
        name = f"{next(self.studio.numbers)}-{asked.file_name}"
        upload = Upload(asked.content_type, secrets.token_hex(8))
        self.studio.uploads[name] = upload
        put = f"{self.studio.files}/files/put/{name}?signature={upload.token}"
        return JSONResponse({"upload_url": put, "file_url": f"{self.studio.files}/files/in/{name}"})

    async def put(self, request: Request) -> Response:
        """Store a file, as a storage service would: with its signature and nobody's key."""
        if fault := await self.studio.note(request):
            return fault
        upload = self.studio.uploads[request.path_params["name"]]
        given = (request.query_params.get("signature"), request.headers.get("content-type"))
        if given != (upload.token, upload.content_type):
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403, media_type="application/xml")
        upload.content = await request.body()
        return Response(status_code=200)

    async def token(self, request: Request) -> Response:
        """A token that the files' host takes instead of the key."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        self.studio.cdn_token = secrets.token_hex(8)
        until = "2999-01-01T00:00:00+00:00"
        given = {"token": self.studio.cdn_token, "token_type": "Bearer", "base_url": self.studio.files}
        return JSONResponse({**given, "expires_at": until})

    async def direct_upload(self, request: Request) -> Response:
        """Store a file under the token."""
        if fault := await self.studio.note(request):
            return fault
        if request.headers.get("authorization") != f"Bearer {self.studio.cdn_token}":
            raise _RefusedError(401, {"detail": "Invalid token"})
        name = f"{next(self.studio.numbers)}-{request.headers.get('x-fal-file-name', 'file')}"
        kind = request.headers.get("content-type", "application/octet-stream")
        self.studio.uploads[name] = Upload(kind, "", await request.body())
        return JSONResponse({"access_url": f"{self.studio.files}/files/in/{name}"})

    async def uploaded(self, request: Request) -> Response:
        """An uploaded file; links are public."""
        upload = self.studio.uploads[request.path_params["name"]]
        return Response(upload.content, media_type=upload.content_type)

    async def output(self, request: Request) -> Response:
        """One finished picture; links are public, and no key should come."""
        if fault := await self.studio.note(request):
            return fault
        task = self.studio.tasks[request.path_params["task"]]
        assert task.form is not None
        return Response(self._drawn(task, request.path_params["index"]), media_type=f"image/{task.form.kind}")

    def _authorise(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Key {KEY}":
            raise _RefusedError(401, {"detail": "No user found for Key ID and Secret"})

    def _known(self, request: Request, unknown: dict[str, JsonValue] | None = None) -> tuple[str, Task]:
        """The request of a path, whose model has lost its last part."""
        self._authorise(request)
        task_id, app = request.path_params["task"], f"{request.path_params['owner']}/{request.path_params['app']}"
        task = self.studio.tasks.get(task_id)
        gone = task is not None and task.state == "cancelled" and self.studio.forgets_cancelled
        if task is None or gone or app != "/".join(task.model.split("/")[:2]):
            raise _RefusedError(404, unknown or {"detail": "Request not found"})
        return task_id, task

    def _read(self, model: str, content: bytes, webhook: str | None) -> Task:
        try:
            body = _OBJECT.validate_json(content)
            if self.studio.ignores_unknown:
                body = {name: value for name, value in body.items() if name in FORMS[model].model_fields}
            form = FORMS[model].model_validate_json(json.dumps(body))
        except ValidationError as error:
            return Task(model, None, None, Failure(422, complaints(error)), webhook)
        pictures = {name: self._fetched(link) for name, link in (form.controls | form.further_pictures).items()}
        broken = next((name for name, picture in pictures.items() if picture is None), None)
        control = next((pictures[name] for name in form.controls), None)
        failure = Failure(422, bad_file(broken)) if broken else self.studio.failure
        return Task(model, form, control, failure, webhook)

    def _fetched(self, link: str) -> Rgb | None:
        """The picture behind a link or inside a data URI."""
        if link in self.studio.web:
            return self.studio.web[link]
        upload = self.studio.uploads.get(link.removeprefix(f"{self.studio.files}/files/in/"))
        inside = base64.b64encode(upload.content).decode() if upload else link
        try:
            return read_picture(inside)
        except (ValueError, OSError):
            return None

    def _links(self, task_id: str) -> dict[str, JsonValue]:
        app = "/".join(self.studio.tasks[task_id].model.split("/")[:2])
        response = f"{self.studio.origin}/{app}/requests/{task_id}"
        return {
            "request_id": task_id,
            "response_url": response,
            "status_url": f"{response}/status",
            "cancel_url": f"{response}/cancel",
        }

    def _told(self, task_id: str, body: dict[str, JsonValue], status: int, error_type: str | None = None) -> Response:
        headers = {"x-fal-request-id": task_id} | ({"x-fal-error-type": error_type} if error_type else {})
        return JSONResponse(body, status, headers)

    def _image(self, task_id: str, task: Task, index: int) -> JsonValue:
        form = task.form
        assert form is not None
        width, height = self._size(task)
        link = f"{self.studio.files}/files/out/{task_id}/{index}"
        if form.sync_mode:
            link = f"data:image/{form.kind};base64,{base64.b64encode(self._drawn(task, index)).decode()}"
        return {"url": link, "width": width, "height": height, "content_type": f"image/{form.kind}"}

    def _size(self, task: Task) -> tuple[int, int]:
        assert task.form is not None
        height, width = task.control.shape[:2] if task.control is not None else (1024, 1024)
        return task.form.size((width, height))

    def _drawn(self, task: Task, index: int) -> bytes:
        assert task.form is not None
        assert task.control is not None
        return as_file(paint(task.control, *self._size(task), task.seed + index), task.form.kind.upper())


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    studio = FalStudio(origin=origin, looks_until_done=1)
    return fal(studio), studio, {"FAL_BASE_URL": origin}


SIMULATION = Simulation(keys={"FAL_KEY": KEY}, serve=_serve, ended="completed", finished="result")
