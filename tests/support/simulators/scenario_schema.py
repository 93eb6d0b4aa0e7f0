"""What the simulator of Scenario accepts: the vendor's own schema and sentences, written down without our adapter."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

SD15 = frozenset({"canny", "pose", "depth", "lines", "seg", "scribble", "lineart", "normal-map", "illusion"})
SDXL = frozenset({"canny", "pose", "depth", "seg", "illusion", "scribble"})
FLUX = frozenset({"canny", "tile", "depth", "blur", "pose", "gray", "low-quality", "sketch"})
"""The sentence of the schema leaves `sketch` out; its list of names and the guide have it."""
PRESETS = {"sd-1_5": {"character", "landscape", "city", "interior"}, "sd-xl": {"character", "landscape"}}

MODELS = {
    "flux.1-dev": "flux.1",
    "flux.1-schnell": "flux.1",
    "flux.1-pro": "flux.1-pro",
    "stable-diffusion-xl-base-1.0": "sd-xl",
    "stable-diffusion-v1-5": "sd-1_5",
    "model_eyVcnFJcR92BxBkz7N6g5w": "sd-xl-lora",
}
"""The models of the simulated account by their type."""

Scheduler = Literal[
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]
DataUrl = Annotated[str, StringConstraints(pattern=r"^data:image/(png|jpeg|webp);base64,")]
AssetId = Annotated[str, StringConstraints(pattern=r"^asset_\w+$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=64, le=2048, multiple_of=8)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Concept(_Strict):
    """A LoRA."""

    model_id: str
    scale: float
    model_epoch: str | None = None


class Generation(_Strict):
    """`POST /generate/controlnet`; `image` is in the schema of all siblings."""

    prompt: str = Field(min_length=1)
    model_id: str
    modality: str
    control_image: DataUrl | None = None
    control_image_id: AssetId | None = None
    image: DataUrl | AssetId | None = None
    num_samples: int = Field(default=4, ge=1, le=128)
    guidance: float | None = Field(default=None, ge=0, le=20)
    num_inference_steps: int = Field(default=30, ge=1, le=150)
    width: Side = 512
    height: Side = 512
    scheduler: Scheduler | None = None
    seed: int | Annotated[str, StringConstraints(pattern=r"^\d+$")] | None = None
    control_start: Fraction | None = None
    control_end: Fraction | None = None
    disable_modality_detection: bool = True
    negative_prompt: str | None = None
    negative_prompt_strength: float | None = None
    concepts: list[Concept] | None = None
    base_model_id: str | None = None
    model_epoch: str | None = None
    hide_results: bool = False
    intermediate_images: bool = False
    image_hide: bool = False
    image_parent_id: AssetId | None = None

    @property
    def flux(self) -> bool:
        """Whether a Flux model was asked for."""
        return MODELS[self.model_id].startswith("flux")

    @model_validator(mode="after")
    def _fits_the_model(self) -> Self:
        if self.model_id not in MODELS:
            raise ValueError("model not found")
        if self.control_image is None and self.control_image_id is None:
            raise ValueError("one of controlImage and controlImageId is required")
        _check_modality(self.modality, MODELS[self.model_id])
        _check_size(self.width, self.height, MODELS[self.model_id])
        _check_flux(self)
        return self


class FromImage(Generation):
    """`POST /generate/controlnet-img2img`."""

    strength: float = Field(default=0.75, ge=0.01, le=1)

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if self.image is None:
            raise ValueError("image is required")
        return self


class Inpaint(FromImage):
    """`POST /generate/controlnet-inpaint`."""

    mask: DataUrl | None = None
    mask_id: AssetId | None = None
    disable_merging: bool = False

    @model_validator(mode="after")
    def _has_a_mask(self) -> Self:
        if self.mask is None and self.mask_id is None:
            raise ValueError("one of mask and maskId is required")
        return self


class WithAdapter(Generation):
    """`POST /generate/controlnet-ip-adapter`."""

    ip_adapter_image_ids: list[AssetId] = Field(min_length=1)
    ip_adapter_scales: list[Fraction] | None = None
    ip_adapter_type: Literal["style", "character"] = "style"


SCHEMAS: dict[str, type[Generation]] = {
    "controlnet": Generation,
    "controlnet-img2img": FromImage,
    "controlnet-inpaint": Inpaint,
    "controlnet-ip-adapter": WithAdapter,
    "controlnet-texture": Generation,
}


def _check_modality(text: str, model_type: str) -> None:
    names: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"([a-z-]+)(?::(\d*\.?\d+))?", part)
        if match is None or not 0 < float(match[2] or 1) <= 1:
            raise ValueError(f"modality {part!r}: the value must be within ]0.0, 1.0]")
        names.append(match[1])
    family = "sd-1_5" if model_type == "sd-1_5" else "sd-xl"
    allowed, most = (FLUX, 1) if model_type.startswith("flux") else (SD15 if family == "sd-1_5" else SDXL, 3)
    if most == 3 and len(names) == 1 and names[0] in PRESETS[family]:
        return
    if len(names) > most or not set(names) <= allowed:
        raise ValueError(f"modality {text!r} is not supported by a model of type {model_type}")


def _check_size(width: int, height: int, model_type: str) -> None:
    if model_type.startswith("sd-xl") and min(width, height) < 512:
        raise ValueError("width and height must be within [512, 2048]")
    if model_type == "sd-1_5" and max(width, height) > 1024:
        raise ValueError("width and height must be within [64, 1024]")


def _check_flux(asked: Generation) -> None:
    if asked.scheduler is not None and asked.flux:
        raise ValueError("scheduler is only for Stable Diffusion")
    if (asked.control_start, asked.control_end) != (None, None) and asked.model_id != "flux.1-dev":
        raise ValueError("controlStart and controlEnd are only for Flux.1-dev")
    if asked.negative_prompt and asked.flux and not asked.negative_prompt_strength:
        raise ValueError("negativePromptStrength must be > 0 if negativePrompt is provided")
    least, most = {"flux.1": (0, 10), "flux.1-pro": (2, 5)}.get(MODELS[asked.model_id], (0, 20))
    if asked.guidance is not None and not least <= asked.guidance <= most:
        raise ValueError(f"guidance must be within [{least}, {most}]")
