"""The adapter of ModelsLab (formerly stablediffusionapi.com): one POST that answers at once or with an id to ask for.

Facts: the vendor's page `Controlnet` of the enterprise plan (S), its later enterprise page (E), the schema of the
community endpoint (V5), its pages `error-codes` and `rate-limits`, and its published clients. Conflicts between them
are named where they are decided. No live reply was ever recorded: the shapes are from the vendor's pages and schemas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import urljoin

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import Fitting, ModelSpec, choose_model, named_fields, supports
from controlnet_mcp.providers.modelslab.models import (
    DEFAULT_MODEL,
    DEFAULT_SCHEDULER,
    ENTERPRISE_ONLY,
    FLUX_BY_DEFAULT,
    FLUX_MODEL,
    INFOS,
    MODELS,
    SCHEDULERS,
    TAKEN_AS_PICTURES,
    UNDISPUTED_STEPS,
    ModelsLabOptions,
    scheduler_named,
)
from controlnet_mcp.providers.refusals import STANDARD, Meaning, meaning_of
from controlnet_mcp.providers.types import (
    EVERY_SETTING,
    Capabilities,
    Control,
    Fault,
    FittedRequest,
    ModelInfo,
    Output,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
)
from controlnet_mcp.providers.vendor import SUCCESS, HostedSettings, QueueProvider, handed, https_link, part
from controlnet_mcp.providers.wire import Number, Strings, Text, Wire, pictures_in, whole

_ASK_TIMEOUT_SECONDS, _SUBMIT_TIMEOUT_SECONDS = 60.0, 300.0
"""A submission may answer with the finished picture."""
_UPLOAD_LIMIT_BYTES = 5_000_000
"""`base64_to_url` takes 5 MB."""
_MAX_INLINE_BYTES = 10_000_000
"""Most bytes of pictures that are sent inside a request; the vendor names no limit, this one is ours."""
_START_STRENGTH = 0.55
"""With a start picture: the page's example and V5's default (E: 0.7)."""
_PLAIN_STRENGTH = 1.0
"""Without one: nothing but the structure is kept (S: 1.0 destroys what is in init_image; V5's SDXL examples send 1)."""
_SWITCH = {True: "yes", False: "no"}

_LATER = "Try again later."
_KEY = Meaning(
    {401}, "unauthorized", "the key was refused", "Check MODELSLAB_API_KEY, and that MODELSLAB_PLAN is its plan."
)
_CREDIT = Meaning(
    {402}, "payment_required", "not enough credit", "Add credits at ModelsLab, or choose another provider."
)
_PLAN = Meaning(
    {403},
    "unauthorized",
    "not part of the account's plan",
    "Use another model or provider, or upgrade the plan; MODELSLAB_PLAN may also be set to the other one.",
)
_QUEUE = Meaning(
    {429},
    "rate_limited",
    "the queue is full (5, 10 or 15 waiting requests per account, by plan)",
    "Wait until earlier jobs are done and try again, or choose another provider.",
    retryable=True,
)
_BROKEN = Meaning({500}, "provider_failed", "internal error", _LATER, retryable=True, delivery="unknown")
_BUSY = Meaning({503}, "provider_failed", "not available now", _LATER, retryable=True)
_JOB = Meaning((), "not_found", "the job is not known yet", "Ask again later.", retryable=True)
_MODEL = Meaning((), "not_found", "the model is not known", "Check model with list_models.")
_MODERATED = Meaning((), "moderated", "refused for its content", "Change the prompt or the picture and try again.")
_PICTURE = Meaning(
    (),
    "image_unreadable",
    "a picture could not be read",
    "Pass a local file instead of a link, or a link that anybody can open.",
)
_FAILED = Meaning((), "provider_failed", "the job failed", "Change the prompt, the model or a setting, or try again.")
_BY_WORDS = tuple(
    replace(row, codes=(), words=words)
    for words, row in (
        (r"rate limit|queued requests|too many requests", _QUEUE),
        (r"nsfw|inappropriate|prohibited|content polic", _MODERATED),
        (r"api key|invalid key|unauthori[sz]ed|authentication", _KEY),
        (r"insufficient|credit|wallet|payment|out of balance", _CREDIT),
        (r"premium|subscription|upgrade|your (current )?plan", _PLAN),
        (r"request.{0,40}not found", _JOB),
        (r"model.{0,40}not (found|exist|available)|invalid model", _MODEL),
        (r"fetch image|image.{0,20}(url|link)|(invalid|corrupt|read|load|open).{0,20}image", _PICTURE),
        (r"temporarily unavailable|maintenance|overloaded|server is busy", _BUSY),
        (r"cuda|out of memory", _FAILED),
        (r"server error|timed? ?out", _BROKEN),
        (r"required|must be|invalid|not allowed|should be|does not support|not supported", STANDARD[0]),
    )
)
"""Meanings of an error inside HTTP 200, by its words; the documented messages come first."""
_ABOUT_THE_REQUEST = frozenset({400, 403, 404, 422})
_ABOUT_INPUTS = frozenset({_MODERATED.what, _MODEL.what, _PICTURE.what})
"""Meanings that words beside such a status may add to it."""
_STILL_ASKED = frozenset({"rate_limited", "unauthorized", "payment_required"})
"""Errors of a fetch that are about the question, not about the job."""


class ModelsLabSettings(HostedSettings):
    """Variables of ModelsLab."""

    model_config = prefixed("modelslab")

    api_key: SecretStr = Field(description="ModelsLab: API key")
    base_url: str = Field(default="https://modelslab.com/api", description="ModelsLab: base URL")
    plan: Literal["enterprise", "community"] = Field(default="enterprise", description="ModelsLab: plan")
    enterprise_prefix: str = Field(default="/v1/enterprise", description="ModelsLab: path of the enterprise calls")


class Answer(Wire):
    """A reply to a submission, a fetch or an upload; its sentence is under `message`, or under `messege`."""

    status: Text = ""
    id: Text = ""
    eta: Number = None
    fetch_result: Text = ""
    output: Strings = ()
    proxy_links: Strings = ()
    future_links: Strings = ()
    nsfw_content_detected: JsonValue = False
    meta: JsonValue = None
    retry_after: Number = None

    @property
    def failed(self) -> bool:
        """Tell whether this is an error, whatever the HTTP status was; `failed` is the webhook's word."""
        return self.status in {"error", "failed"}

    @property
    def seed(self) -> int | None:
        """The seed inside `meta`, which may also be a list or missing."""
        return whole(self.meta.get("seed")) if isinstance(self.meta, dict) else None

    def pictures(self, promised: Sequence[str] = ()) -> tuple[Output, ...]:
        """The finished pictures, with one flag for all or one for each; `promised` are links of an earlier reply."""
        found = self.output or self.proxy_links or self.future_links or promised
        told = self.nsfw_content_detected
        flags = [str(flag).lower() in {"true", "1", "yes"} for flag in (told if isinstance(told, list) else [told])]
        each = flags if len(flags) == len(found) else [any(flags)] * len(found)
        return pictures_in([*found], [*each])


class Wallet(Wire):
    """A reply to `wallet_balance`: the amount is `balance`."""

    data: Mapping[str, Number] = {}


class ModelsLabProvider(QueueProvider):
    """The adapter, on either plan; the key travels inside the JSON body."""

    name = "modelslab"
    title = "ModelsLab"
    settings = ModelsLabSettings
    options = ModelsLabOptions
    specs: tuple[ModelSpec, ...] = MODELS
    refusals: tuple[Meaning, ...] = (_KEY, _CREDIT, _PLAN, _QUEUE, _BROKEN, _BUSY)
    sentences = (*QueueProvider.sentences, "messege")
    capabilities = Capabilities(
        modalities=supports(MODELS, "either") | supports(MODELS, "picture", TAKEN_AS_PICTURES),
        settings=EVERY_SETTING,
        # E and V5: at most 1024; the vendor's error texts: 256 to 1024, divisible by 8.
        sizes=SizeLimits(minimum=256, maximum=1024, multiple=8, preferred=768),
        max_controls=3,
        upload_lifetime_seconds=20 * 3600.0,  # links live 24 hours, and a job may wait in a queue
        models=INFOS,
        schedulers=SCHEDULERS,
    )

    def __init__(self, settings: ModelsLabSettings) -> None:
        """Take the key, the plan and the layout of the enterprise paths."""
        super().__init__(settings)
        self._key = settings.api_key
        self._plan = settings.plan
        self._prefix = f"/{settings.enterprise_prefix.strip('/')}"
        if self._plan == "community":
            self.specs = tuple(
                replace(spec, keeps={name: word for name, word in spec.keeps.items() if name not in ENTERPRISE_ONLY})
                for spec in MODELS
            )

    def model_for(self, model: str | None, modalities: Sequence[str], options: Mapping[str, JsonValue]) -> ModelSpec:
        """The model of a request: any name counts, and the vendor speaks of Flux as of models `with 'flux'`.

        Control types of the caller's own are not checked, only how many they are.
        """
        own, specs = options.get("controlnet_model"), self.specs
        if isinstance(own, str) and own:
            modalities = max(modalities, own.split(","), key=len)
            specs = tuple(replace(spec, keeps=dict.fromkeys(modalities, own)) for spec in specs)
        needs_flux = specs is self.specs and FLUX_BY_DEFAULT & set(modalities)
        name = model or (FLUX_MODEL if needs_flux else DEFAULT_MODEL)
        family = specs[-1] if "flux" in name.lower() else specs[0]
        return choose_model(name, modalities, specs, self.title, lambda _name, _modality: replace(family, name=name))

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose model and scheduler, keep every number in its range, and say what cannot be honoured.

        Raises:
            RequestError: `unsupported` or `invalid_request`, with what can be done instead in the hint.
        """
        scheduler, implied = scheduler_named(request.scheduler or DEFAULT_SCHEDULER)
        work = Fitting(request, self.title)
        work.change(scheduler=scheduler, options={**request.options, **implied})
        asked, mask = [control.modality for control in request.controls], request.mask_image
        if mask is None and "inpaint" in asked:
            raise RequestError(
                "invalid_request",
                "The modality inpaint repaints the white part of mask_image, but no mask_image is given.",
                hint="Give init_image and mask_image, or use another modality, such as tile.",
            )
        if mask is not None and "inpaint" not in asked and not work.request.options.get("controlnet_model"):
            # The page: to inpaint, pass `mask_image` and use `inpaint` as the controlnet_model.
            start, link, weight = request.init_image, request.init_url, request.controls[0].weight
            control = Control(modality="inpaint", picture=start, source_url=link, weight=weight)
            detail = (
                f"ModelsLab inpaints with its inpaint control only, so {' and '.join(asked)} is not kept; "
                f"modality=inpaint,{asked[0]} asks for both (not documented together with a mask)."
            )
            work.warn("adjusted", "modality", detail, controls=(control,))
        spec = self.spec_of(work.request)
        if not request.model and spec.name == FLUX_MODEL:
            shown = request.controls[0].modality
            work.warn("assumed", "model", f"{FLUX_MODEL} is used, because ModelsLab lists {shown} for it.")
        fitted = super().fit(work.request)
        return FittedRequest(request=fitted.request, warnings=(*work.warnings, *fitted.warnings))

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """Say what the plan does not have, and where the vendor's pages disagree or say nothing."""
        used, options = work.request, ModelsLabOptions.model_validate(work.request.options)
        first, enterprise = used.controls[0], self._plan == "enterprise"
        if options.algorithm_type != "none" and used.scheduler != "DPMSolverMultistepScheduler":
            detail = f"algorithm_type is for DPMSolverMultistepScheduler; {used.scheduler} does not use it."
            work.warn("unsupported", "algorithm_type", detail)
        weight = spec.ranges["weight"].clamp(first.weight)
        if enterprise and weight < 1:
            detail = f"ModelsLab's enterprise page says at least 1, its other pages 0.1; {weight:g} is sent."
            work.warn("assumed", "weight", detail)
        clamped = any(warning.feature == "steps" for warning in work.warnings)
        if used.steps is not None and used.steps not in UNDISPUTED_STEPS and not clamped:
            detail = f"ModelsLab's pages disagree (1 to 50 steps, or only 21 and 31); {used.steps} is sent."
            work.warn("assumed", "steps", detail)
        adapter = [name for name in used.options if name.startswith("ip_adapter_")]
        if enterprise and any(used.options[name] is not None for name in adapter):
            rest = {name: value for name, value in used.options.items() if name not in adapter}
            detail = "ModelsLab has its IP adapter on the community plan only."
            work.warn("unsupported", "ip_adapter", detail, options=rest)
        preprocessed = not first.is_map and self.capabilities.modalities[first.modality].takes == "either"
        if preprocessed and used.init_image not in (None, first.picture):
            detail = (
                "ModelsLab does not say whether it preprocesses control_image or init_image when both are given; "
                "extract_control_map and control_is_map=true leave no doubt."
            )
            work.warn("assumed", "control_image", detail)
        _fit_pictures(work)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """Pictures without a public link, unless they travel inside the request."""
        if ModelsLabOptions.model_validate(request.options).base64:
            return ()
        return tuple(dict.fromkeys(row for row, url in _pictures(request) if row and not https_link(url)))

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """`base64_to_url`: the link that comes back lives 24 hours."""
        reply = yield self._post("/v6/base64_to_url", {"base64_string": PictureData(picture, "data_url")})
        answer = self.checked(reply, Answer)
        if answer.status != "success" or not answer.output:
            raise self.unexpected(reply)
        return answer.output[0]

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:
        """Several control types are a comma list; the documented example then names the first one's type alone.

        Numbers go as numbers: E and V5 say integer where the page's example writes them as text. The page: `init_image`
        is required, also as what the control is made of, so without a start picture the control picture goes as both.
        Switches are always sent: their defaults differ between the vendor's pages, or are on.
        """
        options, spec = ModelsLabOptions.model_validate(request.options), self.spec_of(request)
        # the vendor has hed beside softedge
        names = ["hed" if control.word == "hed" else spec.keeps[control.modality] for control in request.controls]
        types = options.controlnet_model or ",".join(names)
        control, start, mask = (
            PictureData(picture, "base64") if picture and options.base64 else handed(picture, url, uploaded)
            for picture, url in _pictures(request)
        )
        own = options.model_dump(exclude={"controlnet_model", "controlnet_type", "webhook"}, exclude_none=True)
        body: dict[str, Body] = {
            "controlnet_model": types,
            "controlnet_type": options.controlnet_type or types.partition(",")[0],
            "model_id": spec.name,
            "auto_hint": _SWITCH[not request.controls[0].is_map],  # E: default no, V5: default yes
            "init_image": start or control,
            "control_image": control,
            "mask_image": mask,
            "negative_prompt": None,
            "scheduler": DEFAULT_SCHEDULER,
            "strength": _PLAIN_STRENGTH if request.init_image is None else _START_STRENGTH,
            **named_fields(request, spec),
            **{name: _SWITCH[value] if isinstance(value, bool) else value for name, value in own.items()},
            "webhook": options.webhook,
            "track_id": reference,
        }
        path = "/v5/controlnet" if self._plan == "community" else f"{self._prefix}/controlnet"
        return self._post(path, body, submits=True, pictures=True)

    def _post(self, path: str, body: Mapping[str, Body], *, submits: bool = False, pictures: bool = False) -> HttpCall:
        return self.call(
            "POST",
            path,
            {"key": self._key, **body},
            timeout_seconds=_SUBMIT_TIMEOUT_SECONDS if submits else _ASK_TIMEOUT_SECONDS,
            submits=submits,
            pictures=pictures,
        )

    def status_call(self, task: RemoteTask) -> HttpCall:
        """By the link of the reply where it can be trusted, else by the plan's own.

        The SDKs' layout `.../images` and the community plan name the id in the path, the page in the body.
        """
        link, name = task.state.get("fetch_result"), part(task.remote_id)
        path = link or f"{self._prefix}/fetch"
        if link is None and self._plan == "community":
            path = f"/v6/images/fetch/{name}"
        elif link is None and self._prefix.endswith("/images"):
            path = f"{self._prefix}/fetch/{name}"
        named = path.rstrip("/").endswith(f"/{name}")
        return self._post(path, {} if named else {"request_id": task.remote_id}, pictures=True)

    def balance(self) -> Steps[float | None]:
        """The balance of the wallet, in the account's currency."""
        wallet = yield from self.ask(self._post("/wallet_balance", {}), Wallet)
        return wallet.data.get("balance")

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """On the enterprise plan what the server has loaded; the shape of that reply is not documented."""
        if self._plan == "community":
            return INFOS
        reply = yield self._post(f"{self._prefix}/get_all_models", {})
        listed = reply.json() if reply.status in SUCCESS else None
        if listed is None or (isinstance(listed, dict) and listed.get("status") == "error"):
            raise self.refused(reply)
        known = {model.name: model for model in INFOS}
        return tuple(known.get(name, ModelInfo(name)) for name in dict.fromkeys(_model_ids(listed))) or INFOS

    def accepts(self, reply: HttpReply) -> bool:
        """An error may come inside HTTP 200."""
        return reply.status in SUCCESS and not reply.read(Answer).failed

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of a reply, by its HTTP status or, inside HTTP 200, by its words."""
        table = self.refusals
        if reply.status in SUCCESS:
            table = (*_BY_WORDS, _FAILED)
        elif reply.status in _ABOUT_THE_REQUEST:
            row = meaning_of(_BY_WORDS, (), self.said(reply))
            table = (row, *table) if row and row.what in _ABOUT_INPUTS else table
        return self.explained(reply, table, wait_seconds=(reply.read_if(Answer) or Answer()).retry_after)

    def read(self, reply: HttpReply) -> Submission:
        """A picture at once, or an id and what to ask it with; an error that names an id is a job that failed."""
        if reply.status not in SUCCESS:
            raise self.refused(reply)
        answer = reply.read(Answer)
        if answer.failed and not answer.id:
            raise self.refused(reply)
        if not answer.id and not (answer.status == "success" and answer.pictures()):
            raise self.unexpected(reply)
        state: dict[str, str] = {}
        # Our key goes to that link, so it counts only as a link of the very origin that the operator configured.
        if answer.fetch_result.startswith(urljoin(self.base_url, "/")):
            state["fetch_result"] = answer.fetch_result
        if answer.future_links:
            state["future_links"] = "\n".join(answer.future_links)
        task = RemoteTask(remote_id=answer.id, state=state)
        return Submission(task=task, report=self._report(reply, answer, task))

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:
        """A job as it stands; errors about the question itself are raised, so that it is asked again."""
        if reply.status not in SUCCESS:
            raise self.refused(reply)
        answer = reply.read(Answer)
        if answer.failed and ((error := self.refused(reply)).retryable or error.code in _STILL_ASKED):
            raise error
        return self._report(reply, answer, task)

    def _report(self, reply: HttpReply, answer: Answer, task: RemoteTask) -> Report:
        """`success` without a link is asked again: the vendor's links can come later than its status."""
        if answer.failed:
            error = self.refused(reply)
            fault = Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)
            return Report(phase="failed", fault=fault)
        outputs = answer.pictures(task.state.get("future_links", "").split())
        if answer.status == "success" and outputs:
            return Report(phase="succeeded", seed=answer.seed, outputs=outputs)
        if answer.status not in {"success", "processing"}:
            raise self.unexpected(reply)
        eta = answer.eta if answer.eta is not None and answer.eta >= 0 else None
        return Report(phase="running", stage=quote(self.said(reply), 80) or None, eta_seconds=eta)


def _pictures(request: ResolvedRequest) -> tuple[tuple[StoredPicture | None, str | None], ...]:
    """The control picture, the start picture and the mask, each with the link it was read from."""
    first = request.controls[0]
    return (
        (first.picture, first.source_url),
        (request.init_image, request.init_url),
        (request.mask_image, request.mask_url),
    )


def _fit_pictures(work: Fitting) -> None:
    """Pictures beyond the upload's limit go inside the request, where the vendor names no limit.

    Raises:
        RequestError: `invalid_request` when they are too large for that too.
    """
    rows = [(picture, https_link(url)) for picture, url in _pictures(work.request) if picture]
    inline = ModelsLabOptions.model_validate(work.request.options).base64
    if not inline and all(url or picture.size_bytes <= _UPLOAD_LIMIT_BYTES for picture, url in rows):
        return
    total = sum({picture.sha256: picture.size_bytes for picture, _ in rows}.values())
    if total > _MAX_INLINE_BYTES:
        raise RequestError(
            "invalid_request",
            f"The pictures are too large for ModelsLab: {total:,} bytes as they are stored (PNG).",
            hint="Pass them as https links, or smaller: results have at most 1024 pixels a side.",
        )
    if not inline:
        detail = f"A picture is larger than the {_UPLOAD_LIMIT_BYTES:,} bytes of an upload, so base64 is used."
        work.warn("adjusted", "base64", detail, options={**work.request.options, "base64": True})


def _model_ids(value: JsonValue) -> list[str]:
    """Every `model_id` in a reply, or the strings of a plain list."""
    if isinstance(value, list):
        return [name for row in value for name in ([row] if isinstance(row, str) else _model_ids(row))]
    if not isinstance(value, dict):
        return []
    own = value.get("model_id")
    return [own] if isinstance(own, str) else [name for row in value.values() for name in _model_ids(row)]
