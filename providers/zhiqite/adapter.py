"""The adapter of zhiqite (api.zhiqite.com): AUTOMATIC1111's request in an envelope, answered by a task.

Facts: the vendor's page `sd controlnet` and its sibling pages; conflicts are named where they are decided. The vendor
takes pictures only as links, and answers with code strings inside HTTP 200. The seventeen control families are the
page's. The vendor's table of preprocessors and models is not public; the names here are those of sd-webui-controlnet,
whose unit the page describes, and are unverified (reference: section 3.2).
"""

from typing import Literal, NamedTuple

from pydantic import AliasPath, Field, SecretStr

from controlnet_mcp.foundation.text import quote
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Uploaded, prefixed
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import Body, HttpCall, HttpReply, PictureData, Steps
from controlnet_mcp.providers.model_spec import present
from controlnet_mcp.providers.refusals import STANDARD, Meaning, fault
from controlnet_mcp.providers.types import (
    EVERY_SETTING,
    Capabilities,
    Frozen,
    ModelInfo,
    RemoteTask,
    Report,
    ResolvedRequest,
    SizeLimits,
    Submission,
    Support,
)
from controlnet_mcp.providers.vendor import HostedSettings, QueueProvider
from controlnet_mcp.providers.wire import Number, Text, Whole, Wire, pictures_in, whole

_OK = 200
_ROOT = "/AIGCImgOpenServ/saas/sd/v2"
_WITHHELD = Meaning(
    (), "moderated", "every picture was held back by its audit", "Change the prompt or the picture and try again."
)
_DONE = 2
"""A public client takes this status as done; the vendor's list of status integers is not public (unverified)."""


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
    """A task as it stands."""

    status: Whole = None
    desc: Text = ""
    progress: Number = None
    pictures: tuple[Picture, ...] | None = Field(default=None, alias="differentialImageRspList")

    @property
    def report(self) -> Report:
        """A link to a picture means done; unknown integers mean running, until the job's own deadline."""
        pictures = self.pictures or ()
        withheld = [row.img_audit_status is False for row in pictures]
        outputs = pictures_in([row.image_url for row in pictures], [*withheld])
        stage = quote(self.desc, 80) or None
        if outputs:
            seed = next((row.seed for row in pictures if row.seed), None)
            return Report(phase="succeeded", outputs=outputs, seed=seed)
        if pictures and self.status == _DONE and all(withheld):
            return Report(phase="failed", stage=stage, fault=fault(_WITHHELD, "zhiqite"))
        progress = self.progress if self.progress is not None and 0 <= self.progress <= 1 else None
        return Report(phase="running", stage=stage, progress=progress)


class TaskReply(Envelope):
    """The answer to the question how a task stands."""

    data: Task | None = None


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
        """A task, or nothing of it yet."""
        found = self.checked(reply, TaskReply).data
        return found.report if found else Report(phase="running")

    def look_up(self, reference: str) -> Steps[Submission | None]:
        """Our `id_task` is the task's id, so asking about it finds what a lost answer would have named.

        How an unknown id is answered is not documented: no data, or a code that blames the request, is taken for it.
        """
        task = RemoteTask(remote_id=reference)
        reply = yield self.status_call(task)
        try:
            found = self.checked(reply, TaskReply).data
        except ProviderError as error:
            if error.code in {"not_found", "invalid_request"}:
                return None
            raise
        return Submission(task=task, report=found.report) if found else None

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
