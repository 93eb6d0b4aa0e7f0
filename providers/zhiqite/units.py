"""The control families of zhiqite's page, and how a control becomes a unit of its `alwayson_scripts.controlnet.args`.

The seventeen families are the page's. The vendor's table of preprocessors and models is not public; the names here are
those of sd-webui-controlnet, whose unit the page describes, and are unverified (reference: section 3.2).
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from controlnet_mcp.providers.http import Body, PictureData
from controlnet_mcp.providers.types import Control, Frozen


@dataclass(frozen=True, slots=True)
class Family:
    """One family: the page's name, its usual preprocessor and its usual model."""

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


class UnitOptions(Frozen):
    """Knobs of the control units; each applies to every unit."""

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


def link_of(control: Control) -> Body:
    """The link under which the vendor fetches a control picture: its own, or a signed one of ours."""
    if control.source_url is not None or control.picture is None:
        return control.source_url
    return PictureData(control.picture, "public_url")


def unit(control: Control, options: UnitOptions) -> dict[str, Body]:
    """One unit. A ready map is not preprocessed again."""
    family = FAMILIES[control.modality]
    usual = options.modules.get(control.modality, family.module)
    fields: dict[str, Body] = {
        "image_link": link_of(control),
        "enabled": True,
        "module": "none" if control.is_map else usual,
        "model": options.models.get(control.modality, family.model),
        "weight": control.weight,
        "resize_mode": options.unit_resize_mode,
        "low_vram": options.low_vram,
        "processor_res": options.processor_res,
        "threshold_a": options.threshold_a,
        "threshold_b": options.threshold_b,
        "guidance_start": control.start,
        "guidance_end": control.end,
        "pixel_perfect": options.pixel_perfect,
        "control_mode": options.control_mode,
    }
    return {name: value for name, value in fields.items() if value is not None}
