"""The adapter of Segmind (api.segmind.com): one control picture, one model that is chosen by the structure to keep.

v2 (the default) is a job that survives a restart; v1 is one blocking call that answers with the picture itself. Facts:
the vendor's page of `sd3-med-pose`, docs.segmind.com and the published client; conflicts are named where they are
decided. 406 has four meanings and 401 two, told apart by their messages only; only HTTP 200 is billed.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import Fitting, ModelSpec, model_infos, named_fields, supports
from controlnet_mcp.providers.refusals import UNSAFE, Meaning, fault, meaning_of, seconds_until
from controlnet_mcp.providers.segmind.models import (
    GATEWAY_OPTIONS,
    MODELS,
    SCHEDULERS,
    SD3,
    SegmindModel,
    SegmindOptions,
)
from controlnet_mcp.providers.types import (
    Capabilities,
    Cost,
    Fault,
    LookRate,
    Output,
    Phase,
    RemoteTask,
    Report,
    ResolvedRequest,
    Submission,
)
from controlnet_mcp.providers.vendor import HostedSettings, QueueProvider, handed, https_link, part
from controlnet_mcp.providers.wire import Number, Text, Wire, is_picture, number, picture_in, whole

INLINE_LIMIT_BYTES = 4_000_000
"""A larger picture is uploaded first instead of being written into the request."""
_V1_TIMEOUT_SECONDS = 300.0
_OK, _NOT_FOUND, _UNPROCESSABLE, _TOO_MANY = 200, 404, 422, 429
_OTHER = "list_models names the models; another provider may do it too (list_modalities)."
_REFUSALS = (
    Meaning(
        {401},
        "unauthorized",
        "no key arrived with the request",
        "A new key will not help: check that a proxy does not drop the x-api-key header, and SEGMIND_BASE_URL.",
        words="^missing",
    ),
    Meaning(
        {401}, "unauthorized", "the key was refused", "Check SEGMIND_API_KEY; keys are made at platform.segmind.com."
    ),
    replace(UNSAFE, codes={400, 403, 406}),
    Meaning(
        {406},
        "provider_failed",
        "it saw another content type than JSON, so something on the way changed the request",
        "Check SEGMIND_BASE_URL and proxies in between.",
        words="content.?type",
    ),
    Meaning(
        {406},
        "payment_required",
        "the spend limit of the team is reached",
        "The owner of the Segmind team can raise the limit; it also ends with its period.",
        words=r"spend|limit (was |has been )?(reached|exceeded)",
    ),
    Meaning(
        {406},
        "payment_required",
        "not enough credit for this model; nothing was charged",
        "Top up the Segmind account, or choose a cheaper model or another provider.",
        words="credit|balance|^$",  # no message: what the vendor's page says of 406
    ),
    Meaning({406}, "invalid_request", "a value was rejected before the model ran", "Change the setting it names."),
    Meaning({403}, "unauthorized", "this account or team may not use the model", _OTHER),
    Meaning(
        {404},
        "not_found",
        "the model is not known, or only in the older version v1 of the interface; nothing was charged",
        'Use a model of list_models; for one without v2 pass provider_options {"api_version": "v1"} or set '
        "SEGMIND_API_VERSION=v1.",
    ),
    Meaning(
        {405},
        "provider_failed",
        "the HTTP method was refused (405)",
        "Check SEGMIND_BASE_URL: a proxy or a redirect in between may change the request.",
    ),
    Meaning({410}, "unsupported", "this model is retired", _OTHER),
    Meaning(
        {500},
        "provider_failed",
        "internal error (HTTP 500), which is often a value that the model does not like; only HTTP 200 is billed",
        "Look at the steps, the scheduler and the options, then try again.",
    ),
)
"""The error table of docs.segmind.com, as quoted in the notes on providers."""
_FAILURES = (
    UNSAFE,
    Meaning(
        (),
        "provider_failed",
        "the job ran and failed; nothing was charged",
        "Change the setting it names, or try again with another model.",
        retryable=True,
    ),
)
"""Reasons why a job ended as FAILED, by the vendor's sentence."""
_KEY = re.compile(r"SG_\w+")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_PHASES: dict[str, Phase] = {"queued": "queued", "completed": "succeeded", "failed": "failed"}
_HOLDERS = ("url", "image", "image_url", "output", "data")
"""Names under which clients in the wild find a picture inside an object (unverified)."""


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


class Answer(Wire):
    """A submission's receipt, a status, a result, or a v1 answer as JSON; `metrics` holds times and costs."""

    request_id: Text = ""
    status: Text = ""
    status_url: Text = ""
    response_url: Text = ""
    metrics: JsonValue = None
    images: JsonValue = None
    image: JsonValue = None
    output: JsonValue = None

    @property
    def pictures(self) -> tuple[Output, ...]:
        """The finished pictures; `images` comes first because `output` may hold only the first of several."""
        for source in (self.images, self.image, self.output):
            found = tuple(filter(None, map(picture_in, _leaves(source))))
            if found:
                return found
        return ()

    def metric(self, name: str) -> float | None:
        """One of the metrics as a number."""
        return number(self.metrics.get(name)) if isinstance(self.metrics, dict) else None


class Credits(Wire):
    """The balance: bought credits and free ones, counted apart."""

    credits: Number = None
    free: Number = Field(default=None, alias="free-credits")


class UploadReply(Wire):
    """Links to uploaded pictures."""

    file_urls: tuple[str, ...] = Field(min_length=1)


class SegmindProvider(QueueProvider):
    """The adapter.

    Sizes are only sent to flux-controlnet; elsewhere the result follows the control picture. How long an upload is kept
    is not published, so it is used again for one hour only. No model takes a ready map apart from a plain picture.
    """

    name = "segmind"
    title = "Segmind"
    settings = SegmindSettings
    options = SegmindOptions
    specs = MODELS
    refusals = _REFUSALS
    sentences = ("error_description", "error", "message")
    phases = _PHASES
    keeps_jobs = "about one hour after their submission"
    capabilities = Capabilities(
        modalities=supports(MODELS, "picture"),
        settings=frozenset({"negative_prompt", "model", "steps", "guidance", "scheduler", "seed"}),
        upload_lifetime_seconds=3600.0,
        looks=LookRate(per_second=40 / 60, at_once=10),  # 50 requests a minute on the smallest paid plan
        models=model_infos(MODELS),
        schedulers=(*SCHEDULERS, "sgm_uniform", "simple"),
    )

    def __init__(self, settings: SegmindSettings) -> None:
        """Take the key, the version and the addresses; a base URL may end in /v1, as in the vendor's own client."""
        super().__init__(settings, {"x-api-key": settings.api_key})
        self.base_url = self.base_url.removesuffix("/v1").removesuffix("/v2")
        self._upload_url = settings.upload_url
        self.further_urls = (self._upload_url,)
        self._version = settings.api_version

    def unlisted(self, name: str, modality: str) -> SegmindModel | None:
        """A model that only Segmind knows: it gets the fields that most of its Stable Diffusion models share."""
        return replace(SD3, name=name, keeps={modality: modality}, known=False) if _SLUG.fullmatch(name) else None

    def spec_of(self, request: ResolvedRequest) -> SegmindModel:
        """The model, with Segmind's own attributes."""
        found = super().spec_of(request)
        assert isinstance(found, SegmindModel)  # noqa: S101  # all of the table are
        return found

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """An exact strength goes before the weight; warn of ready maps, and of several pictures through v1."""
        exact = SegmindOptions.model_validate(work.request.options).control_strength
        if exact is not None:
            work.warnings = [row for row in work.warnings if row.feature != "weight"]
            work.clamp("provider_options.control_strength", exact, spec.ranges["weight"])
        if work.request.controls[0].is_map:
            detail = f"Segmind has no switch for preprocessing: {spec.name} may prepare this ready map once more."
            work.warn("approximate", "control_is_map", detail)
        if work.request.num_images > 1 and self._version_for(work.request) == "v1":
            detail = (
                "How v1 answers with several pictures is not documented; they are asked for as base64. v2 gives links."
            )
            work.warn("assumed", "num_images", detail)

    def uploads(self, request: ResolvedRequest) -> tuple[StoredPicture, ...]:
        """The control picture, when it is too large for the request or the model documents only links."""
        control = request.controls[0]
        if control.picture is None or https_link(control.source_url):
            return ()
        inline = self.spec_of(request).inline and control.picture.size_bytes <= INLINE_LIMIT_BYTES
        return () if inline else (control.picture,)

    def upload(self, picture: StoredPicture) -> Steps[str]:
        """Hand a picture to Segmind's storage; gives its link."""
        body: Body = {"data_urls": [PictureData(picture, "data_url")]}
        return (yield from self.ask(self.call("POST", self._upload_url, body), UploadReply)).file_urls[0]

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The picture goes as a link, as the link of its upload, or as plain base64 without a `data:` prefix."""
        control, model, version = request.controls[0], self.spec_of(request), self._version_for(request)
        options = SegmindOptions.model_validate(request.options)
        body: dict[str, Body] = {
            **model.constants,
            model.picture: handed(control.picture, control.source_url, uploaded, "base64"),
            **named_fields(request, model),
            **options.model_dump(mode="json", exclude=set(GATEWAY_OPTIONS), exclude_none=True),
        }
        if options.control_strength is not None and "weight" in model.fields:
            body[model.fields["weight"]] = model.ranges["weight"].clamp(options.control_strength)
        if model.selector:
            body[model.selector] = model.keeps[control.modality]
        if model.base64:
            several = version == "v1" and request.num_images > 1
            body["base64"] = several if options.base64 is None else options.base64
        return self.call(
            "POST",
            f"/{version}/{part(model.name)}",
            body,
            timeout_seconds=_V1_TIMEOUT_SECONDS if version == "v1" else None,
            submits=True,
            pictures=True,
        )

    def read(self, reply: HttpReply) -> Submission:
        """Understand either version: the picture itself, JSON that holds pictures, or the receipt of a job."""
        if reply.status != _OK:
            raise self.refused(reply)
        if is_picture(reply.body):
            return _delivered(reply, (Output(content=reply.body),))
        answer = reply.read(Answer)
        if self.phase_of(answer.status) == "failed":
            raise self.refused(reply)
        if answer.pictures:
            return _delivered(reply, answer.pictures)
        if not answer.request_id:
            raise self.unexpected(reply)
        urls = {"status_url": answer.status_url, "response_url": answer.response_url}
        state = {name: url for name, url in urls.items() if url.startswith("http")}
        return Submission(
            task=RemoteTask(remote_id=answer.request_id, state=state),
            report=self.understand(reply, RemoteTask(remote_id="")),
        )

    def status_call(self, task: RemoteTask) -> HttpCall:
        """The light status, without the output."""
        return self.call("GET", self._address(task, "status_url", "/status"))

    def result_call(self, task: RemoteTask) -> HttpCall:
        """The result."""
        return self.call("GET", self._address(task, "response_url", ""), pictures=True)

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """A record of a job; FAILED is delivered as HTTP 422 and is an answer, not an error."""
        if reply.status not in {_OK, _UNPROCESSABLE}:
            raise self.refused(reply)
        answer = reply.read(Answer)
        phase = self.phase_of(answer.status)
        if phase == "failed":
            return Report(phase=phase, fault=self._fault(reply))
        if reply.status != _OK:
            raise self.refused(reply)
        if phase == "succeeded" and answer.pictures:
            spent, left = _cost(answer.metric("cost")), answer.metric("remaining_credits")
            return Report(phase=phase, outputs=answer.pictures, cost=spent, credits_left=left)
        return Report(phase=phase, stage=quote(answer.status, 40) or None)

    def balance(self) -> Steps[float | None]:
        """Bought and free credits together; `None` when the account has no record of credits (404)."""
        told = yield from self.first_found([self.call("GET", "/v1/get-user-credits")], Credits)
        found = [row for row in (told.credits, told.free) if row is not None] if told else []
        return sum(found) if found else None

    def said(self, reply: HttpReply) -> str:
        """The vendor's sentence; a key is never repeated."""
        return _KEY.sub("(key)", super().said(reply))

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of a request that was refused, broke, or ran and failed (422, or a record that says so).

        A limit ends at its reset time, seen from the reply's own Date; there is no Retry-After.
        """
        if reply.status in {_OK, _UNPROCESSABLE}:
            why = self._fault(reply)
            return ProviderError(why.code, why.message, provider=self.name, hint=why.hint, retryable=why.retryable)
        reset = reply.headers.get("x-rate-limit-reset-at-utc", "").removesuffix("UTC").strip()
        when = None
        if reply.status == _TOO_MANY and "date" in reply.headers:
            with suppress(ValueError, OverflowError, OSError):
                when = datetime.fromtimestamp(int(reset), UTC) if reset.isdecimal() else datetime.fromisoformat(reset)
        waits = None if when is None else seconds_until(when.replace(tzinfo=when.tzinfo or UTC), reply)
        return self.explained(reply, self.refusals, wait_seconds=waits)

    def _fault(self, reply: HttpReply) -> Fault:
        said = self.said(reply)
        row = meaning_of(_FAILURES, (), said) or _FAILURES[-1]
        return fault(row, self.title, said)

    def _version_for(self, request: ResolvedRequest) -> str:
        """A model without v2 is asked through v1; a caller may choose for models that this table does not know."""
        chosen = SegmindOptions.model_validate(request.options).api_version or self._version
        return chosen if self.spec_of(request).asynchronous else "v1"

    def _address(self, task: RemoteTask, name: str, tail: str) -> str:
        """The URL that the receipt gave, if it leads to the configured service; else the documented one."""
        given = task.state.get(name, "")
        return given if given.startswith(f"{self.base_url}/") else f"/v2/requests/{part(task.remote_id)}{tail}"


def _leaves(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _leaves(item)
        case dict():
            yield from _leaves(next((value[name] for name in _HOLDERS if name in value), None))
        case _:
            return


def _cost(amount: float | None) -> Cost | None:
    return None if amount is None else Cost(amount=amount, unit="credits")


def _delivered(reply: HttpReply, outputs: tuple[Output, ...]) -> Submission:
    """The answer of v1: the pictures now, the seed, the cost and the credits in header fields."""
    seed, spent, left = map(reply.headers.get, ("x-seed-value", "x-cost", "x-remaining-credits"))
    cost = _cost(number(spent))
    report = Report(phase="succeeded", outputs=outputs, seed=whole(seed), cost=cost, credits_left=number(left))
    return Submission(task=RemoteTask(remote_id=reply.headers.get("x-request-id", "")), report=report)
