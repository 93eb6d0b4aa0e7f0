"""The ControlNet models of Segmind: which structure each one keeps, its fields, their ranges, its own options.

Sources: the vendor's page of `sd3-med-pose` and the public pages segmind.com/models/<slug>/api of the others. A range
that no stored copy shows is taken from the nearest sibling and marked (inferred).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import Field

from controlnet_mcp.providers.http import Leaf
from controlnet_mcp.providers.model_spec import FIELDS, ModelSpec, Range
from controlnet_mcp.providers.types import Frozen
from controlnet_mcp.providers.vendor import Fraction

SCHEDULERS = (
    *("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler", "Heun"),
    *("DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM", "DDPM", "UniPC"),
)
"""The list of the SD 1.5, SDXL and SSD models; the SD3 and Flux models publish no list, so theirs is free text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmindModel(ModelSpec):
    """A model of Segmind.

    Attributes:
        picture: Name of the field with the control picture.
        inline: Whether the picture may be base64 in the request; otherwise only a link is documented.
        selector: Name of the field that chooses the structure, where one model has several.
        base64: Whether the answer can be asked for as base64; its default differs between pages, so it is always sent.
        constants: What is always sent, because the page marks it as required or contradicts itself.
        asynchronous: Whether it answers under v2; no public page says of one that it does not.
    """

    picture: str = "image"
    inline: bool = True
    selector: str | None = None
    base64: bool = True
    constants: Mapping[str, Leaf] = field(default_factory=dict[str, Leaf])
    asynchronous: bool = True
    sized: bool = False


_FIELDS = {**FIELDS, "negative_prompt": "negative_prompt", "scheduler": "scheduler", "num_images": "samples"}
_STEPS, _GUIDANCE = Range(20, 100), Range(1, 25)
_WEIGHTED = frozenset({"control_strength"})
SD3 = SegmindModel(
    family="sd3",
    fields={**_FIELDS, "weight": "strength"},
    ranges={"steps": Range(1, 100), "guidance": Range(1, 20), "weight": Range(0, 1, 0.8)},
    options=_WEIGHTED | {"sampler"},
)
_SD15 = SegmindModel(
    family="sd1.5",
    fields={**_FIELDS, "weight": "strength"},
    ranges={"steps": _STEPS, "guidance": Range(0.1, 25), "weight": Range(0.1, 1, 1)},
    schedulers=SCHEDULERS,
    options=_WEIGHTED,
)
_SDXL = SegmindModel(
    family="sdxl",
    fields={**_FIELDS, "weight": "controlnet_scale"},
    ranges={"steps": _STEPS, "guidance": _GUIDANCE, "weight": Range(0, 1, 0.9)},  # steps: inferred from sdxl-openpose
    selector="cn_model",
    schedulers=SCHEDULERS,
    options=_WEIGHTED,
)
_SDXL_POSE = replace(
    _SDXL,
    # The weight: the page's sample; its table says 7.5, outside its own range.
    ranges={"steps": _STEPS, "guidance": _GUIDANCE, "weight": Range(0, 1, 0.5)},
    selector=None,
)
_FLUX = SegmindModel(
    family="flux",
    fields={
        **{name: name for name in ("prompt", "scheduler", "seed", "steps", "guidance")},
        "num_images": "samples",
        "weight": "cn_strength",
        "width": "custom_width",
        "height": "custom_height",
    },
    ranges={"steps": Range(1, 100), "guidance": Range(0, 100), "weight": Range(0, 1, 0.4)},  # all inferred
    selector="cn_type",
    sized=True,
    options=_WEIGHTED | {"sampler", "cn_stop", "image_format", "quality", "use_input_img_dimension"},
    constants={
        "sampler": "euler",
        "scheduler": "simple",
        "steps": 20,
        "guidance": 3.5,
        "cn_stop": 0.5,
        "image_format": "jpeg",
        "quality": 95,
        "use_input_img_dimension": False,
    },
)
_FLUX_DEV = SegmindModel(
    family="flux",
    fields={**FIELDS, "guidance": "guidance", "num_images": "num_outputs"},
    ranges={"steps": Range(1, 50), "guidance": Range(0, 100)},
    weighted=False,
    picture="control_image",
    inline=False,
    base64=False,
    options=frozenset({"megapixels", "output_format", "output_quality", "disable_safety_checker"}),
)
_FLUX_PRO = replace(
    _FLUX_DEV,
    fields={name: name for name in ("prompt", "seed", "guidance", "steps")},
    ranges={"steps": Range(15, 50), "guidance": Range(1, 50)},
    options=frozenset({"output_format", "safety_tolerance", "prompt_upsampling"}),
)
_SDXL_KINDS = {name: f"sdxl_{name}" for name in ("canny", "depth", "scribble", "softedge")} | {
    "sketch": "sdxl_scribble",
    "pose": "sdxl_openpose",
}
_POSE, _CANNY, _DEPTH, _TILE = ({name: name} for name in ("pose", "canny", "depth", "tile"))

MODELS: tuple[SegmindModel, ...] = (
    replace(SD3, name="sd3-med-pose", keeps=_POSE),
    replace(SD3, name="sd3-med-canny", keeps=_CANNY),
    replace(SD3, name="sd3-med-tile", keeps=_TILE),
    replace(_SD15, name="sd1.5-controlnet-canny", keeps=_CANNY),
    replace(_SD15, name="sd1.5-controlnet-depth", keeps=_DEPTH),
    replace(_SD15, name="sd1.5-controlnet-openpose", keeps=_POSE),
    replace(_SD15, name="sd1.5-controlnet-scribble", keeps={"scribble": "scribble", "sketch": "scribble"}),
    replace(_SD15, name="sd1.5-controlnet-softedge", keeps={"softedge": "softedge"}),
    replace(_SDXL, name="sdxl-controlnet", keeps=_SDXL_KINDS),
    replace(_SDXL_POSE, name="sdxl-openpose", keeps=_POSE),
    replace(_SDXL_POSE, name="ssd-canny", family="ssd-1b", keeps=_CANNY),
    replace(_SDXL_POSE, name="ssd-depth", family="ssd-1b", keeps=_DEPTH),  # its page is not stored: as ssd-canny
    replace(_FLUX, name="flux-controlnet", keeps=_CANNY | _DEPTH | _POSE | _TILE),  # tile: a public client's list
    replace(_FLUX_DEV, name="flux-canny-dev", keeps=_CANNY),
    replace(_FLUX_DEV, name="flux-depth-dev", keeps=_DEPTH),
    replace(_FLUX_PRO, name="flux-canny-pro", keeps=_CANNY),
    replace(_FLUX_PRO, name="flux-depth-pro", keeps=_DEPTH),
)
"""The first model that keeps a structure is taken when none is named."""


class SegmindOptions(Frozen):
    """The vendor's own knobs; each is sent only to the models that have it, and left out with a warning elsewhere."""

    api_version: Literal["v1", "v2"] | None = Field(
        default=None, description="v2 is a job, v1 one blocking call; default: SEGMIND_API_VERSION (v2)"
    )
    control_strength: Fraction | None = Field(
        default=None,
        description="Exact strength, controlnet_scale or cn_strength, 0 to 1; default: the weight of the modality, "
        "where 1 means the model's usual value (SD3 0.8, SD 1.5 1, SDXL 0.9, SDXL pose and SSD 0.5, Flux 0.4)",
    )
    base64: bool | None = Field(
        default=None, description="Answer as base64 in JSON; default: only for several pictures through v1"
    )
    sampler: str | None = Field(
        default=None, min_length=1, max_length=60, description="SD3 (dpmpp_2m by default) and flux-controlnet (euler)"
    )
    cn_stop: Fraction | None = Field(
        default=None,
        description="flux-controlnet: fraction of the steps that the control acts on, 0 to 1 (0.5)",
    )
    use_input_img_dimension: bool | None = Field(
        default=None, description="flux-controlnet: size of the control picture instead of width and height (false)"
    )
    image_format: Literal["jpeg", "png", "webp"] | None = Field(
        default=None, description="flux-controlnet: file type of the result (jpeg)"
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="flux-controlnet: quality of the file, 1 to 100 (95)"
    )
    megapixels: Literal["0.25", "1", "match_input"] | None = Field(
        default=None,
        description="flux-canny-dev and flux-depth-dev: size of the result in megapixels, at most 1440x1440 (1)",
    )
    output_format: Literal["jpg", "png", "webp"] | None = Field(
        default=None, description="Flux dev and pro: file type of the result (jpg)"
    )
    output_quality: int | None = Field(
        default=None, ge=0, le=100, description="Flux dev: quality of the file, 0 to 100 (80)"
    )
    disable_safety_checker: bool | None = Field(default=None, description="Flux dev: no safety filter (false)")
    safety_tolerance: int | None = Field(default=None, ge=1, le=6, description="Flux pro: 1 strict to 6 permissive (2)")
    prompt_upsampling: bool | None = Field(
        default=None, description="Flux pro: let Segmind embroider the prompt (false)"
    )


GATEWAY_OPTIONS = frozenset({"api_version", "control_strength", "base64"})
"""Options that are ours to act on; all others go to the model under their own names."""
