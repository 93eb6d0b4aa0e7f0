"""The models of ModelsLab as data, its schedulers, and the knobs that have no common name.

Sources: the vendor's page (fifteen control types, seventeen schedulers), its later pages `controlnet-ep` and
`controlnet-main` (the other types, and which family has which), and its page on AUTOMATIC1111's sampler names.
"""

import difflib
from dataclasses import replace
from typing import Literal

from pydantic import Field, JsonValue

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.model_spec import FIELDS, ModelSpec, Range
from controlnet_mcp.providers.types import Frozen, ModelInfo
from controlnet_mcp.providers.vendor import Fraction

DEFAULT_MODEL = "midjourney"
"""The model of the page's example; `model_id` is required."""
FLUX_MODEL = "fluxdev"
DEFAULT_SCHEDULER = "UniPCMultistepScheduler"
UNDISPUTED_STEPS = frozenset({21, 30, 31})
"""The page says 1 to 50, later pages only 21 or 31, and their examples 30."""

_STABLE_DIFFUSION = ModelSpec(
    name=DEFAULT_MODEL,
    family="sd15",
    keeps={
        **{name: name for name in ("canny", "depth", "softedge", "mlsd", "normal")},
        "pose": "openpose",
        "scribble": "scribble",
        "seg": "segmentation",
        "aesthetic": "aesthetic-controlnet",
        **{name: name for name in ("inpaint", "lineart", "shuffle", "tile")},
        "face": "face_detector",
        "illusion": "qrcode",
        "blur": "blur",
    },
    fields={
        **FIELDS,
        **{name: name for name in ("negative_prompt", "width", "height", "scheduler", "strength")},
        "num_images": "samples",
        "weight": "controlnet_conditioning_scale",
    },
    ranges={
        # 31 steps are allowed by every source (S: 1 to 50; E and V5: 21 or 31).
        "steps": Range(1, 50, default=31),
        "guidance": Range(1.0, 20.0, default=7.5),
        # The sources disagree: 0.1 to 5 (community schema), 0.1 to 2 (community text), 1 to 20 (enterprise page, the
        # numbers of its guidance scale), 0.5 and 0.7 in its examples. This range is in all but one.
        "weight": Range(0.1, 2.0),
    },
    max_controls=3,  # as many as the documented example has
)
MODELS: tuple[ModelSpec, ...] = (
    _STABLE_DIFFUSION,
    replace(_STABLE_DIFFUSION, name="realistic-vision-51"),
    replace(_STABLE_DIFFUSION, name="boziorealvisxlv4", family="sdxl"),
    replace(
        _STABLE_DIFFUSION,
        name=FLUX_MODEL,
        family="flux",
        keeps={name: name for name in ("canny", "tile", "depth", "blur", "pose", "gray")}
        | {"low-quality": "low_quality"},
        max_controls=1,
    ),
)
"""The documented ones; any other name is one of the account's own."""
_SUMMARIES = (
    "the example of the ControlNet page",
    "photos",
    "photos",
    "one control: canny, tile, depth, blur, pose, gray or low-quality",
)
INFOS = tuple(ModelInfo(spec.name, spec.family, summary) for spec, summary in zip(MODELS, _SUMMARIES, strict=True))
TAKEN_AS_PICTURES = ("aesthetic", "inpaint", "shuffle", "tile", "illusion", "blur", "gray", "low-quality")
"""Control types that are made from a plain picture only."""
ENTERPRISE_ONLY = frozenset({"aesthetic"})
"""In the page's list, but not in the schema of the community endpoint."""
FLUX_BY_DEFAULT = frozenset({"blur", "gray", "low-quality"})
"""Types that are in the list of Flux, and in no list of the ControlNet 1.1 models that the others use."""

_SCHEDULERS = (
    *("DDPM", "DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep"),
    *("HeunDiscrete", "KDPM2Discrete", "DPMSolverSinglestep", "KDPM2AncestralDiscrete", "UniPCMultistep"),
    *("DDIMInverse", "DEISMultistep", "IPNDM", "KarrasVe", "ScoreSdeVe", "LCM"),
)
SCHEDULERS = tuple(f"{name}Scheduler" for name in _SCHEDULERS)
"""The page's seventeen, in its order, and LCM from the vendor's later pages."""
_SAMPLERS = {
    "dpm++ 2m": "DPMSolverMultistepScheduler",
    "dpm++ 2m sde": "DPMSolverMultistepScheduler",
    "dpm++ sde": "DPMSolverSinglestepScheduler",
    "dpm2": "KDPM2DiscreteScheduler",
    "dpm2 a": "KDPM2AncestralDiscreteScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
}
"""AUTOMATIC1111's sampler names, without ` Karras`."""


def scheduler_named(name: str) -> tuple[str, dict[str, JsonValue]]:
    """Find a scheduler by the vendor's name, with or without its suffix, or by AUTOMATIC1111's sampler name.

    Returns:
        The vendor's name, and the options that a sampler's name stands for beside it.

    Raises:
        RequestError: `invalid_request` for any other name; the nearest ones are in the hint.
    """
    own = {scheduler.lower(): f"{scheduler}Scheduler" for scheduler in _SCHEDULERS}
    key = " ".join(name.lower().split())
    found = own.get(key.replace(" ", "").removesuffix("scheduler"))
    if found is not None:
        return found, {}
    sampler = key.removesuffix(" karras")
    if sampler in _SAMPLERS:
        algorithm = "dpmsolver+++" if sampler == "dpm++ 2m sde" else "none"
        return _SAMPLERS[sampler], {"use_karras_sigmas": sampler != key, "algorithm_type": algorithm}
    near = difflib.get_close_matches(key, [*own, *_SAMPLERS], n=3, cutoff=0.4)
    nearest = f"Nearest: {', '.join(own.get(row, row) for row in near)}. " if near else ""
    raise RequestError(
        "invalid_request",
        f"ModelsLab has no scheduler called {name[:40]!r}.",
        hint=f"{nearest}Known: {', '.join(SCHEDULERS)}.",
    )


class ModelsLabOptions(Frozen):
    """`provider_options` of ModelsLab: the fields of its pages that have no common name."""

    controlnet_model: str | None = Field(
        default=None,
        description="ControlNet models by the vendor's names instead of the modality's, comma list in order: hed, or "
        "one of your own (default: from modality)",
    )
    controlnet_type: str | None = Field(default=None, description="Control type (default: the first modality's)")
    guess_mode: bool = Field(default=False, description="Guess the content from the picture (default false)")
    safety_checker: bool = Field(default=True, description="Replace NSFW results by a blank one (default true)")
    enhance_prompt: bool = Field(default=True, description="Let the vendor extend the prompt (default true)")
    multi_lingual: bool = Field(default=True, description="Prompts in other languages than English (default true)")
    tomesd: bool = Field(default=True, description="Token merging: faster (default true)")
    use_karras_sigmas: bool = Field(default=True, description="Karras noise levels (default true)")
    algorithm_type: Literal["none", "dpmsolver+++"] = Field(
        default="none", description="For DPMSolverMultistepScheduler (default none)"
    )
    vae: str | None = Field(default=None, description="VAE by name (default: the model's)")
    lora_model: str | None = Field(default=None, description="LoRA models, comma list (default none)")
    lora_strength: str | None = Field(default=None, description="Strength of each LoRA, 0.1 to 1, comma list")
    embeddings_model: str | None = Field(default=None, description="Embeddings, comma list (default none)")
    clip_skip: int | None = Field(default=None, ge=1, le=8, description="CLIP layers to skip, 1 to 8")
    upscale: bool = Field(default=False, description="Result of twice the width and height (default false)")
    base64: bool = Field(default=False, description="Pictures inside request and reply, no links (default false)")
    temp: bool = Field(default=False, description="Result link that lives 24 hours (default false)")
    webhook: str | None = Field(default=None, pattern="^https://", description="Link that is called at the end")
    ip_adapter_id: Literal["ip-adapter_sdxl", "ip-adapter_sd15", "ip-adapter-plus-face_sd15"] | None = Field(
        default=None, description="IP adapter, community plan only (default none)"
    )
    ip_adapter_scale: Fraction | None = Field(default=None, description="Its weight, 0 to 1")
    ip_adapter_image: str | None = Field(default=None, pattern="^https://", description="Its picture, https link")
