"""A simulator of Scenario: ControlNet calls, jobs, assets, uploads, models and teams, as scenario-sdk 2.4.0 expects.

It paints real pictures from the control image it was given.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from pydantic import JsonValue, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from controlnet_mcp.images.maps.arrays import Rgb
from tests.support.simulators.scenario_schema import MODELS, SCHEMAS, Generation
from tests.support.simulators.scenario_store import KEY, SECRET, WHEN, ScenarioStore, gate, refused
from tests.support.simulators.studio import Simulation, Studio, as_file, paint

STATUSES = ("queued", "warming-up", "in-progress", "finalizing", "success")
UNITS_PER_PICTURE = 5


@dataclass(slots=True)
class Job:
    """An accepted job and how far it is."""

    asked: Generation
    control: Rgb
    statuses: list[str]
    looks: int = 0
    asset_ids: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> str:
        """Where it stands."""
        return self.statuses[min(self.looks, len(self.statuses) - 1)]


@dataclass(slots=True)
class ScenarioSimulator:
    """The service.

    Attributes:
        origin: Its own origin, for links in replies.
        statuses: What a new job goes through, one status a look.
        failure: What a failed job says in its metadata.
        cancels: Whether jobs can be stopped.
    """

    origin: str
    studio: Studio = field(default_factory=Studio)
    statuses: tuple[str, ...] = STATUSES
    failure: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    cancels: bool = False
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    store: ScenarioStore = field(init=False)

    def __post_init__(self) -> None:
        """Its store stands under the same origin."""
        self.store = ScenarioStore(self.origin, self.studio)

    def app(self) -> Starlette:
        """The application to serve."""
        store = self.store
        api = [
            ("POST", "/generate/{operation}", self.generate),
            ("GET", "/jobs/{job_id}", self.job),
            ("POST", "/jobs/{job_id}/action", self.act),
            ("POST", "/assets", store.receive),
            ("GET", "/assets/{asset_id}", store.asset),
            ("POST", "/uploads", store.ticket),
            ("GET", "/uploads/{upload_id}", store.upload),
            ("POST", "/uploads/{upload_id}/action", store.complete),
            ("GET", "/models", self.models),
            ("GET", "/teams", self.teams),
            ("GET", "/teams/{team_id}/limits", self.limits),
        ]
        routes = [Route(f"/v1{path}", endpoint, methods=[verb]) for verb, path, endpoint in api]
        routes.append(Route("/cdn/{asset_id}", store.content, methods=["GET"]))
        routes.append(Route("/parts/{upload_id}/{number:int}", store.part, methods=["PUT"]))
        return Starlette(routes=routes)

    async def generate(self, request: Request) -> Response:
        """Accept a job, or tell its price when asked with `dryRun`."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        schema = SCHEMAS.get(request.path_params["operation"])
        if schema is None:
            return refused(404, "Not found")
        try:
            asked = schema.model_validate_json(await request.body())
            control = self.store.picture(asked.control_image, asked.control_image_id)
        except (ValidationError, ValueError, KeyError) as error:
            return refused(400, f"Bad request: {error}")
        cost = UNITS_PER_PICTURE * asked.num_samples
        if request.query_params.get("dryRun") in {"true", "api"}:
            details = {"creativeUnitsCost": cost, "creativeUnitsDiscount": 0, "costDetails": {"inference": cost}}
            return JSONResponse(details, status_code=269)
        self.studio.charges += 1
        job_id = f"job_{len(self.jobs) + 1:04}"
        self.jobs[job_id] = Job(asked, self._prepared(asked, control), list(self.statuses))
        return JSONResponse({"job": self._job(job_id), "creativeUnitsCost": cost})

    async def job(self, request: Request) -> Response:
        """Tell how a job stands; every look takes it one status further."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        job_id = request.path_params["job_id"]
        if job_id not in self.jobs:
            return refused(404, f"Job {job_id} not found")
        job = self.jobs[job_id]
        job.looks += 1
        if job.status == "success" and not job.asset_ids:
            self._paint(job)
        return JSONResponse({"job": self._job(job_id)})

    async def act(self, request: Request) -> Response:
        """Stop a job, or say that this kind cannot be stopped."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        if json.loads(await request.body()) != {"action": "cancel"} or not self.cancels:
            return refused(400, "Cannot cancel this type of job")
        job_id = request.path_params["job_id"]
        self.jobs[job_id].statuses = ["canceled"]
        return JSONResponse({"job": self._job(job_id)})

    async def models(self, request: Request) -> Response:
        """Own and public models, two to a page."""
        if (early := await gate(request, self.studio)) is not None:
            return early
        own = request.query_params.get("privacy", "private") == "private"
        rows = [row for row in MODELS.items() if row[0].startswith("model_") == own]
        start = int(request.query_params.get("paginationToken", "0"))
        page: dict[str, JsonValue] = {"models": [model_row(*row) for row in rows[start : start + 2]]}
        if start + 2 < len(rows):
            page["nextPaginationToken"] = str(start + 2)
        return JSONResponse(page)

    async def teams(self, request: Request) -> Response:
        """The one team of the key."""
        early = await gate(request, self.studio)
        return early or JSONResponse({"teams": [{"id": "team_1", "name": "Studio", "plan": "pro", "projects": []}]})

    async def limits(self, request: Request) -> Response:
        """What the team may use and has used."""
        early = await gate(request, self.studio)
        bought = {"amount": 100, "remaining": 40, "createdAt": WHEN, "updatedAt": WHEN, "expiration": WHEN}
        used = {"limits": {"creativeUnits": 1500}, "values": {"creativeUnits": 300}, "oneShotCreativeUnits": [bought]}
        return early or JSONResponse({**used, "plan": "pro", "period": {"start": WHEN, "end": WHEN}})

    def _prepared(self, asked: Generation, control: Rgb) -> Rgb:
        """The control map: what came, or its edges when the service is to detect them (never for Flux)."""
        if asked.disable_modality_detection or asked.flux:
            return control
        edges: Rgb = np.repeat(cv2.Canny(control, 100, 200)[:, :, None], 3, axis=2).astype(np.uint8)
        return edges

    def _paint(self, job: Job) -> None:
        seed = int(job.asked.seed or 1)
        for index in range(job.asked.num_samples):
            painted = paint(job.control, job.asked.width, job.asked.height, seed + index)
            job.asset_ids.append(self.store.keep(as_file(painted)))

    def _job(self, job_id: str) -> JsonValue:
        job = self.jobs[job_id]
        asked = job.asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"control_image", "image"})
        failed = job.status == "failure"
        metadata: JsonValue = {"input": asked, "assetIds": list(job.asset_ids), **(self.failure if failed else {})}
        return {
            "jobId": job_id,
            "jobType": "flux" if job.asked.flux else "inference",
            "status": job.status,
            "progress": min(1.0, job.looks / (len(job.statuses) - 1)) if len(job.statuses) > 1 else 0,
            "metadata": metadata,
            "statusHistory": [{"date": WHEN, "status": status} for status in job.statuses[: job.looks + 1]],
            "billing": {"cuCost": UNITS_PER_PICTURE * job.asked.num_samples, "cuDiscount": 0},
            "createdAt": WHEN,
            "updatedAt": WHEN,
        }


def model_row(name: str, kind: str) -> JsonValue:
    """A model of the list; one of them has no ControlNet."""
    able = kind != "flux.1-pro"
    return {"id": name, "name": name.title(), "type": kind, "capabilities": ["txt2img", *["controlnet"] * able]}


def _serve(origin: str) -> tuple[ASGIApp, Studio, Mapping[str, str]]:
    service = ScenarioSimulator(origin, statuses=("queued", "success"))
    return service.app(), service.studio, {"SCENARIO_BASE_URL": f"{origin}/v1"}


SIMULATION = Simulation(
    keys={"SCENARIO_API_KEY": KEY, "SCENARIO_API_SECRET": SECRET},
    serve=_serve,
    balance=1240,
    price_unit="creative units",
    listing="/v1/models",
)
