"""The knobs of ModelsLab that have no common name, and its schedulers under their own and AUTOMATIC1111's names."""

import difflib
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.types import Frozen

Algorithm = Literal["none", "dpmsolver+++"]
"""The vendor's spelling, with three plus signs."""

SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
    "DDIMInverseScheduler",
    "DEISMultistepScheduler",
    "IPNDMScheduler",
    "KarrasVeScheduler",
    "ScoreSdeVeScheduler",
    "LCMScheduler",
)
"""The page's seventeen, in its order, and LCM from the vendor's later pages."""

DEFAULT_SCHEDULER = "UniPCMultistepScheduler"

_A1111 = {
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
"""AUTOMATIC1111's sampler names, without ` Karras`, from the vendor's page on them."""
_SDE = "dpm++ 2m sde"


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
    algorithm_type: Algorithm = Field(default="none", description="For DPMSolverMultistepScheduler (default none)")
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
    ip_adapter_scale: float | None = Field(default=None, ge=0, le=1, description="Its weight, 0 to 1")
    ip_adapter_image: str | None = Field(default=None, pattern="^https://", description="Its picture, https link")


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler as the vendor wants it.

    Attributes:
        name: With the suffix `Scheduler`.
        use_karras_sigmas: What an AUTOMATIC1111 name says about it; `None` when the vendor's own name was given.
        algorithm_type: Likewise.
    """

    name: str
    use_karras_sigmas: bool | None = None
    algorithm_type: Algorithm | None = None

    def settled(self, options: ModelsLabOptions) -> ModelsLabOptions:
        """The options with what the name implies."""
        told = {"use_karras_sigmas": self.use_karras_sigmas, "algorithm_type": self.algorithm_type}
        return options.model_copy(update={name: value for name, value in told.items() if value is not None})


def scheduler_named(name: str) -> Scheduler:
    """Find a scheduler by the vendor's name, with or without its suffix, or by AUTOMATIC1111's sampler name.

    Raises:
        RequestError: `invalid_request` for any other name; the nearest ones are in the hint.
    """
    own = {scheduler.removesuffix("Scheduler").lower(): scheduler for scheduler in SCHEDULERS}
    key = " ".join(name.lower().split())
    found = own.get(key.replace(" ", "").removesuffix("scheduler"))
    if found is not None:
        return Scheduler(found)
    sampler = key.removesuffix(" karras")
    if sampler in _A1111:
        return Scheduler(_A1111[sampler], sampler != key, "dpmsolver+++" if sampler == _SDE else "none")
    near = difflib.get_close_matches(key, [*own, *_A1111], n=3, cutoff=0.4)
    wish = f"Nearest: {', '.join(own.get(row, row) for row in near)}. " if near else ""
    raise RequestError(
        "invalid_request",
        f"ModelsLab has no scheduler called {name[:40]!r}.",
        hint=f"{wish}Known: {', '.join(SCHEDULERS)}.",
    )
