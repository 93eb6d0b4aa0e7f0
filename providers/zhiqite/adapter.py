"""The adapter of zhiqite (api.zhiqite.com): AUTOMATIC1111's request in an envelope, answered by a task.

Facts: the vendor's page `sd controlnet` and its sibling pages; conflicts are named where they are decided. The vendor
takes pictures only as links, and answers with code strings inside HTTP 200.
"""

import re
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.base import Provider, Uploaded, prefixed
from controlnet_mcp.providers.errors import Delivery, ProviderError, quote
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.refusals import refusal as standard_refusal
from controlnet_mcp.providers.types import (
    Capabilities,
    Fault,
    ModelInfo,
    Output,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)
from controlnet_mcp.providers.vendor import HostedSettings
from controlnet_mcp.providers.zhiqite.units import FAMILIES, UnitOptions, unit

_OK = 200
_ROOT = "/AIGCImgOpenServ/saas/sd/v2"
_DONE = 2
"""A public client takes this status as done; the vendor's list of status integers is not public (unverified)."""

_CODES: dict[str, tuple[ErrorCode, str]] = {
    "400": ("invalid_request", "Change the setting it names and try again."),
    "401": ("unauthorized", "Check ZHIQITE_ACCESS_KEY_ID and ZHIQITE_ACCESS_KEY_SECRET."),
    "402": ("payment_required", "Top up the account or choose another provider."),
    "403": ("unauthorized", "The key may not use this."),
    "404": ("not_found", "Check the name of the model with list_models."),
    "429": ("rate_limited", "Wait and try again, or choose another provider."),
}
"""No list of codes is published; those that mirror HTTP statuses are read that way (unverified)."""
_SERVER_ERROR = re.compile(r"5\d\d")
"""A code of the server's own fault proves nothing about whether a task was accepted."""

CAPABILITIES = Capabilities(
    modalities={name: Support(native=family.name, takes="either") for name, family in FAMILIES.items()},
    settings=frozenset(
        {"negative_prompt", "init_image", "strength", "model", "steps", "guidance", "scheduler", "seed"}
    ),
    sizes=SizeLimits(minimum=64, maximum=2048, multiple=8, preferred=768),
    max_controls=8,
    picture_per_control=True,
    control_range=True,
    needs_public_url=True,
    deduplication="lookup",
)


class ZhiqiteOptions(UnitOptions):
    """`provider_options` of zhiqite: the page's fields that have no common name."""

    restore_faces: bool = Field(default=False, description="Repair faces")
    enable_hr: bool = Field(default=False, description="Enlarge in a second pass")
    hr_scale: int | None = Field(default=None, ge=1, le=4, description="Factor of the second pass")
    hr_second_pass_steps: int | None = Field(default=None, ge=0, le=150, description="Steps of the second pass")
    hr_resize_x: int | None = Field(default=None, ge=0, le=4096, description="Width of the second pass, in pixels")
    hr_resize_y: int | None = Field(default=None, ge=0, le=4096, description="Height of the second pass, in pixels")
    resize_mode: Literal[0, 1, 2] = Field(default=1, description="Start picture: 0 stretch, 1 crop, 2 fill")
    sd_vae: str | None = Field(default=None, description="VAE by file name")
    output_image_format: str | None = Field(default=None, description="File type of the result, such as png")
    clip_stop_at_last_layers: int | None = Field(default=None, ge=1, le=12, description="CLIP skip")
    flat: bool = Field(default=False, description="Send id_task, model and controlnet at the top level")


class _Wire(BaseModel):
    """Replies may gain fields, and codes and ids come as text or as numbers."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class _Data(_Wire):
    task_id: str


class _Submitted(_Wire):
    code: str
    msg: str = ""
    data: _Data | None = None


class _Image(_Wire):
    image_url: str | None = None
    img_audit_status: bool | None = None
    seed: int | None = None


class _Task(_Wire):
    status: int | None = None
    desc: str | None = None
    progress: float | None = None
    differentialImageRspList: tuple[_Image, ...] | None = None  # noqa: N815  # the vendor's name


class _Polled(_Wire):
    code: str
    msg: str = ""
    data: _Task | None = None


class _ModelRow(_Wire):
    sdModelCheckpoint: str  # noqa: N815  # the vendor's name
    sdModelName: str = ""  # noqa: N815  # the vendor's name
    modelBaseModel: str | None = None  # noqa: N815  # the vendor's name


class _ModelPage(_Wire):
    rows: tuple[_ModelRow, ...] = ()


class _Models(_Wire):
    code: str
    msg: str = ""
    data: _ModelPage | None = None


_ReplyT = TypeVar("_ReplyT", _Submitted, _Polled, _Models)


class ZhiqiteSettings(HostedSettings):
    """Variables of zhiqite."""

    model_config = prefixed("zhiqite")

    access_key_id: SecretStr = Field(description="zhiqite: access key id")
    access_key_secret: SecretStr = Field(description="zhiqite: access key secret")
    base_url: str = Field(default="https://api.zhiqite.com", description="zhiqite: base URL")


class ZhiqiteProvider(Provider):
    """Speaks to zhiqite."""

    name = "zhiqite"
    title = "zhiqite"
    settings = ZhiqiteSettings
    capabilities = CAPABILITIES
    options = ZhiqiteOptions

    def __init__(self, settings: ZhiqiteSettings) -> None:
        """Take the keys and the base URL."""
        self.base_url = settings.base_url.rstrip("/")
        self._headers: dict[str, str | SecretStr] = {
            "X-Request-req-accessKeyId": settings.access_key_id,
            "X-Request-req-accessKeySecret": settings.access_key_secret,
        }
        self.secrets = settings.secrets

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The page's example nests task, model and units in `alwayson_scripts`; its table lists them flat."""
        options = ZhiqiteOptions.model_validate(request.options)
        scripts = _present(
            {
                "sd_model_checkpoint": request.model,
                "id_task": reference,
                "sd_vae": options.sd_vae,
                "output_image_format": options.output_image_format,
                "image_link": _start_link(request),
                "override_settings": _overrides(options),
                "controlnet": {"args": [unit(control, options) for control in request.controls]},
            }
        )
        placed = scripts if options.flat else {"alwayson_scripts": scripts}
        return self._call(f"{_ROOT}/controlnet", {**_top_level(request, options), **placed}, submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """The answer names the task; it is the `id_task` that was sent."""
        answer = self._checked(reply, _Submitted)
        if answer.data is None:
            raise self._refused("200 and no task id", answer.msg, delivery="unknown")
        return Submission(task=RemoteTask(remote_id=answer.data.task_id), report=Report(phase="queued"))

    def poll(self, task: RemoteTask) -> Steps[Report]:
        """Only the current month can be queried."""
        reply = yield self._call(f"{_ROOT}/queryTaskInfo", {"businessTaskId": task.remote_id})
        data = self._checked(reply, _Polled).data
        return Report(phase="running") if data is None else _report(data)

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Our `id_task` is the task's id, so asking about it finds what a lost answer would have named.

        How an unknown id is answered is not documented: no data, or a code that blames the request, is taken for it.
        """
        reply = yield self._call(f"{_ROOT}/queryTaskInfo", {"businessTaskId": reference})
        try:
            data = self._checked(reply, _Polled).data
        except ProviderError as error:
            if error.code in {"not_found", "invalid_request"}:
                return None
            raise
        return None if data is None else Submission(task=RemoteTask(remote_id=reference), report=_report(data))

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The vendor's checkpoints; `model` must be the full name with its code."""
        reply = yield self._call(f"{_ROOT}/queryModelList", {"pageSize": 100, "pageNum": 1})
        page = self._checked(reply, _Models).data or _ModelPage()
        return tuple(ModelInfo(row.sdModelCheckpoint, row.modelBaseModel or "", row.sdModelName) for row in page.rows)

    def _call(self, path: str, body: dict[str, Body], *, submits: bool = False) -> HttpCall:
        return HttpCall("POST", f"{self.base_url}{path}", headers=self._headers, json=body, submits=submits)

    def _checked(self, reply: HttpReply, model: type[_ReplyT]) -> _ReplyT:
        """An answer counts only with HTTP 200 and the code string "200"."""
        if reply.status != _OK:
            raise standard_refusal(reply)
        answer = reply.read(model)
        if answer.code != "200":
            raise self._refused(answer.code, answer.msg)
        return answer

    def _refused(self, code: str, said: str, delivery: Delivery = "refused") -> ProviderError:
        meaning, hint = _CODES.get(code, ("provider_failed", "Change the request, or try again later."))
        broken = _SERVER_ERROR.fullmatch(code) is not None
        return ProviderError(
            meaning,
            f"zhiqite answered with code {quote(code, 20)}.",
            provider=self.name,
            hint=hint,
            retryable=broken or meaning == "rate_limited",
            delivery="unknown" if broken else delivery,
            provider_message=said,
        )


def _present(fields: dict[str, Body]) -> dict[str, Body]:
    return {name: value for name, value in fields.items() if value is not None}


def _start_link(request: ResolvedRequest) -> Body:
    if request.init_url is not None or request.init_image is None:
        return request.init_url
    return PictureData(request.init_image, "public_url")


def _overrides(options: ZhiqiteOptions) -> Body:
    layers = options.clip_stop_at_last_layers
    return None if layers is None else {"CLIP_stop_at_last_layers": layers}


def _top_level(request: ResolvedRequest, options: ZhiqiteOptions) -> dict[str, Body]:
    """The seed is an integer in the page's table and text in its example: the example is what was sent."""
    return _present(
        {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "n_iter": request.num_images,
            "batch_size": 1,
            "steps": request.steps,
            "seed": str(request.seed),
            "width": request.width,
            "height": request.height,
            "cfg_scale": request.guidance,
            "sampler_index": request.scheduler,
            "denoising_strength": request.strength,
            "resize_mode": options.resize_mode,
            "restore_faces": options.restore_faces,
            "enable_hr": options.enable_hr,
            "hr_scale": options.hr_scale,
            "hr_second_pass_steps": options.hr_second_pass_steps,
            "hr_resize_x": options.hr_resize_x,
            "hr_resize_y": options.hr_resize_y,
        }
    )


def _report(data: _Task) -> Report:
    """A link to a picture means done; unknown integers mean running, until the job's own deadline."""
    images = data.differentialImageRspList or ()
    outputs = tuple(
        Output(url=image.image_url, flagged=image.img_audit_status is False) for image in images if image.image_url
    )
    stage = quote(data.desc or "", 80) or None
    if outputs:
        return Report(phase="succeeded", outputs=outputs, seed=next((row.seed for row in images if row.seed), None))
    if images and data.status == _DONE and all(image.img_audit_status is False for image in images):
        fault = Fault(
            code="moderated",
            message="zhiqite's audit held back every picture.",
            hint="Change the prompt or the picture and try again.",
        )
        return Report(phase="failed", stage=stage, fault=fault)
    progress = data.progress if data.progress is not None and 0 <= data.progress <= 1 else None
    return Report(phase="running", stage=stage, progress=progress)
