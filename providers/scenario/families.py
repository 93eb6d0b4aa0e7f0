"""The model families of Scenario and what each accepts, as data.

Sources: the vendor's ControlNet guide, and the descriptions in its API schema as a public client generated from it
(pasie15/scenario.com-mcp-server bf9170d) has kept them. `sketch` stands in the guide and in the schema's list of names,
but not in the schema's sentence about Flux: it is offered for Flux (unverified). `lines` is taken to be straight lines,
as the vendor's "signature modes" page describes it (unverified).
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.types import Support

Family: TypeAlias = Literal["sd1.5", "sdxl", "flux-dev", "flux-schnell", "flux-pro"]

DEFAULT_MODEL = "flux.1-dev"
"""The model of the guide's examples; the vendor has no default of its own."""
SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.01, 1.0
"""The vendor's range leaves 0 out: `]0.0, 1.0]`."""

_SD, _SDXL = ("sd1.5",), ("sd1.5", "sdxl")
_FLUX = ("flux-dev", "flux-schnell", "flux-pro")
_ALL = (*_SDXL, *_FLUX)

MODALITIES: dict[str, Support] = {
    "canny": Support("canny", "either", _ALL),
    "pose": Support("pose", "either", _ALL),
    "depth": Support("depth", "either", _ALL),
    "seg": Support("seg", "either", _SDXL),
    "scribble": Support("scribble", "either", _SDXL),
    "illusion": Support("illusion", "picture", _SDXL),
    "lineart": Support("lineart", "either", _SD),
    "mlsd": Support("lines", "either", _SD),
    "normal": Support("normal-map", "either", _SD),
    "tile": Support("tile", "picture", _FLUX),
    "blur": Support("blur", "picture", _FLUX),
    "gray": Support("gray", "map", _FLUX),
    "low-quality": Support("low-quality", "picture", _FLUX),
    "sketch": Support("sketch", "picture", _FLUX),
}
"""Canonical modality to the vendor's name, what it takes and the families that have it.

The guide describes `tile`, `blur`, `low-quality` and `sketch` as pictures to be improved, so they go as they are;
`gray` is made grey first, which changes nothing in a grey picture.
"""

SCHEDULERS = (
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
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the models of one family accept.

    Attributes:
        label: What the family is called in a sentence.
        max_controls: Most modalities in one request.
        presets: Named blends that can stand instead of modalities.
        sides: Least and most pixels of each side.
        guidance: Least, most and usual guidance scale, where they are published.
        detects: Whether the service can make the control map itself.
        schedules: Whether a scheduler can be chosen.
        ranges: Whether the control can be limited to a part of the steps.
        negates: Whether a negative prompt acts: always, only with a strength above 0, or never.
    """

    label: str
    max_controls: int = 1
    presets: tuple[str, ...] = ()
    sides: tuple[int, int] = (64, 2048)
    guidance: tuple[float, float, float] | None = None
    detects: bool = False
    schedules: bool = False
    ranges: bool = False
    negates: Literal["always", "with strength", "never"] = "never"


RULES: dict[Family | None, Rules] = {
    "sd1.5": Rules(
        "Stable Diffusion 1.5",
        max_controls=3,
        presets=("character", "landscape", "city", "interior"),
        sides=(64, 1024),
        guidance=(0, 20, 7.5),
        detects=True,
        schedules=True,
        negates="always",
    ),
    "sdxl": Rules(
        "SDXL",
        max_controls=3,
        presets=("character", "landscape"),
        sides=(512, 2048),
        guidance=(0, 20, 6),
        detects=True,
        schedules=True,
        negates="always",
    ),
    "flux-dev": Rules("Flux dev", guidance=(0, 10, 3.5), ranges=True, negates="with strength"),
    "flux-schnell": Rules("Flux schnell"),
    "flux-pro": Rules("Flux pro", guidance=(2, 5, 3)),
    None: Rules(
        "an unknown family",
        max_controls=3,
        presets=("character", "landscape", "city", "interior"),
        detects=True,
        schedules=True,
        ranges=True,
        negates="always",
    ),
}
"""What each family accepts; a model whose family is not known may ask for what any family accepts."""

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


def scheduler_named(name: str) -> str:
    """The vendor's name of a scheduler: any case, with or without the suffix `Scheduler`.

    Raises:
        RequestError: `invalid_request` when there is none of this name; the hint lists them.
    """
    key = name.strip().lower().removesuffix("scheduler").strip()
    found = next((row for row in SCHEDULERS if row.lower().removesuffix("scheduler") == key), None)
    if found is None:
        known = ", ".join(row.removesuffix("Scheduler") for row in SCHEDULERS)
        raise RequestError(
            "invalid_request", f"Scenario has no scheduler called {name.strip()[:40]!r}.", hint=f"Known: {known}."
        )
    return found
