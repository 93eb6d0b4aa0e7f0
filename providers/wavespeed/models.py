"""The ControlNet models of WaveSpeed as data: which structure each one keeps, its fields and their ranges.

Sources: the vendor's page of `flux-control-lora-depth` (the canny model has the same fields in the vendor's ComfyUI
nodes), and its page of `flux-controlnet-union-pro-2.0` (wavespeed.ai/docs-api), which also advises a scale and an end
for each kind of control. All take one control picture, and none has a field that says what kind of map it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

OWNER = "wavespeed-ai/"
STEPS = (1, 50)
SIDES = (512, 1536)
"""Pixels per side. The depth page's own default, 864*1636, is outside it: the size is always sent. Union Pro's page
begins at 256, the vendor's own nodes at 512 for all three models."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a family of models.

    Attributes:
        family: Name of the family, and how its models' names begin.
        scale: Name of the field with the conditioning scale, 0 to 2.
        guidance: Least and most classifier-free guidance scale.
        ranged: Whether the control can set in late and end early.
        options: `provider_options` that only this family takes.
    """

    family: str
    scale: str
    guidance: tuple[float, float]
    ranged: bool = False
    options: frozenset[str] = frozenset()


LORA = Form("flux-control-lora", "control_scale", (1.0, 30.0))
UNION = Form(
    "flux-controlnet",
    "controlnet_conditioning_scale",
    (0.0, 20.0),
    ranged=True,
    options=frozenset(
        {"output_format", "controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
    ),
)


@dataclass(frozen=True, slots=True)
class Advice:
    """What the vendor advises for one kind of control of Union Pro: conditioning scale, and where the control ends."""

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


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its full name, its fields, and the modalities that it keeps."""

    name: str
    form: Form
    keeps: tuple[str, ...]
    known: bool = True


MODELS: tuple[Model, ...] = (
    Model(f"{OWNER}flux-control-lora-depth", LORA, ("depth",)),
    Model(f"{OWNER}flux-control-lora-canny", LORA, ("canny",)),
    Model(f"{OWNER}flux-controlnet-union-pro-2.0", UNION, tuple(ADVICE)),
)
"""The first that keeps a modality is its default."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}/[a-z0-9][a-z0-9._-]{0,79}")


def keepers(modality: str) -> tuple[Model, ...]:
    """The documented models that keep a modality, the default first."""
    return tuple(model for model in MODELS if modality in model.keeps)


def find(name: str | None, modality: str) -> Model | None:
    """The model of a name, with or without the vendor's own prefix; without a name the default of the modality.

    A model that is not in the table is taken for a newer one of the family that its name begins with. `None` when it
    belongs to no family.
    """
    if name is None:
        return keepers(modality)[0]
    full = name.strip().lower()
    full = full if "/" in full else f"{OWNER}{full}"
    known = next((model for model in MODELS if model.name == full), None)
    if known is not None or not _NAME.fullmatch(full):
        return known
    newer = Model(full, LORA, (modality,), known=False)
    tail = full.removeprefix(OWNER)
    fitting = (form for form in (LORA, UNION) if tail.startswith(f"{form.family}-"))
    return next((replace(newer, form=form) for form in fitting), None)
