"""The ControlNet models of WaveSpeed: which structure each one keeps, its fields, their ranges, its own options.

Sources: the vendor's page of `flux-control-lora-depth` (the canny model has the same fields in the vendor's ComfyUI
nodes), and its page of `flux-controlnet-union-pro-2.0` (wavespeed.ai/docs-api), which also advises a scale and an end
for each kind of control. All take one control picture, and none has a field that says what kind of map it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from controlnet_mcp.providers.model_spec import ModelSpec, Range
from controlnet_mcp.providers.vendor import LoraOptions

OWNER = "wavespeed-ai/"
LARGEST_SEED = 9_999_999_999
"""The vendor's own nodes reduce larger ones modulo this number. -1 is random."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The vendor's advice for one kind of control of Union Pro: conditioning scale, and where the control ends."""

    scale: float
    end: float
    trained: bool = True


ADVICE: Mapping[str, Advice] = {
    "canny": Advice(0.7, 0.8),
    "softedge": Advice(0.7, 0.8),
    "depth": Advice(0.8, 0.8),
    "pose": Advice(0.9, 0.65),
    "gray": Advice(0.9, 0.8),
    **dict.fromkeys(("lineart", "scribble", "sketch", "mlsd"), Advice(0.7, 0.8, trained=False)),
}
"""Union Pro was trained on the first five; other white lines on black look enough like canny and soft edges to it
(inferred, and said in a warning). Support for tiles was removed with version 2.0."""

_FIELDS = {
    "prompt": "prompt",
    "seed": "seed",
    "num_images": "num_images",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
}
_STEPS = Range(1, 50)
_DEPTH = ModelSpec(
    name=f"{OWNER}flux-control-lora-depth",
    family="flux-control-lora",
    keeps={"depth": f"{OWNER}flux-control-lora-depth"},
    fields={**_FIELDS, "weight": "control_scale"},
    ranges={"steps": _STEPS, "guidance": Range(1, 30), "weight": Range(0, 2)},
)
_UNION = ModelSpec(
    name=f"{OWNER}flux-controlnet-union-pro-2.0",
    family="flux-controlnet",
    keeps=dict.fromkeys(ADVICE, f"{OWNER}flux-controlnet-union-pro-2.0"),
    fields={
        **_FIELDS,
        "weight": "controlnet_conditioning_scale",
        "start": "control_guidance_start",
        "end": "control_guidance_end",
    },
    ranges={"steps": _STEPS, "guidance": Range(0, 20), "weight": Range(0, 2)},
    options=frozenset(
        {"output_format", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
    ),
)
MODELS = (
    _DEPTH,
    replace(
        _DEPTH,
        name=f"{OWNER}flux-control-lora-canny",
        keeps={"canny": f"{OWNER}flux-control-lora-canny"},
    ),
    _UNION,
)
"""The first that keeps a modality is its default."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}/[a-z0-9][a-z0-9._-]{0,79}")


def newer(name: str, modality: str) -> ModelSpec | None:
    """A model that is not in the table: a newer one of the family that its name begins with."""
    full = name.strip().lower()
    full = full if "/" in full else f"{OWNER}{full}"
    family = next((row for row in (_DEPTH, _UNION) if full.removeprefix(OWNER).startswith(f"{row.family}-")), None)
    if family is None or not _NAME.fullmatch(full):
        return None
    return replace(family, name=full, keeps={modality: full}, known=False)


class WaveSpeedOptions(LoraOptions):
    """`provider_options`: the fields of the vendor's pages that have no common name."""

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
