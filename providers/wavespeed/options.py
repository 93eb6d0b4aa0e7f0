"""`provider_options` of WaveSpeed: the fields of its pages that have no common name."""

from typing import Literal

from pydantic import Field

from controlnet_mcp.providers.types import Frozen


class Lora(Frozen):
    """One LoRA that is applied on top of the model."""

    path: str = Field(min_length=1, max_length=500, description="owner/name on Hugging Face, or a link to the file")
    scale: float = Field(default=1.0, ge=0, le=4, description="How much of it, 0 to 4")


class WaveSpeedOptions(Frozen):
    """The vendor's own knobs; what the chosen model does not have is left out with a warning."""

    loras: tuple[Lora, ...] = Field(default=(), max_length=3, description="Up to 3 LoRAs: path, scale 0 to 4 (1)")
    enable_safety_checker: bool = Field(default=True, description="Run the safety filter (true)")
    enable_sync_mode: bool = Field(
        default=False,
        description="Wait for the result inside the submission (false); a broken connection then leaves the outcome "
        "unknown",
    )
    enable_base64_output: bool = Field(
        default=False, description="Answer with the pictures themselves, not with links (false)"
    )
    webhook: str | None = Field(
        default=None,
        pattern=r"^https://[^\s/]+\S*$",
        max_length=2000,
        description="https link that WaveSpeed calls when it is done",
    )
    output_format: Literal["jpeg", "png", "webp"] | None = Field(
        default=None, description="Union Pro: file type of the result (jpeg)"
    )
    controlnet_conditioning_scale: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Union Pro: exact scale, 0 to 2; default: the weight of the modality, where 1 means the vendor's "
        "advice (lines 0.7, depth 0.8, pose and gray 0.9)",
    )
    control_guidance_start: float | None = Field(
        default=None, ge=0, le=1, description="Union Pro: fraction of the steps at which the control sets in (0)"
    )
    control_guidance_end: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Union Pro: fraction of the steps at which the control ends (0.8, pose 0.65)",
    )
