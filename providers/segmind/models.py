"""The ControlNet models of Segmind as data: which structure each one keeps, its fields and their ranges.

Sources: the vendor's page of `sd3-med-pose` and the public pages segmind.com/models/<slug>/api of the others. A range
that no stored copy shows is taken from the nearest sibling and marked (inferred).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlnet_mcp.providers.http import Leaf

SCHEDULERS = (
    *("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler", "Heun"),
    *("DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM", "DDPM", "UniPC"),
)
"""What the SD 1.5, SDXL and SSD models declare; the SD3 and Flux models publish no list, so theirs is free text."""


@dataclass(frozen=True, slots=True)
class Span:
    """A number that a model takes: the vendor's name for it, the least and the most."""

    wire: str
    least: float
    most: float

    def fit(self, value: float) -> float:
        """The nearest allowed value."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a family of models.

    Attributes:
        steps: Denoising steps.
        guidance: Classifier-free guidance scale.
        weight: Conditioning scale, where the model has one.
        usual_weight: What the vendor takes as that scale by default; a weight of 1 means it.
        picture: Name of the field with the control picture.
        inline: Whether the picture may be base64 in the request; otherwise only a link is documented.
        selector: Name of the field that chooses the structure, where one model has several.
        count: Name of the field that says how many pictures (1 to 4); none means always one.
        negative_prompt: Whether there is one.
        schedulers: The declared names; `None` when there is no such field, empty when it is free text.
        sized: Whether the size can be chosen; elsewhere the result follows the control picture.
        base64: Whether the answer can be asked for as base64; its default differs between pages, so it is always sent.
        options: Further fields that callers may set through `provider_options`, under the vendor's names.
        constants: What is always sent, because the page marks it as required or contradicts itself.
    """

    steps: Span
    guidance: Span
    weight: Span | None = None
    usual_weight: float = 1.0
    picture: str = "image"
    inline: bool = True
    selector: str | None = None
    count: str | None = "samples"
    negative_prompt: bool = True
    schedulers: tuple[str, ...] | None = SCHEDULERS
    sized: bool = False
    base64: bool = True
    options: frozenset[str] = frozenset()
    constants: Mapping[str, Leaf] = field(default_factory=dict[str, Leaf])


@dataclass(frozen=True, slots=True)
class Model:
    """One model.

    Attributes:
        slug: Its name in URLs.
        family: What it is built on; empty for a model that only Segmind knows.
        keeps: Canonical modality to the value of the form's selector; empty where the model has no selector.
        form: Its fields.
        asynchronous: Whether it answers under v2.
    """

    slug: str
    family: str
    keeps: Mapping[str, str]
    form: Form
    asynchronous: bool = True


_STEPS = Span("num_inference_steps", 20, 100)
_SD3 = Form(
    steps=Span("num_inference_steps", 1, 100),
    guidance=Span("guidance_scale", 1, 20),
    weight=Span("strength", 0, 1),
    usual_weight=0.8,
    schedulers=(),
    options=frozenset({"sampler"}),
)
_SD15 = Form(steps=_STEPS, guidance=Span("guidance_scale", 0.1, 25), weight=Span("strength", 0.1, 1))
_SDXL = Form(
    steps=_STEPS,  # inferred from sdxl-openpose
    guidance=Span("guidance_scale", 1, 25),
    weight=Span("controlnet_scale", 0, 1),
    usual_weight=0.9,
    selector="cn_model",
)
_SDXL_POSE = Form(
    steps=_STEPS,
    guidance=Span("guidance_scale", 1, 25),
    weight=Span("controlnet_scale", 0, 1),
    usual_weight=0.5,  # the page's sample; its table says 7.5, outside its own range
)
_FLUX = Form(
    steps=Span("steps", 1, 100),  # inferred
    guidance=Span("guidance", 0, 100),  # inferred
    weight=Span("cn_strength", 0, 1),  # inferred
    usual_weight=0.4,
    selector="cn_type",
    negative_prompt=False,
    schedulers=(),
    sized=True,
    options=frozenset({"sampler", "cn_stop", "image_format", "quality", "use_input_img_dimension"}),
    constants={
        "sampler": "euler",
        "scheduler": "simple",
        "steps": 20,
        "guidance": 3.5,
        "cn_stop": 0.5,
        "image_format": "jpeg",
        "quality": 95,
        "use_input_img_dimension": False,
    },
)
_FLUX_DEV = Form(
    steps=Span("num_inference_steps", 1, 50),
    guidance=Span("guidance", 0, 100),
    picture="control_image",
    inline=False,
    count="num_outputs",
    negative_prompt=False,
    schedulers=None,
    base64=False,
    options=frozenset({"megapixels", "output_format", "output_quality", "disable_safety_checker"}),
)
_FLUX_PRO = Form(
    steps=Span("steps", 15, 50),
    guidance=Span("guidance", 1, 50),
    picture="control_image",
    inline=False,
    count=None,
    negative_prompt=False,
    schedulers=None,
    base64=False,
    options=frozenset({"output_format", "safety_tolerance", "prompt_upsampling"}),
)
_SDXL_KINDS = {name: f"sdxl_{name}" for name in ("canny", "depth", "scribble", "softedge")} | {
    "sketch": "sdxl_scribble",
    "pose": "sdxl_openpose",
}
_FLUX_KINDS = {name: name for name in ("canny", "depth", "pose", "tile")}  # tile: a public client's list

MODELS: tuple[Model, ...] = (
    Model("sd3-med-pose", "sd3", {"pose": ""}, _SD3),
    Model("sd3-med-canny", "sd3", {"canny": ""}, _SD3),
    Model("sd3-med-tile", "sd3", {"tile": ""}, _SD3),
    Model("sd1.5-controlnet-canny", "sd1.5", {"canny": ""}, _SD15),
    Model("sd1.5-controlnet-depth", "sd1.5", {"depth": ""}, _SD15),
    Model("sd1.5-controlnet-openpose", "sd1.5", {"pose": ""}, _SD15),
    Model("sd1.5-controlnet-scribble", "sd1.5", {"scribble": "", "sketch": ""}, _SD15),
    Model("sd1.5-controlnet-softedge", "sd1.5", {"softedge": ""}, _SD15),
    Model("sdxl-controlnet", "sdxl", _SDXL_KINDS, _SDXL),
    Model("sdxl-openpose", "sdxl", {"pose": ""}, _SDXL_POSE),
    Model("ssd-canny", "ssd-1b", {"canny": ""}, _SDXL_POSE),
    Model("ssd-depth", "ssd-1b", {"depth": ""}, _SDXL_POSE),  # its page is not stored: fields as ssd-canny (inferred)
    Model("flux-controlnet", "flux", _FLUX_KINDS, _FLUX),
    Model("flux-canny-dev", "flux", {"canny": ""}, _FLUX_DEV),
    Model("flux-depth-dev", "flux", {"depth": ""}, _FLUX_DEV),
    Model("flux-canny-pro", "flux", {"canny": ""}, _FLUX_PRO),
    Model("flux-depth-pro", "flux", {"depth": ""}, _FLUX_PRO),
)
"""The first model that keeps a structure is taken when none is named. No public page says of one that it has no v2."""

MODALITIES = tuple(dict.fromkeys(name for model in MODELS for name in model.keeps))
"""Every structure that some model keeps, in the order of the table."""


def keepers(modality: str) -> tuple[Model, ...]:
    """The models that keep a structure, the usual one first."""
    return tuple(model for model in MODELS if modality in model.keeps)


def find(slug: str | None, modality: str) -> Model:
    """The model of a settled request: the named one, the usual one of the modality, or one that only Segmind knows.

    A name outside the table gets the fields that most of Segmind's Stable Diffusion models share.
    """
    if slug is None:
        return keepers(modality)[0]
    known = next((model for model in MODELS if model.slug == slug), None)
    return known or Model(slug, "", {modality: ""}, _SD3)
