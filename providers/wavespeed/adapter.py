"""The adapter of WaveSpeed (api.wavespeed.ai): one control map, one Flux model that is chosen by the structure to keep.

A submission gives a prediction, which is asked for until it is completed. Facts: the vendor's page of
`flux-control-lora-depth`, wavespeed.ai/docs, the published client wavespeed 2.0.5 and the vendor's ComfyUI nodes;
conflicts are named where they are decided.
"""

from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote as percent_encoded
from urllib.parse import urlsplit

from pydantic import SecretStr

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded
from controlnet_mcp.providers.configuration import ProviderSettings
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import MAX_PICTURES_BYTES, Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.types import (
    Capabilities,
    Control,
    Cost,
    FittedRequest,
    Frozen,
    ModelInfo,
    Phase,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)
from controlnet_mcp.providers.wavespeed.errors import failed, fault, gone
from controlnet_mcp.providers.wavespeed.fit import choose, control_fields, fit
from controlnet_mcp.providers.wavespeed.models import ADVICE, MODELS, SIDES, find, keepers
from controlnet_mcp.providers.wavespeed.options import WaveSpeedOptions
from controlnet_mcp.providers.wavespeed.wire import (
    BalanceReply,
    Envelope,
    ModelRow,
    ModelsReply,
    Prediction,
    PredictionReply,
    PriceReply,
    TicketReply,
    prediction_in,
)

_OK, _NOT_FOUND = 200, 404
_NO_SUCH_PATH = frozenset({_NOT_FOUND, 405})
"""A path that is not there may be taken for the name of a model, which only takes POST."""
_SUBMIT_TIMEOUT_SECONDS, _SYNC_TIMEOUT_SECONDS = 60.0, 300.0
_ASK_TIMEOUT_SECONDS, _UPLOAD_TIMEOUT_SECONDS = 30.0, 120.0
_PHASES: dict[str, Phase] = {
    "created": "queued",
    "failed": "failed",
    "timeout": "failed",
    "deleted": "failed",
    "cancelled": "canceled",
}
"""The statuses that the published clients know. Any other counts as running: only the deadline ends a job that was
paid for."""
_BY_THE_CONNECTION = frozenset({"host", "content-length", "transfer-encoding", "connection"})


def _support(modality: str) -> Support:
    families = tuple(dict.fromkeys(model.form.family for model in keepers(modality)))
    return Support(native=keepers(modality)[0].name, takes="map", families=families)


CAPABILITIES = Capabilities(
    modalities={name: _support(name) for name in ADVICE},
    settings=frozenset({"model", "steps", "guidance", "seed"}),
    sizes=SizeLimits(minimum=SIDES[0], maximum=SIDES[1], multiple=8, preferred=1024),
    max_controls=1,
    max_images=4,
    control_range=True,
    upload_lifetime_seconds=3600.0,
    prices=True,
    models=tuple(ModelInfo(model.name, model.form.family, f"keeps {', '.join(model.keeps)}") for model in MODELS),
)
"""No page says that a model makes the map of a plain photo itself, and the page of the depth model says that its
results depend on "the quality and precision of the input depth maps": all take ready maps. No field chooses a modality,
so `native` is the model. How long an upload is kept is not published, so it is used again for one hour only."""

_ReplyT = TypeVar("_ReplyT", bound=Envelope)


def missing(settings: ProviderSettings) -> tuple[str, ...]:
    """The environment variables that have to be set first."""
    key = settings.wavespeed_api_key
    return () if key and key.get_secret_value() else ("WAVESPEED_API_KEY",)


class WaveSpeedProvider(Provider):
    """Speaks to WaveSpeed."""

    name: str = "wavespeed"
    capabilities: Capabilities = CAPABILITIES
    options: type[Frozen] = WaveSpeedOptions

    def __init__(self, settings: ProviderSettings) -> None:
        """Take the key, the address and the version, which only submissions and results have in two forms."""
        self.base_url = settings.wavespeed_base_url.rstrip("/").removesuffix("/api/v3").removesuffix("/api/v2")
        self._version: str = settings.wavespeed_api_version
        key = settings.wavespeed_api_key.get_secret_value() if settings.wavespeed_api_key else ""
        self._headers: dict[str, str | SecretStr] = {"Authorization": SecretStr(f"Bearer {key}")}
        self.secrets = (SecretStr(key),)

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose the model and keep every setting inside what it takes."""
        return fit(request)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """The control picture, unless it has a link: pictures inside the request are not documented."""
        control = request.controls[0]
        return () if control.picture is None or _link(control) else (control.picture,)

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Ask for a ticket, put the bytes where it says, with its header fields and without our key; gives the link."""
        kind = picture.mime_type
        wish: dict[str, Body] = {
            "filename": f"{picture.sha256[:16]}.{EXTENSIONS[kind]}",
            "size": picture.size_bytes,
            "content_type": kind,
        }
        ticket = _checked((yield self._call("POST", "/api/v3/media/uploads", wish)), TicketReply).data
        put = ticket.upload
        if put.method.upper() != "PUT" or not all(map(self._is_trusted, (put.url, ticket.download_url))):
            raise self._strange_ticket()
        headers = {name: value for name, value in put.headers.items() if name.lower() not in _BY_THE_CONNECTION}
        content = PictureData(picture, "bytes")
        stored = yield HttpCall("PUT", put.url, headers, content=content, timeout_seconds=_UPLOAD_TIMEOUT_SECONDS)
        if not _OK <= stored.status < _OK + 100:
            raise failed(stored)
        return ticket.download_url

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The model is part of the path, and the webhook a query parameter."""
        options = WaveSpeedOptions.model_validate(request.options)
        seconds = _SYNC_TIMEOUT_SECONDS if options.enable_sync_mode else _SUBMIT_TIMEOUT_SECONDS
        return HttpCall(
            "POST",
            f"{self.base_url}/api/{self._version}/{percent_encoded(choose(request).name)}",
            self._headers,
            query={"webhook": options.webhook} if options.webhook else {},
            json=_fields(request, options, uploaded),
            timeout_seconds=seconds,
            submits=True,
            max_reply_bytes=MAX_PICTURES_BYTES,
        )

    def read(self, reply: HttpReply) -> Submission:
        """A task with an id exists whatever stands around it; in sync mode it may already be finished, or go on."""
        task = prediction_in(reply) or _checked(reply, PredictionReply).data
        goes_on = task.sync_wait_ended or reply.status != _OK
        report = Report(phase="running") if goes_on else _report(task)
        return Submission(task=RemoteTask(remote_id=task.id, state={"version": self._version}), report=report)

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask for the result in the version that took the task; the link in the receipt may lack the /result."""
        version = task.state.get("version", self._version)
        asked = self._call("GET", f"/api/{version}/predictions/{percent_encoded(task.remote_id, safe='')}/result")
        reply = yield replace(asked, max_reply_bytes=MAX_PICTURES_BYTES)
        if reply.status == _NOT_FOUND:
            raise gone(reply)
        if reply.status != _OK:
            raise failed(reply)
        return _report(prediction_in(reply) or _checked(reply, PredictionReply).data)

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Ask for the price of these inputs; the path differs between the published clients (SDK first)."""
        options = WaveSpeedOptions.model_validate(request.options)
        inputs = _fields(request, options, uploaded)
        if not str(inputs["control_image"]).startswith("https://"):
            del inputs["control_image"]
        wish: dict[str, Body] = {"model_id": choose(request).name, "inputs": inputs}
        paths = ("/api/v3/model/price", "/api/v3/model/pricing")
        told = yield from self._first_found(tuple(self._call("POST", path, wish) for path in paths), PriceReply)
        if told is None or told.data.amount is None:
            return None
        return Cost(amount=told.data.amount, unit=quote(told.data.currency, 10) or "USD", estimated=True)

    def balance(self) -> Steps[float | None]:
        """US dollars that are left; the path differs between the published clients and the page (SDK first)."""
        paths = ("/api/v3/balance", "/api/v3/account/balance")
        told = yield from self._first_found(tuple(self._call("GET", path) for path in paths), BalanceReply)
        return told.data.balance if told else None

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The ControlNet models of the vendor's list; the documented ones when it has none of them."""
        told = yield from self._first_found((self._call("GET", "/api/v3/models"),), ModelsReply)
        found = tuple(info for row in (told.data if told else ()) if (info := _info(row)))
        return found or self.capabilities.models

    def _call(self, method: str, path: str, body: Body = None) -> HttpCall:
        return HttpCall(
            method, f"{self.base_url}{path}", self._headers, json=body, timeout_seconds=_ASK_TIMEOUT_SECONDS
        )

    def _first_found(self, calls: tuple[HttpCall, ...], model: type[_ReplyT]) -> Steps[_ReplyT | None]:
        """Ask until a path exists; `None` when none does."""
        for call in calls:
            reply = yield call
            if reply.status not in _NO_SUCH_PATH:
                return _checked(reply, model)
        return None

    def _is_trusted(self, url: str) -> bool:
        """Whether a link of a reply may be used: it has the configured origin, or is https and carries no password."""
        parts = urlsplit(url)
        configured = urlsplit(self.base_url)
        if (parts.scheme, parts.netloc) == (configured.scheme, configured.netloc):
            return True
        return parts.scheme == "https" and bool(parts.hostname) and parts.username is None

    def _strange_ticket(self) -> ProviderError:
        return ProviderError(
            "provider_failed",
            f"{self.name} wants the upload at a place or in a way that is not trusted; nothing was uploaded.",
            provider=self.name,
            hint="Check WAVESPEED_BASE_URL, or pass the picture as an https link.",
        )


def _checked(reply: HttpReply, model: type[_ReplyT]) -> _ReplyT:
    """An answer counts only with HTTP 200 and, where it has a code, the code 200.

    Raises:
        ProviderError: It is a refusal or nonsense.
    """
    if reply.status != _OK or reply.read(Envelope).code not in {None, _OK}:
        raise failed(reply)
    return reply.read(model)


def _link(control: Control) -> str | None:
    """The link of an unchanged picture, which WaveSpeed fetches by itself."""
    url = control.source_url or ""
    return url if url.startswith("https://") else None


def _fields(request: ResolvedRequest, options: WaveSpeedOptions, uploaded: Uploaded) -> dict[str, Body]:
    """Everything under the vendor's names; what was not asked for is left to the vendor's defaults, but the size."""
    control = request.controls[0]
    loras: list[Body] = [{"path": lora.path, "scale": lora.scale} for lora in options.loras]
    fields: dict[str, Body] = {
        "prompt": request.prompt,
        "control_image": _link(control) or uploaded[control.picture.sha256 if control.picture else ""],
        **control_fields(control, choose(request), options),
        "seed": request.seed,
        "num_images": request.num_images,
        "size": f"{request.width}*{request.height}",
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "loras": loras or None,
        "enable_safety_checker": options.enable_safety_checker,
        "output_format": options.output_format,
        "enable_sync_mode": options.enable_sync_mode or None,
        "enable_base64_output": options.enable_base64_output or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _report(task: Prediction) -> Report:
    """Completed means pictures; without one it is asked again, because the task was paid for."""
    state = task.status.lower()
    pictures = task.pictures if state == "completed" else ()
    if pictures:
        return Report(phase="succeeded", outputs=pictures)
    phase = _PHASES.get(state, "running")
    ended = phase in {"failed", "canceled"}
    return Report(phase=phase, stage=quote(task.status, 40) or None, fault=fault(task) if ended else None)


def _info(row: ModelRow) -> ModelInfo | None:
    """A row of the list, when it is one of the models that requests can be built for."""
    model = find(row.model_id, "")
    if model is None:
        return None
    keeps = f"keeps {', '.join(model.keeps)}" if model.known else quote(row.name, 80)
    price = "" if row.base_price is None else f"; from {row.base_price:g} USD"
    return ModelInfo(model.name, model.form.family, f"{keeps}{price}")
