"""The adapter of zhiqite (api.zhiqite.com): AUTOMATIC1111's request in an envelope, answered by a task.

Facts: the vendor's page `sd controlnet` and its sibling pages; conflicts are named where they are decided. The vendor
takes pictures only as links, and answers with code strings inside HTTP 200. The seventeen control families are the
page's. The vendor's table of preprocessors and models is not public; the names here are those of sd-webui-controlnet,
whose unit the page describes, and are unverified (reference: section 3.2).
"""

import re
from typing import Literal, NamedTuple

from pydantic import AliasChoices, AliasPath, Field, JsonValue, SecretStr

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import present
from controlnet_mcp.providers.refusals import CHANGE, LATER, MODERATION, STANDARD, Meaning, fault, meaning_of
from controlnet_mcp.providers.types import (
    EVERY_SETTING,
    Capabilities,
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
from controlnet_mcp.providers.vendor import HostedSettings, QueueProvider
from controlnet_mcp.providers.wire import Text, Whole, Wire, number, pictures_in, whole

_OK = 200
_ROOT = "/AIGCImgOpenServ/saas/sd/v2"
_WITHHELD = Meaning(
    (), "moderated", "every picture was held back by its audit", "Change the prompt or the picture and try again."
)
_DONE = 2
"""A public client takes this status as done; the vendor's list of status integers is not public (unverified)."""
_SAYS_DONE = re.compile(
    r"(任务|生成|绘制|绘图)?(已|已经)?(完成|成功)|finished|done|success(ful)?|completed?|100 ?%", re.IGNORECASE
)
_FAILS = r"失败|错误|异常|出错|报错|拒绝|驳回|(?<![a-z])(fail|error|reject|refus|exception|denied|crash)"
_NO_FAULT = re.compile(
    r"重试中|正在重试|自动重试|重新(排队|生成|提交)|retrying|will retry|re-?queued"
    r"|(无|没有|未)(任何)?(失败|错误|异常)|\b(no|without|0) (errors?|fail\w*)"
    rf"|({_FAILS})\w*\W*[:\uff1a=]\W*(0|none|null|false|无)\b",
    re.IGNORECASE,
)
"""Phrases that name a fault and tell of none, or of one that is overcome."""
_CHANGE = "Change the prompt or the picture and try again."
_ENDINGS = (
    Meaning(
        (),
        "moderated",
        "refused by its audit",
        _CHANGE,
        words=rf"{MODERATION}|审核.{{0,4}}(不|未|没|失败|拒|驳)|(不|未|没)(能|有)?(通过|过审)|违规|违禁|敏感|色情|涉黄|不合规"
        r"|(audit|review).{0,20}(reject|refus|fail|not pass|den)|(reject|refus|fail|den).{0,20}(audit|review)",
    ),
    Meaning(
        (),
        "payment_required",
        "not enough credit",
        "Top up the zhiqite account.",
        words="余额|欠费|(积分|点数).{0,3}不足",
    ),
    Meaning(
        (),
        "invalid_request",
        "a setting was not accepted",
        CHANGE,
        words=r"参数.{0,8}(错|误|异常|不|无效|缺|非法|超)|(无效|非法|错误|缺少).{0,3}参数|(?<![a-z])(invalid|illegal)"
        r"|param\w*.{0,20}(error|wrong|missing)|(error|wrong|missing|bad).{0,10}(param|argument|request)",
    ),
    Meaning((), "timed_out", "the time ran out", LATER, words=r"超时|time(d)?[ -]?out", retryable=True),
    Meaning(
        (),
        "canceled",
        "the task was stopped",
        "Submit it again if it is still wanted.",
        words="取消|终止|中止|cancel|abort",
    ),
    Meaning((), "provider_failed", "the task failed", LATER, words=_FAILS, retryable=True),
)
"""Words of a task that has ended without a picture: the vendor's list of them is not public (unverified)."""
_UNKNOWN = Meaning(
    (),
    "not_found",
    "the task is not known",
    "zhiqite can be asked about tasks of the current month only; its own pages may show older ones.",
    words=r"不存在|未找到|找不到|查无|无此|没有.{0,4}任务|not (be )?(found|exist)|n.t exist|no such|unknown (task|id)",
)
_ABOUT_THE_KEY = frozenset({"unauthorized", "payment_required", "rate_limited"})
_ABOUT_THE_QUESTION = frozenset({"payment_required", "timed_out"})
_PASSING = re.compile(r"系统|服务|网络|繁忙|稍后|查询|system|serv(er|ice)|network|busy|later|internal", re.IGNORECASE)
"""Words of a fault of the service, not of a task."""
_BROKEN = range(500, 600)


def ending_of(said: str) -> Meaning | None:
    """The meaning of a task's words, if they say that it has failed."""
    return None if _NO_FAULT.search(said) else meaning_of(_ENDINGS, (), said)


class Family(NamedTuple):
    """One control family: the page's name, its usual preprocessor and its usual model."""

    name: str
    module: str
    model: str


FAMILIES: dict[str, Family] = {
    "canny": Family("canny", "canny", "control_v11p_sd15_canny"),
    "depth": Family("depth", "depth_midas", "control_v11f1p_sd15_depth"),
    "inpaint": Family("inpaint", "inpaint_global_harmonious", "control_v11p_sd15_inpaint"),
    "lineart": Family("lineart", "lineart_standard", "control_v11p_sd15_lineart"),
    "mlsd": Family("MLSD", "mlsd", "control_v11p_sd15_mlsd"),
    "normal": Family("NormalMap", "normal_bae", "control_v11p_sd15_normalbae"),
    "pose": Family("OpenPose", "openpose_full", "control_v11p_sd15_openpose"),
    "reference": Family("Reference", "reference_only", "None"),
    "scribble": Family("Scribble", "scribble_pidinet", "control_v11p_sd15_scribble"),
    "seg": Family("Segmentation", "seg_ofade20k", "control_v11p_sd15_seg"),
    "shuffle": Family("Shuffle", "shuffle", "control_v11e_sd15_shuffle"),
    "softedge": Family("SoftEdge", "softedge_pidinet", "control_v11p_sd15_softedge"),
    "t2i-adapter": Family("T2I-Adapter", "t2ia_color_grid", "t2iadapter_color_sd14v1"),
    "tile": Family("Tile", "tile_resample", "control_v11f1e_sd15_tile"),
    "gray": Family("Recolor", "recolor_luminance", "ioclab_sd15_recolor"),
    "ip-adapter": Family("IP-Adapter", "ip-adapter_clip_sd15", "ip-adapter_sd15"),
    "instant-id": Family("Instant-ID", "instant_id_face_embedding", "ip_adapter_instant_id_sdxl"),
}
"""Canonical modality to family."""


class ZhiqiteSettings(HostedSettings):
    """Variables of zhiqite."""

    model_config = prefixed("zhiqite")

    access_key_id: SecretStr = Field(description="zhiqite: access key id")
    access_key_secret: SecretStr = Field(description="zhiqite: access key secret")
    base_url: str = Field(default="https://api.zhiqite.com", description="zhiqite: base URL")


class ZhiqiteOptions(Frozen):
    """`provider_options` of zhiqite: the page's fields that have no common name; those of units apply to every unit."""

    modules: dict[str, str] = Field(default={}, description="Preprocessor by modality, instead of the usual one")
    models: dict[str, str] = Field(default={}, description="ControlNet model by modality, instead of the usual one")
    unit_resize_mode: Literal["Just Resize", "Crop and Resize", "Resize and Fill"] = Field(
        default="Crop and Resize", description="How a control picture is fitted to the frame"
    )
    low_vram: bool = Field(default=False, description="Run the control with little memory")
    processor_res: int | None = Field(
        default=None, ge=64, le=2048, description="Short side for the preprocessor, in pixels"
    )
    threshold_a: float | None = Field(default=None, description="First threshold of the preprocessor")
    threshold_b: float | None = Field(default=None, description="Second threshold of the preprocessor")
    pixel_perfect: bool = Field(default=True, description="Preprocess at the size of the result")
    control_mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = Field(
        default="Balanced", description="What wins when prompt and control disagree"
    )
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


_OF_UNITS = {"low_vram", "processor_res", "threshold_a", "threshold_b", "pixel_perfect", "control_mode"}
_OF_SCRIPTS = {"sd_vae", "output_image_format"}
_OURS = {"modules", "models", "unit_resize_mode", "clip_stop_at_last_layers", "flat"}
"""Options that go into every unit, into the scripts, or that are ours to act on; all others go into the body."""


class Envelope(Wire):
    """The envelope of every answer; codes come as text or as numbers."""

    code: str


class Receipt(Envelope):
    """The answer to a submission: the task that was made."""

    task_id: Text = Field(default="", validation_alias=AliasPath("data", "task_id"))


class Picture(Wire):
    """One finished picture, and whether it passed the audit."""

    image_url: Text = ""
    img_audit_status: bool | None = None
    seed: Whole = None


class Task(Wire):
    """A task as it stands; the status is an integer, or a word."""

    status: JsonValue = None
    desc: Text = ""
    why: Text = Field(default="", validation_alias=AliasChoices("errorMsg", "errMsg", "failReason", "reason", "error"))
    progress: JsonValue = None
    pictures: tuple[Picture, ...] | None = Field(default=None, alias="differentialImageRspList")

    @property
    def is_told(self) -> bool:
        """True where there is anything in it."""
        told = (self.status, self.progress, self.pictures)
        return bool(self.desc or self.why) or any(value not in (None, "", ()) for value in told)

    @property
    def fraction(self) -> float | None:
        """The progress, 0 to 1: the page shows no value, so that larger ones are taken for per cent (unverified)."""
        text = str(self.progress)
        told = number(text.rstrip("% "))
        told = None if told is None else told / 100 if told > 1 or "%" in text else told
        return told if told is not None and 0 <= told <= 1 else None

    def report(self, envelope_said: str = "") -> Report:
        """A link to a picture means done; unknown integers and words mean running, until the job's own deadline."""
        pictures = self.pictures or ()
        withheld = [row.img_audit_status is False for row in pictures]
        outputs = pictures_in([row.image_url for row in pictures], [*withheld])
        stage = quote(self.desc, 80) or None
        if outputs:
            seed = next((row.seed for row in pictures if row.seed), None)
            return Report(phase="succeeded", outputs=outputs, seed=seed)
        done = whole(self.status) == _DONE
        if pictures and done and all(withheld):
            return Report(phase="failed", stage=stage, fault=fault(_WITHHELD, "zhiqite"))
        word = self.status if isinstance(self.status, str) and number(self.status) is None else ""
        said = " ".join(filter(None, (self.desc, self.why, word, envelope_said)))
        row = ending_of(said)
        if row is not None:
            phase: Phase = "canceled" if row.code == "canceled" else "failed"
            return Report(phase=phase, stage=stage, fault=fault(row, "zhiqite", said))
        if done or self.fraction == 1 or any(map(_SAYS_DONE.fullmatch, (self.desc, word))):
            return Report(phase="succeeded", stage=stage)
        return Report(phase="running", stage=stage, progress=self.fraction)


class TaskReply(Envelope):
    """The answer to the question how a task stands."""

    data: Task | None = None
    msg: Text = ""


class ModelRow(Wire):
    """One checkpoint."""

    checkpoint: str = Field(alias="sdModelCheckpoint")
    title: Text = Field(default="", alias="sdModelName")
    family: Text = Field(default="", alias="modelBaseModel")


class ModelPage(Envelope):
    """One page of the list of checkpoints."""

    rows: tuple[ModelRow, ...] = Field(default=(), validation_alias=AliasPath("data", "rows"))


class ZhiqiteProvider(QueueProvider):
    """The adapter."""

    name = "zhiqite"
    title = "zhiqite"
    settings = ZhiqiteSettings
    options = ZhiqiteOptions
    refusals = (
        Meaning(
            {401},
            "unauthorized",
            "the keys were refused",
            "Check ZHIQITE_ACCESS_KEY_ID and ZHIQITE_ACCESS_KEY_SECRET.",
        ),
    )
    capabilities = Capabilities(
        modalities={name: Support(native=family.name) for name, family in FAMILIES.items()},
        settings=EVERY_SETTING - {"mask_image"},
        sizes=SizeLimits(preferred=768),
        max_controls=8,
        picture_per_control=True,
        control_range=True,
        needs_public_url=True,
        deduplication="lookup",
    )

    def __init__(self, settings: ZhiqiteSettings) -> None:
        """Take the keys and the base URL."""
        keys = {
            "X-Request-req-accessKeyId": settings.access_key_id,
            "X-Request-req-accessKeySecret": settings.access_key_secret,
        }
        super().__init__(settings, keys)

    def build(self, request: ResolvedRequest, reference: str, uploaded: Uploaded) -> HttpCall:  # noqa: ARG002  # none
        """The page's example nests task, model and units in `alwayson_scripts`; its table lists them flat.

        The seed is an integer in the page's table and text in its example: the example is what was sent. A ready map is
        not preprocessed again.
        """
        options = ZhiqiteOptions.model_validate(request.options)
        layers = options.clip_stop_at_last_layers
        units: list[Body] = []
        for control in request.controls:
            family, name = FAMILIES[control.modality], control.modality
            unit: dict[str, Body] = {
                "image_link": _link(control.picture, control.source_url),
                "enabled": True,
                "module": "none" if control.is_map else options.modules.get(name, family.module),
                "model": options.models.get(name, family.model),
                "weight": control.weight,
                "resize_mode": options.unit_resize_mode,
                "guidance_start": control.start,
                "guidance_end": control.end,
                **options.model_dump(include=_OF_UNITS),
            }
            units.append(present(unit))
        scripts: dict[str, Body] = {
            "sd_model_checkpoint": request.model,
            "id_task": reference,
            **options.model_dump(include=_OF_SCRIPTS),
            "image_link": _link(request.init_image, request.init_url),
            "override_settings": None if layers is None else {"CLIP_stop_at_last_layers": layers},
            "controlnet": {"args": units},
        }
        body: dict[str, Body] = {
            **request.model_dump(include={"prompt", "negative_prompt", "steps", "width", "height"}),
            "n_iter": request.num_images,
            "batch_size": 1,
            "seed": str(request.seed),
            "cfg_scale": request.guidance,
            "sampler_index": request.scheduler,
            "denoising_strength": request.strength,
            **options.model_dump(exclude=_OF_UNITS | _OF_SCRIPTS | _OURS),
            **(scripts if options.flat else {"alwayson_scripts": present(scripts)}),
        }
        return self.call("POST", f"{_ROOT}/controlnet", present(body), submits=True)

    def read(self, reply: HttpReply) -> Submission:
        """The answer names the task; it is the `id_task` that was sent."""
        receipt = self.checked(reply, Receipt)
        if not receipt.task_id:
            raise self.unexpected(reply)
        return Submission(task=RemoteTask(remote_id=receipt.task_id), report=Report(phase="queued"))

    def status_call(self, task: RemoteTask) -> HttpCall:
        """Only the current month can be queried."""
        return self.call("POST", f"{_ROOT}/queryTaskInfo", {"businessTaskId": task.remote_id})

    def understand(self, reply: HttpReply, task: RemoteTask) -> Report:  # noqa: ARG002  # the reply says all
        """A task, or nothing of it yet.

        Raises:
            ProviderError: The question failed; it is lasting where the words blame the task.
        """
        if self.accepts(reply):
            answer = reply.read(TaskReply)
            return (answer.data or Task()).report("" if _SAYS_DONE.fullmatch(answer.msg) else answer.msg)
        said = self.said(reply)
        row = meaning_of((_UNKNOWN, *_ENDINGS), (), said) if reply.status == _OK else None
        if row is None or row.code in _ABOUT_THE_QUESTION or (row.code == "provider_failed" and _PASSING.search(said)):
            raise self.refused(reply)
        told = f"zhiqite: {row.what}."
        raise ProviderError(row.code, told, provider=self.name, hint=row.hint, lasting=True, provider_message=said)

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Our `id_task` is the task's id, so asking about it finds what a lost answer would have named.

        How an unknown id is answered is not documented: no data, or a code that is neither about the keys nor about a
        fault of the service, is taken for it.
        """
        task = RemoteTask(remote_id=reference)
        reply = yield self.status_call(task)
        if self.accepts(reply):
            found = reply.read(TaskReply).data
            return Submission(task=task, report=found.report().believed) if found and found.is_told else None
        error, unknown = self.refused(reply), meaning_of((_UNKNOWN,), (), self.said(reply)) is not None
        answered = reply.status == _OK and (unknown or whole(reply.read(Envelope).code) not in _BROKEN)
        if error.code == "not_found" or (answered and error.code not in _ABOUT_THE_KEY):
            return None
        raise error

    def models(self) -> Steps[tuple[ModelInfo, ...]]:
        """The vendor's checkpoints; `model` must be the full name with its code."""
        call = self.call("POST", f"{_ROOT}/queryModelList", {"pageSize": 100, "pageNum": 1})
        page = yield from self.ask(call, ModelPage)
        return tuple(ModelInfo(row.checkpoint, row.family, row.title) for row in page.rows)

    def accepts(self, reply: HttpReply) -> bool:
        """An answer counts only with HTTP 200 and the code string "200"."""
        return reply.status == _OK and reply.read(Envelope).code == "200"

    def refused(self, reply: HttpReply) -> ProviderError:
        """The error of an answer that does not count.

        No list of codes is published; those that mirror HTTP statuses are read that way (unverified), and any other
        is a refusal.
        """
        if reply.status != _OK:
            return super().refused(reply)
        code = reply.read(Envelope).code
        other = Meaning(
            (), "provider_failed", f"the answer was code {quote(code, 20)}", "Change the request, or try again later."
        )
        return self.explained(reply, (*self.refusals, *STANDARD, other), (whole(code),))


def _link(picture: StoredPicture | None, url: str | None) -> Body:
    """The link under which the vendor fetches a picture: its own, or a signed one of ours."""
    return url if url is not None or picture is None else PictureData(picture, "public_url")
