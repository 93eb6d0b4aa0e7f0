"""A simulator of zhiqite: the submission, the task query and the model list of its public pages.

There is no published client for zhiqite, so it is held against the page's own request example instead. It fetches the
control pictures by link, as the vendor does, and refuses what the page marks as required when it is missing.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.studio import Simulation, Studio, as_file, paint, read_picture

ROOT = "/AIGCImgOpenServ/saas/sd/v2"
KEY_ID, KEY_SECRET = "key-id-of-the-simulator", "key-secret-of-the-simulator"


@dataclass(slots=True)
class Task:
    """One accepted task: what was asked, and how often it was looked at."""

    width: int
    height: int
    count: int
    seed: int
    control: Rgb
    looks: int = 0


@dataclass(slots=True)
class ZhiqiteSimulator:
    """The service.

    Attributes:
        origin: Its own origin, for links in replies.
        looks_until_done: How many queries a task takes.
        audit_passes: What the audit says of each picture.
    """

    origin: str
    studio: Studio = field(default_factory=Studio)
    looks_until_done: int = 2
    audit_passes: bool = True
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])

    def app(self) -> Starlette:
        """The application to serve."""
        return Starlette(
            routes=[
                Route(f"{ROOT}/controlnet", self.submit, methods=["POST"]),
                Route(f"{ROOT}/queryTaskInfo", self.query, methods=["POST"]),
                Route(f"{ROOT}/queryModelList", self.model_list, methods=["POST"]),
                Route("/results/{task}/{index:int}.png", self.result, methods=["GET"]),
            ]
        )

    async def submit(self, request: Request) -> Response:
        """Accept a task under the caller's own id."""
        if (early := await self._gate(request)) is not None:
            return early
        body = json.loads(await request.body())
        try:
            task_id, task = await self._task(body)
        except (KeyError, TypeError, ValueError) as error:
            return _answer("400", f"bad request: {error}")
        if task_id not in self.tasks:
            self.studio.charges += 1
            self.tasks[task_id] = task
        return _answer("200", "success", {"task_id": task_id})

    async def query(self, request: Request) -> Response:
        """Tell how a task stands."""
        if (early := await self._gate(request)) is not None:
            return early
        task_id = json.loads(await request.body())["businessTaskId"]
        task = self.tasks.get(task_id)
        if task is None:
            return _answer("404", "no such task")
        task.looks += 1
        done = task.looks >= self.looks_until_done
        images: list[JsonValue] = [self._image(task_id, index, task) for index in range(task.count)] if done else []
        data: dict[str, JsonValue] = {
            "id_task": task_id,
            "status": 2 if done else 1,
            "desc": "finished" if done else "drawing",
            "temporaryImageDto": None,
            "differentialImageRspList": images,
        }
        return _answer("200", "success", data)

    async def model_list(self, request: Request) -> Response:
        """One page of checkpoints."""
        if (early := await self._gate(request)) is not None:
            return early
        row: JsonValue = {
            "id": 1,
            "sdModelCheckpoint": "revAnimated_v122_7371.safetensors",
            "sdModelName": "revAnimated",
        }
        return _answer("200", "success", {"rows": [row], "total": 1, "pageSize": 100, "pageNum": 1})

    async def result(self, request: Request) -> Response:
        """One finished picture; links are public."""
        task = self.tasks[request.path_params["task"]]
        painted = paint(task.control, task.width, task.height, task.seed + int(request.path_params["index"]))
        return Response(as_file(painted), media_type="image/png")

    async def _gate(self, request: Request) -> Response | None:
        fault = await self.studio.note(request)
        if fault is not None:
            return fault
        given = (request.headers.get("X-Request-req-accessKeyId"), request.headers.get("X-Request-req-accessKeySecret"))
        return None if given == (KEY_ID, KEY_SECRET) else _answer("401", "access key is wrong")

    async def _task(self, body: dict[str, JsonValue]) -> tuple[str, Task]:
        scripts = body.get("alwayson_scripts", body)
        assert isinstance(scripts, dict)
        controlnet = scripts["controlnet"]
        assert isinstance(controlnet, dict)
        units = controlnet["args"]
        assert isinstance(units, list)
        controls = [await _fetch(unit) for unit in units]
        _require(body, "prompt", str)
        _require(body, "resize_mode", int)
        width, height = int(str(body.get("width", 512))), int(str(body.get("height", 512)))
        count = int(str(body.get("n_iter", 1))) * int(str(body.get("batch_size", 1)))
        task = Task(width, height, count, int(str(body.get("seed", -1))), controls[0])
        return str(scripts["id_task"]), task

    def _image(self, task_id: str, index: int, task: Task) -> JsonValue:
        return {
            "image_url": f"{self.origin}/results/{task_id}/{index}.png" if self.audit_passes else None,
            "image_status": 1,
            "img_audit_status": self.audit_passes,
            "img_audit": [] if self.audit_passes else [{"label": "adult", "confidence": 0.98}],
            "seed": task.seed + index,
        }


def _require(body: dict[str, JsonValue], name: str, kind: type) -> None:
    if not isinstance(body.get(name), kind):
        raise TypeError(f"{name} is required")


async def _fetch(unit: JsonValue) -> Rgb:
    """Fetch a unit's picture by its link, from this machine only."""
    if not isinstance(unit, dict) or unit.get("enabled") is not True:
        raise ValueError("a unit must be enabled")
    link = unit["image_link"]
    if not isinstance(link, str) or not link.startswith("http://127.0.0.1:"):
        raise ValueError("image_link must be a link that can be fetched")
    async with httpx2.AsyncClient(trust_env=False) as client:
        reply = await client.get(link)
    return read_picture(base64.b64encode(reply.content).decode())


def _answer(code: str, message: str, data: JsonValue = None) -> Response:
    return JSONResponse({"code": code, "msg": message, "data": data})


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    service = ZhiqiteSimulator(origin, looks_until_done=1)
    return service.app(), service.studio, {"ZHIQITE_BASE_URL": origin}


SIMULATION = Simulation(
    keys={"ZHIQITE_ACCESS_KEY_ID": KEY_ID, "ZHIQITE_ACCESS_KEY_SECRET": KEY_SECRET},
    serve=_serve,
    modality="lineart",
    listing=f"{ROOT}/queryModelList",
)
