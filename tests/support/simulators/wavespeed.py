"""A simulated WaveSpeed: predictions on v3 and v2, upload tickets, prices, balances and models.

Reconstructed from the vendor's pages and from what its published client wavespeed 2.0.5 sends and reads. Nothing waits:
a task is created, then processed, then ended after so many questions about it.
"""

import base64
import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.studio import Simulation, Studio, as_file, paint, read_picture
from tests.support.simulators.wavespeed_forms import FORMS, Form, UploadForm, complaint

KEY = "wsk_live_0123456789abcdef"
_ModelT = TypeVar("_ModelT", bound=BaseModel)
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


@dataclass(slots=True)
class Task:
    """One prediction: what was asked, and how often it was looked at."""

    model: str
    form: Form
    webhook: str | None
    control: Rgb | None
    looks: int = 0


@dataclass(slots=True)
class Ticket:
    """Leave to put one file: its name, what it must be, and its bytes once they came."""

    name: str
    size: int
    content_type: str
    token: str
    content: bytes = b""


@dataclass(slots=True)
class WaveSpeedStudio(Studio):
    """The state of the simulated vendor.

    Attributes:
        origin: Where it is served; replies carry absolute URLs of it.
        versions: The versions of the API that are still up.
        balance: US dollars of the account.
        sdk_paths: Whether price and balance live where the SDK asks, or where the docs say.
        looks_until_done: Questions about a task until it ends.
        ends_as: The status that it ends with.
        error: Text and code of the error that it ends with.
        nsfw: What the safety filter says of each picture, in order.
        sync_waits: Whether a submission in sync mode waits long enough.
        web: Pictures that can be fetched from elsewhere, by URL.
    """

    origin: str = ""
    versions: frozenset[str] = frozenset({"v2", "v3"})
    balance: float = 10.0
    sdk_paths: bool = True
    looks_until_done: int = 2
    ends_as: str = "completed"
    error: tuple[str, int] = ("", 0)
    nsfw: tuple[bool, ...] = ()
    sync_waits: bool = True
    web: dict[str, Rgb] = field(default_factory=dict[str, Rgb])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    tickets: dict[str, Ticket] = field(default_factory=dict[str, Ticket])
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


def wavespeed(studio: WaveSpeedStudio) -> Starlette:
    """The simulated vendor as an application; only v3 has more than predictions."""
    vendor = _Vendor(studio)
    price, balance = ("price", "balance") if studio.sdk_paths else ("pricing", "account/balance")
    routes = [
        Route("/api/v3/media/uploads", vendor.ticket, methods=["POST"]),
        Route(f"/api/v3/model/{price}", vendor.price, methods=["POST"]),
        Route(f"/api/v3/{balance}", vendor.balance),
        Route("/api/v3/models", vendor.models),
        Route("/api/{version}/predictions/{task}/result", vendor.result),
        Route("/api/{version}/predictions/{task}", vendor.result),
        Route("/api/{version}/{model:path}", vendor.submit, methods=["POST"]),
        Route("/storage/{name}", vendor.put, methods=["PUT"]),
        Route("/media/{name}", vendor.media),
        Route("/outputs/{task}/{index:int}", vendor.output),
    ]
    return Starlette(routes=routes, exception_handlers={_RefusedError: _refused})


class _RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = JSONResponse({"code": status, "message": message}, status)


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _RefusedError)
    return error.answer


def _answer(data: JsonValue) -> Response:
    return JSONResponse({"code": 200, "message": "success", "data": data})


@dataclass(frozen=True, slots=True)
class _Vendor:
    studio: WaveSpeedStudio

    async def submit(self, request: Request) -> Response:
        """Accept a task; a control picture that cannot be read makes it fail later, with code 1402."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        version, model = request.path_params["version"], request.path_params["model"]
        if version not in self.studio.versions or model not in FORMS:
            raise _RefusedError(404, f"model {model} not found")
        form = _read(FORMS[model], await request.body())
        cost = form.price * form.num_images
        if self.studio.balance < cost:
            raise _RefusedError(400, "Insufficient credits. Please top up to continue.")
        task_id = secrets.token_hex(16)
        control = self._fetched(form.control_image)
        self.studio.tasks[task_id] = Task(model, form, request.query_params.get("webhook"), control)
        self.studio.charges += 1
        self.studio.balance -= cost
        return _answer(self._held(task_id, version) if form.enable_sync_mode else self._told(task_id, version))

    async def result(self, request: Request) -> Response:
        """How a task stands; it is looked at with and without /result."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        task_id, version = request.path_params["task"], request.path_params["version"]
        if task_id not in self.studio.tasks or version not in self.studio.versions:
            raise _RefusedError(404, "prediction not found")
        self.studio.tasks[task_id].looks += 1
        return _answer(self._told(task_id, version))

    async def ticket(self, request: Request) -> Response:
        """Say where the bytes of a file may be put."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        asked = _read(UploadForm, await request.body())
        name = f"{next(self.studio.numbers)}-{asked.filename}"
        ticket = Ticket(name, asked.size, asked.content_type, secrets.token_hex(8))
        self.studio.tickets[name] = ticket
        upload: JsonValue = {
            "method": "PUT",
            "url": f"{self.studio.origin}/storage/{name}?signature={ticket.token}",
            "headers": {"Content-Type": ticket.content_type, "X-Upload-Token": ticket.token},
        }
        return _answer({"upload": upload, "download_url": f"{self.studio.origin}/media/{name}"})

    async def put(self, request: Request) -> Response:
        """Store a file, as a storage service would: with the ticket's header fields and nobody's key."""
        if fault := await self.studio.note(request):
            return fault
        ticket, content = self.studio.tickets[request.path_params["name"]], await request.body()
        given = (request.query_params.get("signature"), request.headers.get("x-upload-token"))
        if given != (ticket.token, ticket.token) or "authorization" in request.headers:
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        if (len(content), request.headers.get("content-type")) != (ticket.size, ticket.content_type):
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 400, media_type="application/xml")
        ticket.content = content
        return Response(status_code=200)

    async def media(self, request: Request) -> Response:
        """An uploaded file; links are public."""
        ticket = self.studio.tickets[request.path_params["name"]]
        return Response(ticket.content, media_type=ticket.content_type)

    async def output(self, request: Request) -> Response:
        """One finished picture; links are public, and no key should come."""
        if fault := await self.studio.note(request):
            return fault
        form = self.studio.tasks[request.path_params["task"]].form
        content = self._drawn(request.path_params["task"], request.path_params["index"])
        return Response(content, media_type=f"image/{form.kind}")

    async def price(self, request: Request) -> Response:
        """What a request would cost; nothing of it is kept."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        asked = _OBJECT.validate_json(await request.body())
        model, inputs = asked.get("model_id"), asked.get("inputs")
        if not isinstance(model, str) or model not in FORMS or not isinstance(inputs, dict):
            raise _RefusedError(400, "model_id and inputs are required")
        count = inputs.get("num_images", 1)
        assert isinstance(count, int)
        amount = FORMS[model].price * count
        modern: JsonValue = {"price": amount, "discounted_price": f"{amount * 0.9:.4f}", "model_id": model}
        return _answer(modern if self.studio.sdk_paths else {"unit_price": amount, "currency": "USD"})

    async def balance(self, request: Request) -> Response:
        """What the account has."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        currency: dict[str, JsonValue] = {} if self.studio.sdk_paths else {"currency": "USD"}
        return _answer({"balance": self.studio.balance, **currency})

    async def models(self, request: Request) -> Response:
        """The ControlNet models among others."""
        if fault := await self.studio.note(request):
            return fault
        self._authorise(request)
        names = ("wavespeed-ai/z-image/turbo", "wavespeed-ai/flux-controlnet-union-pro-3.0", *FORMS)
        rows: list[JsonValue] = [
            {"model_id": name, "name": name, "type": "image-to-image", "base_price": 0.03, "formula": ""}
            for name in names
        ]
        return _answer(rows)

    def _authorise(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise _RefusedError(401, "Unauthorized: invalid API key")

    def _fetched(self, link: str) -> Rgb | None:
        """The control picture behind a link; pictures inside the request are not documented, so not understood."""
        if link in self.studio.web:
            return self.studio.web[link]
        ticket = self.studio.tickets.get(link.removeprefix(f"{self.studio.origin}/media/"))
        return read_picture(base64.b64encode(ticket.content).decode()) if ticket and ticket.content else None

    def _held(self, task_id: str, version: str) -> JsonValue:
        """Sync mode: the end of the task, or that waiting for it took too long."""
        task = self.studio.tasks[task_id]
        if self.studio.sync_waits:
            task.looks = self.studio.looks_until_done
            return self._told(task_id, version)
        told = self._prediction(task_id, version, "processing")
        return told | {"code": 5004, "error": "Sync mode timed out. Query the result later."}

    def _told(self, task_id: str, version: str) -> JsonValue:
        task, studio = self.studio.tasks[task_id], self.studio
        if task.looks < studio.looks_until_done:
            return self._prediction(task_id, version, "processing" if task.looks else "created")
        if task.control is None:
            return self._prediction(task_id, version, "failed") | {"error": "media not readable", "code": 1402}
        told = self._prediction(task_id, version, studio.ends_as)
        if studio.ends_as != "completed":
            return told | {"error": studio.error[0], "code": studio.error[1]}
        flags = [*studio.nsfw, *([False] * task.form.num_images)][: task.form.num_images]
        done: dict[str, JsonValue] = {
            "outputs": [self._output(task_id, index) for index in range(task.form.num_images)],
            "has_nsfw_contents": list[JsonValue](flags),
            "timings": {"inference": 4213},
        }
        return told | done

    def _prediction(self, task_id: str, version: str, status: str) -> dict[str, JsonValue]:
        return {
            "id": task_id,
            "model": self.studio.tasks[task_id].model,
            "outputs": [],
            "urls": {"get": f"{self.studio.origin}/api/{version}/predictions/{task_id}/result"},
            "has_nsfw_contents": [],
            "status": status,
            "created_at": "2026-11-20T12:34:56.789Z",
            "error": "",
            "timings": {"inference": 0},
        }

    def _output(self, task_id: str, index: int) -> str:
        if self.studio.tasks[task_id].form.enable_base64_output:
            return base64.b64encode(self._drawn(task_id, index)).decode()
        return f"{self.studio.origin}/outputs/{task_id}/{index}"

    def _drawn(self, task_id: str, index: int) -> bytes:
        task = self.studio.tasks[task_id]
        assert task.control is not None
        painted = paint(task.control, *task.form.width_and_height, max(task.form.seed, 0) + index)
        return as_file(painted, task.form.kind.upper())


def _read(model: type[_ModelT], content: bytes) -> _ModelT:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _RefusedError(400, complaint(error)) from error


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    studio = WaveSpeedStudio(origin=origin, looks_until_done=1)
    return wavespeed(studio), studio, {"WAVESPEED_BASE_URL": origin}


SIMULATION = Simulation(
    keys={"WAVESPEED_API_KEY": KEY},
    serve=_serve,
    finished="completed",
    balance=10,
    price_unit="USD",
    listing="/api/v3/models",
)
