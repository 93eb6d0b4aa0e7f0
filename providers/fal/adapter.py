"""The adapter of fal (queue.fal.run): one queue for all models, SDXL's union of ControlNets unless a FLUX is named.

Facts: the vendor's pages on its queue, errors and models, its clients fal-client 1.0.3 and @fal-ai/client (2026-08).
A failure is a completed request, too: the platform's stands in the status, a model's only in the result.
"""

import re
from dataclasses import replace
from typing import Literal

from pydantic import Field, JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply
from controlnet_mcp.providers.model_spec import Fitting, ModelSpec, Range, model_infos, named_fields, present, supports
from controlnet_mcp.providers.refusals import LATER, Meaning, fault, meaning_of
from controlnet_mcp.providers.types import Capabilities, RemoteTask, Report, ResolvedRequest, SizeLimits, Submission
from controlnet_mcp.providers.vendor import HostedSettings, LoraOptions, QueueProvider, bearer, handed, part
from controlnet_mcp.providers.wire import Count, Text, Whole, Wire, pictures_in

_ALIKE = ("canny", "depth", "normal")
_OWN = {name: name for name in _ALIKE} | {"pose": "openpose", "seg": "segmentation", "softedge": "teed"}
_NEAREST = {"scribble": "teed", "sketch": "teed", "lineart": "canny", "mlsd": "canny"}
"""Lines without a field of their own go as ready maps into the nearest one (inferred, and said)."""
_COMMON = ("prompt", "seed", "num_images", "strength")
_FIELDS = {name: name for name in _COMMON} | {"steps": "num_inference_steps", "guidance": "guidance_scale"}
_UNION = ModelSpec(
    name="fal-ai/sdxl-controlnet-union",
    family="sdxl",
    keeps=_OWN | _NEAREST,
    fields={**_FIELDS, "negative_prompt": "negative_prompt", "weight": "controlnet_conditioning_scale"},
    ranges={"steps": Range(1, 70), "guidance": Range(0, 20), "strength": Range(0, 1), "weight": Range(0, 1, 0.5)},
    max_controls=6,
)
_CANNY = ModelSpec(
    name="fal-ai/flux-control-lora-canny",
    family="flux",
    keeps={"canny": "control_lora"},
    fields={**_FIELDS, "weight": "control_lora_strength"},
    ranges={"steps": Range(1, 50), "guidance": Range(0, 35), "strength": Range(0.01, 1), "weight": Range(0, 2)},
    detects=False,
)
MODELS = (_UNION, _CANNY, replace(_CANNY, name="fal-ai/flux-control-lora-depth", keeps={"depth": "control_lora"}))
"""Beside each modality the beginning of its field: `canny_image_url`, `control_lora_image_url`."""
_FAILED = Meaning((), "provider_failed", "the request failed", LATER, retryable=True)
_REFUSALS = (
    Meaning((), "moderated", "refused for its content", "Change the prompt or picture.", "content_policy|no_media"),
    Meaning((), "image_unreadable", "a picture was unreadable", "Pass a PNG file.", "download|image_load|image_format"),
    Meaning((), "timed_out", "the time ran out", LATER, "(request|startup|generation)_timeout", retryable=True),
    Meaning((), "canceled", "the request was cancelled", "Submit it again if it is still wanted.", "client_cancelled"),
    Meaning({403}, "payment_required", "not enough credit", "Top up at fal.ai/dashboard/billing.", "exhausted|top_up"),
    Meaning({403}, "unauthorized", "the account is locked", "Only fal's support can undo that.", "admin lock"),
)
"""By the vendor's word for the kind of failure; an empty balance is a 403 that gives its reason."""
_PHASES: dict[str, Literal["queued", "succeeded"]] = {"in_queue": "queued", "completed": "succeeded"}
_LINK = re.compile(r"(?:https?://[^/?#]+)?((?:/[\w~-][\w.~-]*){2,6}/requests/[\w~-][\w.~-]*)", re.ASCII)


class FalSettings(HostedSettings):
    """Variables of fal; the key's is the one that its own clients read."""

    model_config = prefixed("fal")

    key: SecretStr = Field(description="fal: API key")
    base_url: str = Field(default="https://queue.fal.run", description="fal: base URL of the queue")


class FalOptions(LoraOptions):
    """`provider_options`: the fields of the vendor's pages that have no common name."""

    enable_safety_checker: bool = Field(default=True, description="Run the safety checker (true)")
    output_format: Literal["jpeg", "png"] = Field(default="png", description="File type of the result (png)")
    sync_mode: bool = Field(default=False, description="Pictures inside the result, not in fal's history (false)")


class Answer(Wire):
    """A receipt, how a request stands, or what was drawn."""

    request_id: Text = ""
    response_url: Text = ""
    status: Text = ""
    queue_position: Count = None
    error: Text = ""
    error_type: Text = ""
    images: JsonValue = None
    has_nsfw_concepts: JsonValue = None
    seed: Whole = None


class FalProvider(QueueProvider):
    """The adapter; pictures go inline. Sides are ours: the pages only end at 14142 pixels."""

    name = "fal"
    title = "fal"
    settings = FalSettings
    options = FalOptions
    specs = MODELS
    refusals = _REFUSALS
    sentences = ("error_type", "detail", "message")
    phases = _PHASES
    keeps_jobs = "thirty days"
    capabilities = Capabilities(
        modalities=supports(MODELS, "either", _OWN) | supports(MODELS, "map", _NEAREST),
        settings=frozenset(
            {"negative_prompt", "init_image", "mask_image", "strength", "model", "steps", "guidance", "seed"}
        ),
        sizes=SizeLimits(minimum=512, maximum=1536, multiple=16),
        max_controls=6,
        picture_per_control=True,
        cancels=True,
        shortest_poll_seconds=0.5,
        models=model_infos(MODELS),
    )

    def __init__(self, settings: FalSettings) -> None:
        """Take the key and the address."""
        super().__init__(settings, {"Authorization": bearer(settings.key, "Key")})

    def adjust(self, work: Fitting, spec: ModelSpec) -> None:
        """Refuse what has no field, and say which lines are sent as others."""
        asked = [control.modality for control in work.request.controls]
        if len({spec.keeps[name] for name in asked}) < len(asked):
            told = f"fal has one field for two of {', '.join(asked)}."
            raise RequestError("unsupported", told, hint="Leave one of them out.")
        if (work.request.mask_image or work.request.mask_url) and spec is not _UNION:
            raise RequestError("unsupported", f"fal's {spec.name} takes no mask.", hint=f"Use {_UNION.name}.")
        for name in filter(_NEAREST.get, asked):
            work.warn("approximate", name, f"fal has no {name}; it goes as {spec.keeps[name]}.")

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The path says what is drawn on: the masked part of a start picture, all of it, or nothing."""
        options, spec = FalOptions.model_validate(request.options), self.spec_of(request)
        start = handed(request.init_image, request.init_url, uploaded)
        mask = handed(request.mask_image, request.mask_url, uploaded)
        body: dict[str, Body] = {
            **named_fields(request, spec),
            **options.model_dump(mode="json", exclude={"output_format"}),
            "format" if spec is _UNION else "output_format": options.output_format,
            "image_size": {"width": request.width, "height": request.height},
            "image_url": start,
            "mask_url": mask,
            "preprocess_depth": None if start or spec is _UNION else False,
        }
        for control in request.controls:
            field = spec.keeps[control.modality]
            body[f"{field}_image_url"] = handed(control.picture, control.source_url, uploaded)
            body[f"{field}_preprocess"] = not control.is_map if spec is _UNION else None
        path = f"/{spec.name}{'/inpainting' if mask else '/image-to-image' if start else ''}"
        return self.call("POST", path, present(body), submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """Keep the path of the receipt's link only: the key never follows a reply to another host."""
        answer = self.checked(reply, Answer)
        link = _LINK.fullmatch(answer.response_url)
        if not answer.request_id or not link:
            raise self.unexpected(reply)
        task = RemoteTask(remote_id=answer.request_id, state={"path": link[1]})
        return Submission(task=task, report=Report(phase="queued", queue_position=answer.queue_position))

    def _about(self, method: str, task: RemoteTask, end: str = "") -> HttpCall:
        path = task.state.get("path", f"/{_UNION.name}/requests/{part(task.remote_id)}")
        return self.call(method, f"{path}{end}", pictures=not end)

    def status_call(self, task: RemoteTask) -> HttpCall:
        """Below the receipt's path, as the vendor's own clients ask."""
        return self._about("GET", task, "/status")

    def result_call(self, task: RemoteTask) -> HttpCall:
        """The receipt's path itself."""
        return self._about("GET", task)

    def cancel_call(self, task: RemoteTask) -> HttpCall:
        """Taken out of the queue, or asked to stop once it runs."""
        return self._about("PUT", task, "/cancel")

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """A status; a failure of the platform is a completed request with an `error_type`."""
        answer = self.checked(reply, Answer)
        phase = self.phase_of(answer.status)
        if phase == "succeeded" and answer.error_type:
            return self._ended(meaning_of(_REFUSALS, (), answer.error_type) or _FAILED, answer.error)
        return Report(phase=phase, stage=quote(answer.status, 40) or None, queue_position=answer.queue_position)

    def understand_result(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """Pictures, or a refusal of the model; an error that is not about the request is asked about again."""
        if self.accepts(reply):
            answer = reply.read(Answer)
            pictures = pictures_in(answer.images, answer.has_nsfw_concepts)
            return Report(phase="succeeded", outputs=pictures, seed=answer.seed)
        said = self.said(reply)
        row = meaning_of(_REFUSALS, {422} & {reply.status}, said)
        if row is None:
            raise self.refused(reply)
        return self._ended(row, said)

    def _ended(self, row: Meaning, said: str) -> Report:
        return Report(phase="canceled" if row.code == "canceled" else "failed", fault=fault(row, self.title, said))
