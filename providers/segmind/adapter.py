"""The adapter of Segmind (api.segmind.com): one control picture, one model that is chosen by the structure to keep.

v2 (the default) is a job that survives a restart; v1 is one blocking call that answers with the picture itself. Facts:
the vendor's page of `sd3-med-pose`, docs.segmind.com and the published client; conflicts are named where they are
decided.
"""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote as percent_encoded

from pydantic import Field, SecretStr

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Provider, Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError, quote
from controlnet_mcp.providers.http import MAX_PICTURES_BYTES, Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.refusals import refusal as standard_refusal
from controlnet_mcp.providers.segmind.errors import expired, failed, fault, raw, said
from controlnet_mcp.providers.segmind.fit import fit, strength
from controlnet_mcp.providers.segmind.models import MODALITIES, MODELS, SCHEDULERS, Model, find, keepers
from controlnet_mcp.providers.segmind.options import GATEWAY_OPTIONS, SegmindOptions
from controlnet_mcp.providers.segmind.wire import Answer, Credits, cost, is_picture, number
from controlnet_mcp.providers.segmind.wire import Uploaded as UploadReply
from controlnet_mcp.providers.types import (
    Capabilities,
    Control,
    FittedRequest,
    Frozen,
    ModelInfo,
    Output,
    Phase,
    RemoteTask,
    Report,
    RequestWarning,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)
from controlnet_mcp.providers.vendor import HostedSettings

INLINE_LIMIT_BYTES = 4_000_000
"""A larger picture is uploaded first instead of being written into the request."""

_V1_TIMEOUT_SECONDS, _V2_TIMEOUT_SECONDS = 300.0, 60.0
_UPLOAD_TIMEOUT_SECONDS = 120.0
_OK, _NOT_FOUND, _UNPROCESSABLE = 200, 404, 422
_PHASES: Mapping[str, Phase] = {"QUEUED": "queued", "PROCESSING": "running"}
"""A word that nobody documented counts as running: only the deadline ends a job that was paid for."""

_SEVERAL_BY_V1 = RequestWarning(
    kind="assumed",
    feature="num_images",
    detail="How v1 answers with several pictures is not documented; they are asked for as base64. v2 gives links.",
)


def _support(modality: str) -> Support:
    families = tuple(dict.fromkeys(model.family for model in keepers(modality)))
    return Support(native="scribble" if modality == "sketch" else modality, takes="picture", families=families)


CAPABILITIES = Capabilities(
    modalities={name: _support(name) for name in MODALITIES},
    settings=frozenset({"negative_prompt", "model", "steps", "guidance", "scheduler", "seed"}),
    sizes=SizeLimits(minimum=64, maximum=2048, multiple=8, preferred=1024),
    max_controls=1,
    max_images=4,
    upload_lifetime_seconds=3600.0,
    models=tuple(ModelInfo(model.slug, model.family, f"keeps {', '.join(model.keeps)}") for model in MODELS),
    schedulers=(*SCHEDULERS, "sgm_uniform", "simple"),
)
"""Sizes are only sent to flux-controlnet; elsewhere the result follows the control picture. How long an upload is kept
is not published, so it is used again for one hour only. No model takes a ready map apart from a plain picture."""


class SegmindSettings(HostedSettings):
    """Variables of Segmind."""

    model_config = prefixed("segmind")

    api_key: SecretStr = Field(description="Segmind: API key")
    base_url: str = Field(default="https://api.segmind.com", description="Segmind: base URL")
    upload_url: str = Field(
        default="https://workflows-api.segmind.com/upload-asset",
        description="Segmind: where large pictures are uploaded",
    )
    api_version: Literal["v1", "v2"] = Field(default="v2", description="Segmind: v2 is a job, v1 one blocking call")


class SegmindProvider(Provider):
    """Speaks to Segmind."""

    name: str = "segmind"
    title = "Segmind"
    settings = SegmindSettings
    capabilities: Capabilities = CAPABILITIES
    options: type[Frozen] = SegmindOptions

    def __init__(self, settings: SegmindSettings) -> None:
        """Take the key, the version and the addresses; a base URL may end in /v1, as in the vendor's own client."""
        self.base_url = settings.base_url.rstrip("/").removesuffix("/v1").removesuffix("/v2")
        self._upload_url = settings.upload_url
        self.further_urls = (self._upload_url,)
        self._version = settings.api_version
        self._headers: dict[str, str | SecretStr] = {"x-api-key": settings.api_key}
        self.secrets = settings.secrets

    def fit(self, request: ResolvedRequest) -> FittedRequest:
        """Choose the model and keep every setting inside what it takes."""
        settled = fit(request)
        if settled.request.num_images == 1 or self._version_for(settled.request) == "v2":
            return settled
        return FittedRequest(request=settled.request, warnings=(*settled.warnings, _SEVERAL_BY_V1))

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """The control picture, when it is too large for the request or the model documents only links."""
        control, model = _main(request)
        if control.picture is None or _link(control):
            return ()
        inline = model.form.inline and control.picture.size_bytes <= INLINE_LIMIT_BYTES
        return () if inline else (control.picture,)

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Hand a picture to Segmind's storage; gives its link."""
        data = PictureData(picture, "data_url")
        body: Body = {"data_urls": [data]}
        reply = yield HttpCall(
            "POST", self._upload_url, self._headers, json=body, timeout_seconds=_UPLOAD_TIMEOUT_SECONDS
        )
        if reply.status != _OK:
            raise standard_refusal(reply, said=said(reply))
        return reply.read(UploadReply).file_urls[0]

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The picture goes as a link, as the link of its upload, or as plain base64 without a `data:` prefix."""
        control, model = _main(request)
        version = self._version_for(request)
        options = SegmindOptions.model_validate(request.options)
        body: dict[str, Body] = {
            **model.form.constants,
            "prompt": request.prompt,
            model.form.picture: self._picture(request, control, uploaded),
            **_fields(request, control, model),
            **options.model_dump(mode="json", exclude=set(GATEWAY_OPTIONS), exclude_none=True),
        }
        if model.form.base64:
            several = version == "v1" and request.num_images > 1
            body["base64"] = several if options.base64 is None else options.base64
        seconds = _V1_TIMEOUT_SECONDS if version == "v1" else _V2_TIMEOUT_SECONDS
        url = f"{self.base_url}/{version}/{percent_encoded(model.slug, safe='')}"
        return HttpCall(
            "POST",
            url,
            self._headers,
            json=body,
            timeout_seconds=seconds,
            submits=True,
            max_reply_bytes=MAX_PICTURES_BYTES,
        )

    def read(self, reply: HttpReply) -> Submission:
        """Understand either version: the picture itself, JSON that holds pictures, or the receipt of a job."""
        if reply.status != _OK:
            raise failed(reply)
        if is_picture(reply.body):
            return _delivered(reply, (Output(content=reply.body),))
        answer = reply.read(Answer)
        if answer.state == "FAILED":
            raise failed(reply)
        if answer.pictures:
            return _delivered(reply, answer.pictures)
        if answer.request_id is None:
            raise _empty(reply)
        urls = {"status_url": answer.status_url, "response_url": answer.response_url}
        task = RemoteTask(remote_id=answer.request_id, state={name: url for name, url in urls.items() if url})
        return Submission(task=task, report=_report(answer))

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Ask for the status, and once it is COMPLETED for the result."""
        status = _answer((yield self._get(self._address(task, "status_url", "/status"))))
        if status.state != "COMPLETED":
            return _report(status)
        url = self._address(task, "response_url", "")
        reply = yield HttpCall("GET", url, self._headers, max_reply_bytes=MAX_PICTURES_BYTES)
        result = _answer(reply)
        if result.state == "COMPLETED" and not result.pictures:
            raise _empty(reply)
        return _report(result)

    def balance(self) -> Steps[float | None]:
        """Bought and free credits together; `None` when the account has no record of credits (404)."""
        reply = yield self._get(f"{self.base_url}/v1/get-user-credits")
        if reply.status == _NOT_FOUND:
            return None
        if reply.status != _OK:
            raise failed(reply)
        balance = reply.read(Credits)
        found = [part for part in (balance.credits, balance.free) if part is not None]
        return sum(found) if found else None

    def _version_for(self, request: ResolvedRequest) -> str:
        """A model without v2 is asked through v1; a caller may choose for models that this table does not know."""
        _, model = _main(request)
        chosen = SegmindOptions.model_validate(request.options).api_version or self._version
        return chosen if model.asynchronous else "v1"

    def _picture(self, request: ResolvedRequest, control: Control, uploaded: Uploaded) -> Body:
        if control.picture is None or _link(control):
            return control.source_url
        if self.uploads(request):
            return uploaded[control.picture.sha256]
        return PictureData(control.picture, "base64")

    def _get(self, url: str) -> HttpCall:
        return HttpCall("GET", url, self._headers)

    def _address(self, task: RemoteTask, name: str, tail: str) -> str:
        """The URL that the receipt gave, if it leads to the configured service; else the documented one."""
        given = task.state.get(name, "")
        if given.startswith(f"{self.base_url}/"):
            return given
        return f"{self.base_url}/v2/requests/{percent_encoded(task.remote_id, safe='')}{tail}"


def _main(request: ResolvedRequest) -> tuple[Control, Model]:
    control = request.controls[0]
    return control, find(request.model, control.modality)


def _link(control: Control) -> str | None:
    """The link of an unchanged picture, which Segmind fetches by itself."""
    url = control.source_url or ""
    return url if url.startswith("https://") else None


def _fields(request: ResolvedRequest, control: Control, model: Model) -> dict[str, Body]:
    """Everything that has a common name, under this model's names; what was not asked for is left to the vendor."""
    form = model.form
    named: tuple[tuple[str | None, Body], ...] = (
        (form.selector, model.keeps.get(control.modality)),
        (form.weight.wire if form.weight else None, strength(request, form)),
        ("negative_prompt", request.negative_prompt),
        (form.steps.wire, request.steps),
        (form.guidance.wire, request.guidance),
        ("scheduler", request.scheduler),
        (form.count, request.num_images),
        ("seed", request.seed),
        ("custom_width" if form.sized else None, request.width),
        ("custom_height" if form.sized else None, request.height),
    )
    return {name: value for name, value in named if name is not None and value is not None}


def _delivered(reply: HttpReply, outputs: tuple[Output, ...]) -> Submission:
    """What v1 answers with: the pictures now, the seed, the cost and the credits in header fields."""
    told = {name: number(reply.headers.get(name)) for name in ("x-seed-value", "x-cost", "x-remaining-credits")}
    seed = told["x-seed-value"]
    report = Report(
        phase="succeeded",
        outputs=outputs,
        seed=None if seed is None else int(seed),
        cost=cost(told["x-cost"]),
        credits_left=told["x-remaining-credits"],
    )
    return Submission(task=RemoteTask(remote_id=reply.headers.get("x-request-id", "")), report=report)


def _answer(reply: HttpReply) -> Answer:
    """Read a record of a job; FAILED is delivered as HTTP 422 and is an answer, not an error.

    Raises:
        ProviderError: The record is gone (404), or the question failed.
    """
    if reply.status == _NOT_FOUND:
        raise expired(reply)
    if reply.status not in {_OK, _UNPROCESSABLE}:
        raise failed(reply)
    answer = reply.read(Answer)
    if reply.status == _UNPROCESSABLE and answer.state != "FAILED":
        raise failed(reply)
    return answer


def _report(answer: Answer) -> Report:
    if answer.state == "FAILED":
        return Report(phase="failed", fault=fault(answer.said))
    if answer.state == "COMPLETED" and answer.pictures:
        spent, left = cost(answer.metric("cost")), answer.metric("remaining_credits")
        return Report(phase="succeeded", outputs=answer.pictures, cost=spent, credits_left=left)
    return Report(phase=_PHASES.get(answer.state, "running"), stage=quote(answer.status or "", 40) or None)


def _empty(reply: HttpReply) -> ProviderError:
    """The error of an answer that holds neither a picture nor the id of a job."""
    return ProviderError(
        "provider_failed",
        f"{reply.provider} answered HTTP {reply.status} with neither a picture nor the id of a job.",
        provider=reply.provider,
        hint="Look in the Segmind console whether a job was made, then try again.",
        retryable=True,
        delivery="unknown",
        provider_message=said(reply) or raw(reply),
    )
