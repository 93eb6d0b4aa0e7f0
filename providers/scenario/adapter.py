"""The adapter of Scenario (api.cloud.scenario.com): ControlNet calls that answer with a job, results as assets.

Facts: the vendor's ControlNet guide, its API schema as a public client keeps it, and scenario-sdk 2.4.0 (`types/`),
which has no typed method for these endpoints any more: whether the live service still answers them is unverified. The
guide polls another host (api.scenario.com) in two snippets; every published client uses one host for all, and so does
this.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import EXTENSIONS, StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import Fitting, ModelSpec, named_fields, obstacle, present, scheduler_named
from controlnet_mcp.providers.refusals import fault, meaning_of
from controlnet_mcp.providers.scenario.models import (
    DEFAULT_MODEL,
    FAMILIES,
    GATEWAY_OPTIONS,
    MODALITIES,
    PRESETS,
    SCHEDULERS,
    UNKNOWN,
    ScenarioOptions,
    family_of,
)
from controlnet_mcp.providers.scenario.replies import (
    FAILURES,
    PHASES,
    REFUSALS,
    UNIT,
    AssetReply,
    JobReply,
    LimitsReply,
    ModelPage,
    PriceReply,
    Refusal,
    TeamsReply,
    UploadReply,
)
from controlnet_mcp.providers.types import (
    EVERY_SETTING,
    Capabilities,
    Cost,
    FittedRequest,
    ModelInfo,
    Output,
    RemoteTask,
    Report,
    RequestWarning,
    ResolvedRequest,
    Submission,
)
from controlnet_mcp.providers.vendor import SUBMIT_TIMEOUT_SECONDS, HostedSettings, QueueProvider, ReplyT, part

INLINE_BYTES = 1_400_000
"""Largest picture that goes inside the call: three of them as base64 stay below 6 MB, where the vendor's inline uploads
end (no limit is published for this call)."""
_WHOLE_UPLOAD_BYTES = 6_000_000
"""Below this a picture is uploaded in one call, from here on through an upload ticket."""
_LOOKS_AT_UPLOAD = 60
"""Questions about a large upload, without a pause, before it is given up."""
_PAID_TIMEOUT_SECONDS, _PART_TIMEOUT_SECONDS = 120.0, 300.0
_MODEL_PAGES = 5
_BAD_REQUEST = 400
_NEGATIVE_STRENGTH = 0.5
"""Ours: the vendor wants one above 0 on Flux dev and names no usual value."""
_SMALLER = "Try again later, or pass a picture of less than 6 MB."


class ScenarioSettings(HostedSettings):
    """Variables of Scenario."""

    model_config = prefixed("scenario")

    api_key: SecretStr = Field(description="Scenario: API key")
    api_secret: SecretStr = Field(description="Scenario: API secret")
    base_url: str = Field(default="https://api.cloud.scenario.com/v1", description="Scenario: base URL")


class ScenarioProvider(QueueProvider):
    """The adapter.

    Assets stay until they are deleted; an upload is used again for one hour only, because somebody may delete it.
    """

    name = "scenario"
    title = "Scenario"
    settings = ScenarioSettings
    options = ScenarioOptions
    specs = FAMILIES
    refusals = REFUSALS
    sentences = ("message", "reason", "error")
    phases = PHASES
    capabilities = Capabilities(
        modalities=MODALITIES,
        settings=EVERY_SETTING,
        max_controls=3,
        upload_lifetime_seconds=3600.0,
        asset_ids=True,
        cancels=True,
        prices=True,
        models=(
            ModelInfo("flux.1-dev", "flux-dev", "Flux dev: one modality, ready maps"),
            ModelInfo("flux.1-schnell", "flux-schnell", "Flux schnell: one modality, ready maps, fast"),
        ),
        schedulers=SCHEDULERS,
    )

    def __init__(self, settings: ScenarioSettings) -> None:
        """Take the keys and where the service is."""
        pair = f"{settings.api_key.get_secret_value()}:{settings.api_secret.get_secret_value()}"
        basic = base64.b64encode(pair.encode()).decode("ascii")
        super().__init__(settings, {"authorization": SecretStr(f"Basic {basic}")})
        self.secrets = (*self.secrets, SecretStr(basic))

    def model_for(self, model: str | None, modalities: Sequence[str], options: Mapping[str, JsonValue]) -> ModelSpec:
        """The family that was named, or that the id of the base model or of the model tells, under the model's id.

        Raises:
            RequestError: `unsupported` for modalities, a number of them, or a preset that the family does not have.
        """
        chosen = ScenarioOptions.model_validate(options)
        name = model or DEFAULT_MODEL
        family = chosen.family or family_of(chosen.base_model_id or "") or family_of(name)
        spec = next((row for row in FAMILIES if row.family == family), UNKNOWN)
        presets = PRESETS.get(spec.family, ())
        if chosen.preset and chosen.preset not in presets:
            known = ", ".join(presets) or "none"
            raise RequestError(
                "unsupported",
                f"{spec.label} has no preset {chosen.preset}.",
                hint=f"Its presets: {known}; or use modality.",
            )
        lost = "" if chosen.preset else obstacle(spec, modalities)
        if lost:
            able = ", ".join(row.label for row in FAMILIES if not obstacle(row, modalities))
            advice = f"choose a model of {able}" if able else "leave some of them out"
            raise RequestError(
                "unsupported", f"{spec.label} on Scenario {lost}.", hint=f"For {', '.join(modalities)} {advice}."
            )
        return replace(spec, name=name)

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Check against the family of the model; options may come in the vendor's spelling."""
        if request.scheduler is not None:  # a name that nobody knows is no reason to go to another provider
            scheduler_named(request.scheduler, replace(UNKNOWN, label=self.title), "invalid_request")
        options = ScenarioOptions.model_validate(request.options).model_dump(mode="json", exclude_none=True)
        fitted = super().fit(request.model_copy(update={"options": options}))
        if request.model is not None:
            return fitted
        detail = f"Scenario needs a model; {DEFAULT_MODEL} was taken."
        told = RequestWarning(kind="assumed", feature="model", detail=detail)
        return fitted.model_copy(update={"warnings": (told, *fitted.warnings)})

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """Refuse or change what a family of models cannot do, and say what was assumed."""
        options = ScenarioOptions.model_validate(work.request.options)
        _refuse_combinations(work.request, options)
        if not spec.family:
            detail = (
                f"The id {spec.name[:60]} does not tell the model's family, so its limits were not checked; say it "
                "with provider_options.family."
            )
            work.warn("assumed", "model", detail)
        elif spec.family == "flux-pro":
            detail = "Scenario names modalities for Flux dev and schnell only; Flux pro may refuse them."
            work.warn("assumed", "model", detail)
        controls = work.request.controls
        unmade = [row.modality for row in controls if not row.is_map and MODALITIES[row.modality].takes == "either"]
        if options.preset:
            replaced = " and ".join(row.modality for row in controls)
            work.warn("adjusted", "modality", f"The preset {options.preset} takes the place of {replaced}.")
        elif unmade and not spec.detects:
            detail = (
                f"{spec.label} on Scenario makes no maps: the picture is used as a ready {unmade[0]} map. Pass a map "
                "(extract_control_map makes some) or use an SDXL or SD 1.5 model, where the service makes it."
            )
            work.warn("assumed", "control_image", detail)
        nothing = next((row.modality for row in controls if row.weight <= 0), None)
        if nothing is not None:
            raise RequestError(
                "invalid_request",
                f"The weight of {nothing} must be above 0 on Scenario.",
                hint=f"Leave {nothing} out, or give it a weight above 0 and up to 1.",
            )
        heavy = [row.modality for row in controls if row.weight > 1]  # the vendor's range is ]0.0, 1.0]
        if heavy:
            lighter = tuple(row.model_copy(update={"weight": min(row.weight, 1.0)}) for row in controls)
            detail = f"Scenario's weights end at 1; {' and '.join(heavy)} got 1."
            work.warn("adjusted", "weight", detail, controls=lighter)
        _fit_negative_prompt(work, spec, options)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """Pictures that are too large to go inside the call, each once."""
        pictures = (request.controls[0].picture, request.init_image, request.mask_image)
        large = [row for row in pictures if row is not None and row.size_bytes > INLINE_BYTES]
        return tuple({row.sha256: row for row in large}.values())

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Store a picture as an asset; gives its id.

        A large one goes as a ticket with a single part, because a call carries a whole picture or nothing.
        """
        name = f"{picture.sha256[:16]}.{EXTENSIONS[picture.mime_type]}"
        if picture.size_bytes < _WHOLE_UPLOAD_BYTES:
            body: Body = {"name": name, "image": PictureData(picture, "base64")}
            return (yield from self._ask_quietly(self.call("POST", "/assets", body), AssetReply)).id
        ticket: Body = {
            "fileName": name,
            "contentType": picture.mime_type,
            "fileSize": picture.size_bytes,
            "kind": "image",
            "parts": 1,
        }
        upload = yield from self._ask_quietly(self.call("POST", "/uploads", ticket), UploadReply)
        if not self.is_trusted(upload.address):
            raise ProviderError(
                "provider_failed",
                "Scenario gave no usable address for an upload.",
                provider=self.name,
                hint=_SMALLER,
                retryable=True,
            )
        content = PictureData(picture, "bytes")
        stored = yield HttpCall("PUT", upload.address, content=content, timeout_seconds=_PART_TIMEOUT_SECONDS)
        if not self.accepts(stored):
            raise self.refused(stored)
        path = f"/uploads/{part(upload.id)}"
        call = self.call("POST", f"{path}/action", {"action": "complete"})
        for _ in range(_LOOKS_AT_UPLOAD):
            upload = yield from self._ask_quietly(call, UploadReply)
            if upload.status == "imported" and upload.asset_id:
                return upload.asset_id
            if upload.status == "failed":
                raise ProviderError(
                    "image_unreadable",
                    "Scenario did not take an uploaded picture.",
                    provider=self.name,
                    hint="Save it again as PNG or JPEG, with fewer pixels, and pass that.",
                    provider_message=upload.error,
                )
            call = self.call("GET", path)
        raise ProviderError(
            "timed_out",
            "Scenario is still checking an uploaded picture; nothing was bought.",
            provider=self.name,
            hint=_SMALLER,
            retryable=True,
        )

    def _ask_quietly(self, call: HttpCall, model: type[ReplyT]) -> Steps[ReplyT]:
        """Ask for a reply that may hold signed links: it is never quoted, nor kept in the chain of an error."""
        reply = yield call
        if not self.accepts(reply):
            raise self.refused(reply)
        return reply.read_if(model) or replace(reply, body=b"").read(model)

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The one call that is paid; the service has no place for a reference of ours.

        The picture of the first control serves all of them.
        """
        options, spec = ScenarioOptions.model_validate(request.options), self.spec_of(request)
        control = request.controls[0]
        fields = named_fields(request, spec)
        kept = [(spec.keeps[row.modality], row.weight) for row in request.controls if not options.preset]
        kept = kept or [(options.preset or "", options.preset_weight)]
        plain = all(weight == 1 for _, weight in kept)
        body = {
            **fields,
            "modelId": spec.name,
            # `canny`, or `canny:0.6,depth:1`: weights are written as soon as one of them is not 1.
            "modality": ",".join(name if plain else f"{name}:{weight:g}" for name, weight in kept),
            "controlImageId": control.asset_id if control.picture is None else None,
            **_picture(control.picture, uploaded, "controlImage", "controlImageId"),
            "disableModalityDetection": control.is_map,
            **_picture(request.init_image, uploaded, "image", "image"),
            **_picture(request.mask_image, uploaded, "mask", "maskId"),
            "strength": fields["strength"] if request.init_image is not None else None,
            "seed": str(request.seed),
            "negativePrompt": request.negative_prompt or None,
            **options.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(GATEWAY_OPTIONS)),
        }
        kinds: dict[str, object] = {
            "-inpaint": request.mask_image,
            "-img2img": request.init_image,
            "-ip-adapter": options.ip_adapter_image_ids,
            "-texture": options.seamless,
        }
        query = {"projectId": options.project_id, "originalAssets": "true" if options.original_assets else None}
        return self.call(
            "POST",
            f"/generate/controlnet{next((kind for kind, asked in kinds.items() if asked), '')}",
            present(body),
            query={name: value for name, value in query.items() if value is not None},
            timeout_seconds=_PAID_TIMEOUT_SECONDS,
            submits=True,
        )

    def read(self, reply: HttpReply) -> Submission:
        """The job that was made."""
        job = self.checked(reply, JobReply)
        return Submission(task=RemoteTask(remote_id=job.job_id), report=self._report(job).believed)

    def status_call(self, task: RemoteTask) -> HttpCall:
        """The job."""
        return self.call("GET", f"/jobs/{part(task.remote_id)}")

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """The job as it stands."""
        return self._report(self.checked(reply, JobReply))

    def locate(self, output: Output) -> Steps[Output]:
        """Look at the asset again: its signed link lives for a time that is not published; its filter's word is there.

        Raises:
            ProviderError: `provider_failed`, worth another try while the asset is still being made.
        """
        call = self.call("GET", f"/assets/{part(output.asset_id or '')}", query={"originalAssets": "true"})
        asset = yield from self._ask_quietly(call, AssetReply)
        if asset.status in {"pending", "error"} or not asset.url:
            raise ProviderError(
                "provider_failed",
                f"Scenario has no picture for a finished job yet (asset status {asset.status}).",
                provider=self.name,
                hint="Ask for the job again later.",
                retryable=asset.status != "error",
                lasting=asset.status == "error",
            )
        return output.model_copy(update={"url": asset.url, "flagged": output.flagged or asset.flagged})

    def cancel(self, task: RemoteTask) -> Steps[bool]:
        """Ask to stop the job; HTTP 400 means that this kind of job cannot be stopped."""
        reply = yield self.call("POST", f"/jobs/{part(task.remote_id)}/action", {"action": "cancel"})
        if reply.status == _BAD_REQUEST:
            return False
        return self.phase_of(self.checked(reply, JobReply).status) not in {"succeeded", "failed"}

    def price(self, request: ResolvedRequest, uploaded: Uploaded) -> Steps[Cost | None]:
        """Ask with a dry run, which HTTP 269 answers; nothing is uploaded for it, so large pictures have no price."""
        if self.uploads(request):
            return None
        paid = self.build(request, "", uploaded)
        query = {**paid.query, "dryRun": "true"}
        call = self.call("POST", paid.url, paid.json, query=query, timeout_seconds=SUBMIT_TIMEOUT_SECONDS)
        told = yield from self.ask(call, PriceReply)
        return Cost(amount=told.amount, unit=UNIT, estimated=True)

    def balance(self) -> Steps[float | None]:
        """The creative units that the team's plan has left, where the key may see them."""
        team = yield from self.ask(self.call("GET", "/teams"), TeamsReply)
        if team.id is None:
            return None
        reply = yield self.call("GET", f"/teams/{part(team.id)}/limits")
        if not self.accepts(reply):
            return None
        told = reply.read(LimitsReply)
        return max(0.0, told.limit - told.used) + sum(row.remaining for row in told.bought)

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The documented models, then the account's own and the public ones that list a ControlNet capability."""
        found = {row.name: row for row in self.capabilities.models}
        labels = {row.family: row.label for row in FAMILIES}
        for privacy in ("private", "public"):
            query = {"privacy": privacy, "pageSize": "500"}
            for _ in range(_MODEL_PAGES):
                page = yield from self._ask_quietly(self.call("GET", "/models", query=query), ModelPage)
                for row in page.models:
                    if any("controlnet" in name for name in row.capabilities):
                        family = family_of(row.type) or ""
                        summary = f"{row.name or row.id} ({labels.get(family, row.type)})"
                        found.setdefault(row.id, ModelInfo(row.id, family, summary))
                if page.next_page is None:
                    break
                query = {**query, "paginationToken": page.next_page}
        return tuple(found.values())

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of a reply that is no success; a 429 names a ceiling on jobs at once, or a cooldown."""
        told = reply.read_if(Refusal) or Refusal()
        error = self.explained(reply, self.refusals, wait_seconds=told.seconds)
        if told.limit is not None:
            error.hint = f"The limit is {told.limit:g} at once. {error.hint}"
        return error

    def _report(self, job: JobReply) -> Report:
        phase, why = self.phase_of(job.status), None
        if phase == "failed":
            said = " ".join(filter(None, (job.error or job.inner_error, job.hint)))
            row = meaning_of(FAILURES, (), said) or FAILURES[-1]
            refund = "is not refunded for this model" if job.kept else "is refunded"
            why = fault(replace(row, hint=f"A failed job {refund}. {row.hint}"), self.title, said)
        return Report(
            phase=phase,
            progress=None if job.progress is None else min(max(job.progress, 0.0), 1.0),
            stage=quote(job.status, 40) or None,
            outputs=tuple(Output(asset_id=name) for name in job.asset_ids) if phase == "succeeded" else (),
            seed=int(job.seed) if re.fullmatch(r"[0-9]{1,18}", job.seed) else None,
            cost=job.cost,
            fault=why,
        )


def _refuse_combinations(request: ResolvedRequest, options: ScenarioOptions) -> None:
    """There is one endpoint for each of these, and none for two at once."""
    settings = {
        "init_image": request.init_image is not None,
        "provider_options.ip_adapter_image_ids": bool(options.ip_adapter_image_ids),
        "provider_options.seamless": options.seamless,
    }
    wanted = [name for name, asked in settings.items() if asked]
    if len(wanted) > 1:
        raise RequestError(
            "unsupported",
            f"Scenario cannot combine {' and '.join(wanted)} with a control.",
            hint="Leave one of them out.",
        )
    if options.ip_adapter_scales and len(options.ip_adapter_scales) != len(options.ip_adapter_image_ids or ()):
        raise RequestError(
            "invalid_request",
            "provider_options.ip_adapter_scales needs one number for each of ip_adapter_image_ids.",
            hint="Give as many scales as asset ids, or none for the usual 0.9.",
        )


def _fit_negative_prompt(work: Fitting, spec: ModelSpec, options: ScenarioOptions) -> None:
    """On Flux dev it acts only with a strength, and not in every endpoint; with a low guidance it acts nowhere."""
    request, needs_strength = work.request, spec.family == "flux-dev"
    if not request.negative_prompt:
        return
    if needs_strength and (request.mask_image is not None or options.ip_adapter_image_ids):
        detail = f"{spec.label} on Scenario has no negative prompt for inpainting and IP-adapters; it was left out."
        work.warn("unsupported", "negative_prompt", detail, negative_prompt=None)
    elif request.guidance is not None and request.guidance < 1:
        work.warn("unsupported", "negative_prompt", "Scenario ignores the negative prompt when guidance is below 1.")
    elif needs_strength and not options.negative_prompt_strength:
        detail = (
            f"On {spec.label} it needs provider_options.negative_prompt_strength; {_NEGATIVE_STRENGTH:g} was taken."
        )
        given = {**request.options, "negative_prompt_strength": _NEGATIVE_STRENGTH}
        work.warn("assumed", "negative_prompt", detail, options=given)


def _picture(picture: StoredPicture | None, uploaded: Uploaded, name: str, id_field: str) -> dict[str, Body]:
    """A picture as a data URL, or by the id of its upload under a name of its own."""
    if picture is None:
        return {}
    asset_id = uploaded.get(picture.sha256)
    return {name: PictureData(picture)} if asset_id is None else {id_field: asset_id}
