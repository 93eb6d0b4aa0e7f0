"""The adapter of WaveSpeed (api.wavespeed.ai): one control map, one Flux model that is chosen by the structure to keep.

A submission gives a prediction, which is asked for until it is completed. Facts: the vendor's page of
`flux-control-lora-depth`, wavespeed.ai/docs, the published client wavespeed 2.0.5 and the vendor's ComfyUI nodes;
conflicts are named where they are decided. What an empty balance is answered with is not documented: HTTP 402, or a
sentence about it. The canny model has the fields of the depth model in the vendor's ComfyUI nodes; the page of
`flux-controlnet-union-pro-2.0` also advises a scale and an end for each kind of control. No model has a field that says
what kind of map it is given.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple
from urllib.parse import quote as percent_encoded

from pydantic import AliasPath, Field, JsonValue, SecretStr

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import (
    FIELDS,
    Fitting,
    ModelSpec,
    Range,
    find_model,
    model_infos,
    named_fields,
    present,
    supports,
)
from controlnet_mcp.providers.refusals import CHANGE, LATER, UNSAFE, Meaning, fault, meaning_of
from controlnet_mcp.providers.types import (
    Capabilities,
    Cost,
    LookRate,
    ModelInfo,
    Phase,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
)
from controlnet_mcp.providers.vendor import (
    SUCCESS,
    UPLOAD_TIMEOUT_SECONDS,
    Fraction,
    HostedSettings,
    LoraOptions,
    QueueProvider,
    bearer,
    handed,
    https_link,
    part,
)
from controlnet_mcp.providers.wire import Id, Number, Text, Whole, Wire, pictures_in

OWNER = "wavespeed-ai/"
LARGEST_SEED = 9_999_999_999
"""The vendor's own nodes reduce larger ones modulo this number. -1 is random."""


class Advice(NamedTuple):
    """The vendor's advice for one kind of control of Union Pro: conditioning scale, and where the control ends."""

    scale: float
    end: float
    trained: bool = True


ADVICE: Mapping[str, Advice] = {
    "canny": Advice(0.7, 0.8),
    "softedge": Advice(0.7, 0.8),
    "depth": Advice(0.8, 0.8),
    "pose": Advice(0.9, 0.65),
    "gray": Advice(0.9, 0.8),
    **dict.fromkeys(("lineart", "scribble", "sketch", "mlsd"), Advice(0.7, 0.8, trained=False)),
}
"""Union Pro was trained on the first five; other white lines on black look enough like canny and soft edges to it
(inferred, and said in a warning). Support for tiles was removed with version 2.0."""

_FIELDS = {**FIELDS, "num_images": "num_images"}
_STEPS = Range(1, 50)
_CANNY = f"{OWNER}flux-control-lora-canny"
_DEPTH = ModelSpec(
    name=f"{OWNER}flux-control-lora-depth",
    family="flux-control-lora",
    keeps={"depth": f"{OWNER}flux-control-lora-depth"},
    fields={**_FIELDS, "weight": "control_scale"},
    ranges={"steps": _STEPS, "guidance": Range(1, 30), "weight": Range(0, 2)},
)
_UNION = ModelSpec(
    name=f"{OWNER}flux-controlnet-union-pro-2.0",
    family="flux-controlnet",
    keeps=dict.fromkeys(ADVICE, f"{OWNER}flux-controlnet-union-pro-2.0"),
    fields={
        **_FIELDS,
        "weight": "controlnet_conditioning_scale",
        "start": "control_guidance_start",
        "end": "control_guidance_end",
    },
    ranges={"steps": _STEPS, "guidance": Range(0, 20), "weight": Range(0, 2)},
    options=frozenset(
        {"output_format", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
    ),
)
MODELS = (_DEPTH, replace(_DEPTH, name=_CANNY, keeps={"canny": _CANNY}), _UNION)
"""The first that keeps a modality is its default."""

_LOOKS = LookRate(per_second=40.0, at_once=2500)
"""Within 5,000 a minute, the documented limit of the highest tier; accounts of lower ones have fewer tasks at once."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}/[a-z0-9][a-z0-9._-]{0,79}")
_OK = 200
_SYNC_TIMEOUT_SECONDS = 300.0
_SYNC_WAIT_ENDED = 5004
"""`data.code` of a submission that was held open too long: the task goes on (wavespeed 2.0.5, api/client.py)."""
_BY_THE_CONNECTION = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_NO_CREDIT = Meaning(
    {402}, "payment_required", "not enough credit", "Top up the WaveSpeed account, or choose another provider."
)
_FAILED = Meaning({1403, 1405}, "provider_failed", "the task failed", LATER, retryable=True)
_REFUSALS = (
    Meaning(
        {401}, "unauthorized", "the key was refused", "Check WAVESPEED_API_KEY; it works only after a first top-up."
    ),
    _NO_CREDIT,
    Meaning(
        {404},
        "not_found",
        "not found",
        "Use a model of list_models; with WAVESPEED_API_VERSION=v2, try v3: the older version may be gone.",
    ),
    Meaning(
        {429},
        "rate_limited",
        "rate limit reached",
        "The limits are per minute and depend on the account's tier (Bronze: 2 pictures a minute); wait a minute, or "
        "choose another provider.",
        retryable=True,
    ),
    Meaning({503}, "provider_failed", "not available now", LATER, retryable=True),
    replace(UNSAFE, codes={1200}, words=""),
    Meaning(
        {1402},
        "image_unreadable",
        "the control picture could not be read",
        "Pass the picture as a file, or as an https link that opens without a login.",
    ),
    _FAILED,
    Meaning({5000}, "provider_failed", "internal error", LATER, retryable=True, delivery="unknown"),
    Meaning({5003}, "provider_failed", "not available now", LATER, retryable=True, delivery="unknown"),
    Meaning({5004}, "timed_out", "the time ran out", LATER, retryable=True, delivery="unknown"),
    replace(
        _NO_CREDIT, codes=(), words=r"(insufficient|not enough|too few|low) (credit|balance|fund)|top.?up|recharge"
    ),
    UNSAFE,
    Meaning({403}, "unauthorized", "this account may not use the model", "list_models names the others."),
    Meaning({1400}, "invalid_request", "a setting is missing", CHANGE),
    Meaning({1401}, "invalid_request", "a setting was not accepted", CHANGE),
)
"""HTTP statuses, the same inside HTTP 200, and codes of failed tasks (wavespeed.ai/docs: error codes, troubleshooting).
"""
_AGAIN = "Submit it again if it is still wanted."
_ENDINGS = {
    "timeout": Meaning((), "timed_out", "the time ran out", LATER, retryable=True),
    "deleted": Meaning((), "not_found", "the task was deleted", _AGAIN),
    "cancelled": Meaning((), "canceled", "the task was cancelled", _AGAIN),
}

_PHASES: dict[str, Phase] = {
    "created": "queued",
    "completed": "succeeded",
    "failed": "failed",
    "timeout": "failed",
    "deleted": "failed",
    "cancelled": "canceled",
}


class WaveSpeedSettings(HostedSettings):
    """Variables of WaveSpeed."""

    model_config = prefixed("wavespeed")

    api_key: SecretStr = Field(description="WaveSpeed: API key")
    base_url: str = Field(default="https://api.wavespeed.ai", description="WaveSpeed: base URL")
    api_version: Literal["v3", "v2"] = Field(default="v3", description="WaveSpeed: version of the API")


class WaveSpeedOptions(LoraOptions):
    """`provider_options`: the fields of the vendor's pages that have no common name."""

    enable_safety_checker: bool = Field(default=True, description="Run the safety filter (true)")
    enable_sync_mode: bool = Field(
        default=False,
        description="Wait for the result inside the submission (false); a broken connection then leaves the outcome "
        "unknown",
    )
    enable_base64_output: bool = Field(
        default=False, description="Answer with the pictures themselves, not with links (false)"
    )
    webhook: str | None = Field(
        default=None,
        pattern=r"^https://[^\s/]+\S*$",
        max_length=2000,
        description="https link that WaveSpeed calls when it is done",
    )
    output_format: Literal["jpeg", "png", "webp"] | None = Field(
        default=None, description="Union Pro: file type of the result (jpeg)"
    )
    controlnet_conditioning_scale: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Union Pro: exact scale, 0 to 2; default: the weight of the modality, where 1 means the vendor's "
        "advice (lines 0.7, depth 0.8, pose and gray 0.9)",
    )
    control_guidance_start: Fraction | None = Field(
        default=None, description="Union Pro: fraction of the steps at which the control sets in (0)"
    )
    control_guidance_end: Fraction | None = Field(
        default=None,
        description="Union Pro: fraction of the steps at which the control ends (0.8, pose 0.65)",
    )


_WHEN_ASKED = {"output_format", "enable_sync_mode", "enable_base64_output"}
"""Options that are sent only when they are not the vendor's usual ones."""


class Envelope(Wire):
    """The envelope of every answer; `code` repeats the HTTP status, or contradicts it."""

    code: Whole = None
    error_code: Whole = None


class Prediction(Wire):
    """A task, as a receipt and the answer to a question tell of it; `code` and `error` say why it failed."""

    id: Id = Field(validation_alias=AliasPath("data", "id"))
    status: Text = Field(default="", validation_alias=AliasPath("data", "status"))
    outputs: JsonValue = Field(default=None, validation_alias=AliasPath("data", "outputs"))
    flags: JsonValue = Field(default=None, validation_alias=AliasPath("data", "has_nsfw_contents"))
    error: Text = Field(default="", validation_alias=AliasPath("data", "error"))
    code: Whole = Field(default=None, validation_alias=AliasPath("data", "code"))


class Ticket(Wire):
    """Place and header fields for the bytes of an upload, and the link under which they can then be used."""

    method: str = Field(validation_alias=AliasPath("data", "upload", "method"))
    url: str = Field(validation_alias=AliasPath("data", "upload", "url"))
    headers: Mapping[str, str] = Field(default={}, validation_alias=AliasPath("data", "upload", "headers"))
    download_url: str = Field(validation_alias=AliasPath("data", "download_url"))


class Money(Wire):
    """A price (after discounts, before them, or per run; US dollars unless said: unverified), or the dollars left."""

    discounted: Number = Field(default=None, validation_alias=AliasPath("data", "discounted_price"))
    price: Number = Field(default=None, validation_alias=AliasPath("data", "price"))
    unit: Number = Field(default=None, validation_alias=AliasPath("data", "unit_price"))
    currency: Text = Field(default="", validation_alias=AliasPath("data", "currency"))
    balance: Number = Field(default=None, validation_alias=AliasPath("data", "balance"))


class ModelRow(Wire):
    """One model of the list."""

    model_id: Text = ""
    name: Text = ""
    base_price: Number = None


class ModelsReply(Wire):
    """The list of models."""

    data: tuple[ModelRow, ...] = ()


class WaveSpeedProvider(QueueProvider):
    """The adapter.

    No page says that a model makes the map of a plain photo itself, and the page of the depth model says that its
    results depend on "the quality and precision of the input depth maps": all take ready maps. The depth page's own
    default size, 864*1636, is outside its range of 512 to 1536: the size is always sent. Union Pro's page begins at
    256, the vendor's own nodes at 512 for all models. How long an upload is kept is not published: one hour here.
    """

    name = "wavespeed"
    title = "WaveSpeed"
    settings = WaveSpeedSettings
    options = WaveSpeedOptions
    specs = MODELS
    refusals = _REFUSALS
    phases = _PHASES
    keeps_jobs = "seven days, with their pictures"
    capabilities = Capabilities(
        modalities=supports(MODELS, "map", ADVICE),
        settings=frozenset({"model", "steps", "guidance", "seed"}),
        sizes=SizeLimits(minimum=512, maximum=1536, multiple=8, preferred=1024),
        control_range=True,
        upload_lifetime_seconds=3600.0,
        looks=_LOOKS,
        prices=True,
        models=model_infos(MODELS),
    )

    def __init__(self, settings: WaveSpeedSettings) -> None:
        """Take the key, the address and the version, which only submissions and results have in two forms."""
        super().__init__(settings, {"Authorization": bearer(settings.api_key)})
        self.base_url = self.base_url.removesuffix("/api/v3").removesuffix("/api/v2")
        self._version: str = settings.api_version

    def unlisted(self, name: str, modality: str) -> ModelSpec | None:
        """A newer model of the family that its name begins with."""
        full = name.strip().lower()
        full = full if "/" in full else f"{OWNER}{full}"
        family = next((row for row in (_DEPTH, _UNION) if full.removeprefix(OWNER).startswith(f"{row.family}-")), None)
        if family is None or not _NAME.fullmatch(full):
            return None
        return replace(family, name=full, keeps={modality: full}, known=False)

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """Seeds end earlier than ours, and Union Pro knows some lines only as edges."""
        modality, seed = work.request.controls[0].modality, work.request.seed
        if "start" in spec.fields and not ADVICE[modality].trained:
            work.warn("approximate", modality, f"{spec.name} was not trained on {modality}; its lines count as edges.")
        if not -1 <= seed <= LARGEST_SEED:
            used = seed % LARGEST_SEED
            work.warn("adjusted", "seed", f"WaveSpeed's seeds end at {LARGEST_SEED}; {used} is sent.", seed=used)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """The control picture, unless it has a link: pictures inside the request are not documented."""
        control = request.controls[0]
        return () if control.picture is None or https_link(control.source_url) else (control.picture,)

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Ask for a ticket, put the bytes where it says, with its header fields and without our key; gives the link."""
        kind = picture.mime_type
        body: dict[str, Body] = {
            "filename": f"{picture.sha256[:16]}.{EXTENSIONS[kind]}",
            "size": picture.size_bytes,
            "content_type": kind,
        }
        ticket = yield from self.ask(self.call("POST", "/api/v3/media/uploads", body), Ticket)
        if ticket.method.upper() != "PUT" or not all(map(self.is_trusted, (ticket.url, ticket.download_url))):
            raise ProviderError(
                "provider_failed",
                "WaveSpeed wants the upload at a place or in a way that is not trusted; nothing was uploaded.",
                provider=self.name,
                hint="Check WAVESPEED_BASE_URL, or pass the picture as an https link.",
            )
        headers = {name: value for name, value in ticket.headers.items() if name.lower() not in _BY_THE_CONNECTION}
        content = PictureData(picture, "bytes")
        stored = yield HttpCall("PUT", ticket.url, headers, content=content, timeout_seconds=UPLOAD_TIMEOUT_SECONDS)
        if stored.status not in SUCCESS:
            raise self.refused(stored)
        return ticket.download_url

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The model is part of the path, and the webhook a query parameter."""
        options = WaveSpeedOptions.model_validate(request.options)
        return self.call(
            "POST",
            f"/api/{self._version}/{percent_encoded(self.spec_of(request).name)}",
            self._fields(request, uploaded),
            query={"webhook": options.webhook} if options.webhook else {},
            timeout_seconds=_SYNC_TIMEOUT_SECONDS if options.enable_sync_mode else None,
            submits=True,
            pictures=True,
        )

    def _fields(self, request: ResolvedRequest, uploaded: Uploaded) -> dict[str, Body]:
        """Everything under the vendor's names.

        Union Pro: a weight of 1 and an end of 1, which nobody has to ask for, mean what the vendor advises; options are
        exact.
        """
        control, options = request.controls[0], WaveSpeedOptions.model_validate(request.options)
        fields = named_fields(request, self.spec_of(request))
        if "control_guidance_end" in fields:
            advice = ADVICE[control.modality]
            usual = {"controlnet_conditioning_scale": advice.scale} if control.weight == 1 else {}
            usual |= {"control_guidance_end": advice.end} if control.end == 1 else {}
            exact = options.model_dump(include=set(fields), exclude_none=True)
            fields |= {**usual, **exact}
        return present(
            {
                **fields,
                "control_image": handed(control.picture, control.source_url, uploaded),
                "size": f"{request.width}*{request.height}",
                "loras": [{"path": lora.path, "scale": lora.scale} for lora in options.loras] or None,
                "enable_safety_checker": options.enable_safety_checker,
                **options.model_dump(include=_WHEN_ASKED, exclude_defaults=True),
            }
        )

    def read(self, reply: HttpReply) -> Submission:
        """A task with an id exists whatever stands around it; in sync mode it may already be finished, or go on."""
        task = self._prediction(reply)
        goes_on = task.code == _SYNC_WAIT_ENDED or "sync mode timed out" in task.error.lower() or reply.status != _OK
        report = Report(phase="running") if goes_on else self._report(task)
        return Submission(task=RemoteTask(remote_id=task.id, state={"version": self._version}), report=report.believed)

    def status_call(self, task: RemoteTask) -> HttpCall:
        """The result, in the version that took the task; the link in the receipt may lack the /result."""
        version = task.state.get("version", self._version)
        return self.call("GET", f"/api/{version}/predictions/{part(task.remote_id)}/result", pictures=True)

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """A prediction, whatever its end."""
        if reply.status != _OK:
            raise self.refused(reply)
        return self._report(self._prediction(reply))

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Ask for the price of these inputs; the path differs between the published clients (SDK first)."""
        inputs = self._fields(request, uploaded)
        if not str(inputs["control_image"]).startswith("https://"):
            del inputs["control_image"]
        body: dict[str, Body] = {"model_id": self.spec_of(request).name, "inputs": inputs}
        paths = ("/api/v3/model/price", "/api/v3/model/pricing")
        told = yield from self.first_found([self.call("POST", path, body) for path in paths], Money)
        prices = (told.discounted, told.price, told.unit) if told else ()
        amount = next((price for price in prices if price is not None), None)
        if told is None or amount is None:
            return None
        return Cost(amount=amount, unit=quote(told.currency, 10) or "USD", estimated=True)

    def balance(self) -> Steps[float | None]:
        """US dollars that are left; the path differs between the published clients and the page (SDK first)."""
        paths = ("/api/v3/balance", "/api/v3/account/balance")
        told = yield from self.first_found([self.call("GET", path) for path in paths], Money)
        return told.balance if told else None

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The ControlNet models of the vendor's list; the documented ones when it has none of them."""
        told = yield from self.first_found([self.call("GET", "/api/v3/models")], ModelsReply)
        found: list[ModelInfo] = []
        for row in told.data if told else ():
            spec = find_model(row.model_id, MODELS) or self.unlisted(row.model_id, "")
            if spec is None:
                continue
            keeps = f"keeps {', '.join(spec.keeps)}" if spec.known else quote(row.name, 80)
            price = "" if row.base_price is None else f"; from {row.base_price:g} USD"
            found.append(ModelInfo(spec.name, spec.family, f"{keeps}{price}"))
        return tuple(found) or self.capabilities.models

    def accepts(self, reply: HttpReply) -> bool:
        """An answer counts only with HTTP 200 and, where it has a code, the code 200."""
        return reply.status == _OK and reply.read(Envelope).code in {None, _OK}

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of a reply whose status, or whose code inside HTTP 200, is no success."""
        answer = reply.read_if(Envelope) or Envelope()
        inner = answer.code if reply.status == _OK else reply.status
        return self.explained(reply, self.refusals, (answer.error_code, inner, answer.code))

    def said(self, reply: HttpReply) -> str:
        """The vendor's sentence; that of a task goes before that of the envelope."""
        told = reply.read_if(Prediction)
        return (told.error if told else "") or super().said(reply)

    def _prediction(self, reply: HttpReply) -> Prediction:
        """The task that a reply tells of, whatever its status."""
        return reply.read_if(Prediction) or self.checked(reply, Prediction)

    def _report(self, task: Prediction) -> Report:
        word = task.status.lower()
        phase = self.phase_of(word)
        why = None
        if phase in {"failed", "canceled"}:
            row = _ENDINGS.get(word) or meaning_of(_REFUSALS, (task.code,), task.error) or _FAILED
            why = fault(row, self.title, task.error, "Failed tasks are refunded." if word == "failed" else "")
        outputs = pictures_in(task.outputs, task.flags) if phase == "succeeded" else ()
        return Report(phase=phase, outputs=outputs, stage=quote(task.status, 40) or None, fault=why)
