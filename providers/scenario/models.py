"""The model families of Scenario, what each accepts and how a model's id tells its family; the service's own options.

Sources: the vendor's ControlNet guide, and the descriptions in its API schema as a public client generated from it
(pasie15/scenario.com-mcp-server bf9170d) has kept them. `sketch` stands in the guide and in the schema's list of names,
but not in the schema's sentence about Flux: it is offered for Flux (unverified). `lines` is taken to be straight lines,
as the vendor's "signature modes" page describes it (unverified).
"""

import re
from dataclasses import replace
from typing import Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from controlnet_mcp.providers.model_spec import ModelSpec, Range, supports
from controlnet_mcp.providers.types import Frozen, Takes
from controlnet_mcp.providers.vendor import Fraction

Family: TypeAlias = Literal["sd1.5", "sdxl", "flux-dev", "flux-schnell", "flux-pro"]

DEFAULT_MODEL = "flux.1-dev"
"""The model of the guide's examples; the vendor has no default of its own."""

_SCHEDULERS = (
    *("DDIM", "DDPM", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSinglestep", "EulerAncestralDiscrete"),
    *("EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM"),
    *("TCD", "UniPCMultistep"),
)
SCHEDULERS = tuple(f"{name}Scheduler" for name in _SCHEDULERS)
CONTROL_RANGE = frozenset({"control_start", "control_end"})

_FIELDS = {
    **{name: name for name in ("prompt", "strength", "guidance", "width", "height")},
    "num_images": "numSamples",
    "steps": "numInferenceSteps",
}
_NEGATIVE = {"negative_prompt": "negativePrompt"}
_RANGES = {
    "steps": Range(1, 150),
    # Of image-to-image: the guide says 0.8 where nobody asks, the schema 0.75; it is always sent.
    "strength": Range(0.01, 1, 0.75),
}
_SDXL_KEEPS = {name: name for name in ("canny", "pose", "depth", "seg", "scribble", "illusion")}
_SD15_KEEPS = {**_SDXL_KEEPS, "lineart": "lineart", "mlsd": "lines", "normal": "normal-map"}
_FLUX_KEEPS = {name: name for name in ("canny", "pose", "depth", "tile", "blur", "gray", "low-quality", "sketch")}

_SD15 = ModelSpec(
    family="sd1.5",
    label="Stable Diffusion 1.5",
    keeps=_SD15_KEEPS,
    fields={**_FIELDS, **_NEGATIVE, "scheduler": "scheduler"},
    ranges={**_RANGES, "guidance": Range(0, 20, 7.5)},
    max_controls=3,
    sides=(64, 1024),
    schedulers=SCHEDULERS,
)
_FLUX_SCHNELL = ModelSpec(
    family="flux-schnell",
    label="Flux schnell",
    keeps=_FLUX_KEEPS,
    fields=_FIELDS,
    ranges=_RANGES,
    sides=(64, 2048),
    detects=False,
)
FAMILIES = (
    _SD15,
    replace(
        _SD15,
        family="sdxl",
        label="SDXL",
        keeps=_SDXL_KEEPS,
        ranges={**_RANGES, "guidance": Range(0, 20, 6)},
        sides=(512, 2048),
    ),
    replace(
        _FLUX_SCHNELL,
        family="flux-dev",
        label="Flux dev",
        fields={**_FIELDS, **_NEGATIVE},
        ranges={**_RANGES, "guidance": Range(0, 10, 3.5)},
        options=CONTROL_RANGE,
    ),
    _FLUX_SCHNELL,
    replace(_FLUX_SCHNELL, family="flux-pro", label="Flux pro", ranges={**_RANGES, "guidance": Range(2, 5, 3)}),
)
UNKNOWN = replace(
    _SD15,
    family="",
    label="an unknown family",
    keeps={**_SD15_KEEPS, **_FLUX_KEEPS},
    ranges=_RANGES,
    sides=(64, 2048),
    options=CONTROL_RANGE,
)
"""A model whose family is not known may ask for what any family accepts."""

PRESETS = {
    "sd1.5": ("character", "landscape", "city", "interior"),
    "sdxl": ("character", "landscape"),
    "": ("character", "landscape", "city", "interior"),
}
"""Family to its named blends, which can stand instead of modalities."""

_TAKES: dict[str, Takes] = {
    **dict.fromkeys(("illusion", "tile", "blur", "low-quality", "sketch"), "picture"),
    "gray": "map",
}
"""The guide describes most of these as pictures to be improved, so they go as they are; `gray` is made grey first,
which changes nothing in a grey picture."""
MODALITIES = {
    name: replace(row, takes=_TAKES.get(name, row.takes)) for name, row in supports(FAMILIES, "either").items()
}

_HINTS: tuple[tuple[str, Family], ...] = (
    (r"^flux.*schnell", "flux-schnell"),
    (r"^flux.*pro(?![a-z])", "flux-pro"),
    (r"^flux\.?1", "flux-dev"),
    (r"sd[-_.]?xl|stable-diffusion-xl", "sdxl"),
    (r"stable-diffusion-v?1|(?<![a-z])sd(?![a-z])|sd[-_.]?1[-_.]?[45]", "sd1.5"),
)


def family_of(model: str) -> Family | None:
    """Tell the family from a model's id or type; `None` for ids that say nothing, such as `model_…`."""
    name = model.strip().lower()
    if name.startswith("model_"):
        return None
    return next((family for pattern, family in _HINTS if re.search(pattern, name)), None)


_CONFIG = ConfigDict(alias_generator=to_camel, populate_by_name=True)


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
    control_start: Fraction | None = Field(
        default=None, description="Fraction of the steps where the control sets in, 0 to 1 (Flux dev only)"
    )
    control_end: Fraction | None = Field(
        default=None,
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


GATEWAY_OPTIONS = frozenset({"family", "preset", "preset_weight", "seamless", "project_id", "original_assets"})
"""Options that choose the rules, the endpoint or the query; all others go into the body under the vendor's names."""
