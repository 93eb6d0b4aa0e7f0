"""The knobs of Scenario that have no common name, under the vendor's spelling or ours."""

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from controlnet_mcp.providers.http import Body
from controlnet_mcp.providers.scenario.families import Family
from controlnet_mcp.providers.types import Frozen

_CONFIG = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Concept(Frozen):
    """One LoRA of a composition."""

    model_config = _CONFIG

    model_id: str = Field(description="Model id, model_…")
    scale: float = Field(ge=0, le=2, description="How much of it, 0 to 2; 1 is all")
    model_epoch: str | None = Field(default=None, description="Training epoch, such as 000001 (Flux LoRA only)")


class ScenarioOptions(Frozen):
    """`provider_options` of Scenario, in our spelling (`project_id`) or the vendor's (`projectId`)."""

    model_config = _CONFIG

    family: Family | None = Field(default=None, description="Model family, when the model's id does not tell it")
    preset: Literal["character", "landscape", "city", "interior"] | None = Field(
        default=None, description="Blend of modalities instead of `modality` (SD 1.5: all four; SDXL: the first two)"
    )
    preset_weight: float = Field(default=1.0, gt=0, le=1, description="Weight of the preset, above 0 to 1")
    seamless: bool = Field(default=False, description="Draw a texture that repeats without seams")
    project_id: str | None = Field(default=None, description="Project that owns the job; default the key's own")
    original_assets: bool | None = Field(default=None, description="Return assets without transformation")
    concepts: tuple[Concept, ...] | None = Field(default=None, description="LoRAs to compose: modelId, scale")
    base_model_id: str | None = Field(default=None, description="Base model of a Flux LoRA model")
    model_epoch: str | None = Field(default=None, description="Training epoch of a Flux LoRA model")
    control_start: float | None = Field(
        default=None, ge=0, le=1, description="Fraction of the steps where the control sets in, 0 to 1 (Flux dev only)"
    )
    control_end: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Fraction of the steps where the control ends, 0 to 1 (Flux dev only; default 0.5 canny, else 0.6)",
    )
    negative_prompt_strength: float | None = Field(
        default=None, ge=0, description="Strength of the negative prompt, above 0 to act (Flux dev only)"
    )
    hide_results: bool | None = Field(default=None, description="Hide the results in the vendor's gallery")
    intermediate_images: bool | None = Field(default=None, description="Make pictures of intermediate steps")
    image_hide: bool | None = Field(default=None, description="Hide the input pictures in the vendor's gallery")
    image_parent_id: str | None = Field(default=None, description="Parent asset of the start image")
    disable_merging: bool | None = Field(
        default=None, description="Inpainting: do not merge the result into the start image; faster"
    )
    ip_adapter_image_ids: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Asset ids of style or character pictures (IP-adapter)"
    )
    ip_adapter_scales: tuple[float, ...] | None = Field(
        default=None, description="Influence of each IP-adapter picture, 0 to 1; default 0.9"
    )
    ip_adapter_type: Literal["style", "character"] | None = Field(
        default=None, description="What the IP-adapter takes over; default style"
    )

    def fields(self) -> dict[str, Body]:
        """What goes into the body as it is, under the vendor's names."""
        own = {"family", "preset", "preset_weight", "seamless", "project_id", "original_assets"}
        fields: dict[str, Body] = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=own)
        return fields
