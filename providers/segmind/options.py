"""`provider_options` of Segmind: the fields of its pages that have no common name."""

from typing import Literal

from pydantic import Field

from controlnet_mcp.providers.types import Frozen


class SegmindOptions(Frozen):
    """The vendor's own knobs; each is sent only to the models that have it, and left out with a warning elsewhere."""

    api_version: Literal["v1", "v2"] | None = Field(
        default=None, description="v2 is a job, v1 one blocking call; default: SEGMIND_API_VERSION (v2)"
    )
    control_strength: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Exact strength, controlnet_scale or cn_strength, 0 to 1; default: the weight of the modality, "
        "where 1 means the model's usual value (SD3 0.8, SD 1.5 1, SDXL 0.9, SDXL pose and SSD 0.5, Flux 0.4)",
    )
    base64: bool | None = Field(
        default=None, description="Answer as base64 in JSON; default: only for several pictures through v1"
    )
    sampler: str | None = Field(
        default=None, min_length=1, max_length=60, description="SD3 (dpmpp_2m by default) and flux-controlnet (euler)"
    )
    cn_stop: float | None = Field(
        default=None,
        ge=0,
        le=1,
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
