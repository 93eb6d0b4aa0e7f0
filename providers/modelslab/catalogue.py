"""What ModelsLab offers, as data: control types by model family, limits, documented models.

Sources: the vendor's page (fifteen types), its later pages `controlnet-ep` and `controlnet-main` (the others, and which
family has which).
"""

from controlnet_mcp.providers.modelslab.options import SCHEDULERS
from controlnet_mcp.providers.types import Capabilities, ModelInfo, SizeLimits, Support

FLUX_MODEL = "fluxdev"
DEFAULT_MODEL = "midjourney"
"""The model of the page's example; `model_id` is required."""

_SD = ("sd15", "sdxl")
_ALL = (*_SD, "flux")
_FLUX = ("flux",)

_MODALITIES = {
    "canny": Support("canny", families=_ALL),
    "depth": Support("depth", families=_ALL),
    "softedge": Support("softedge", families=_SD),
    "mlsd": Support("mlsd", families=_SD),
    "normal": Support("normal", families=_SD),
    "pose": Support("openpose", families=_ALL),
    "scribble": Support("scribble", families=_SD),
    "seg": Support("segmentation", families=_SD),
    "aesthetic": Support("aesthetic-controlnet", takes="picture", families=_SD),
    "inpaint": Support("inpaint", takes="picture", families=_SD),
    "lineart": Support("lineart", families=_SD),
    "shuffle": Support("shuffle", takes="picture", families=_SD),
    "tile": Support("tile", takes="picture", families=_ALL),
    "face": Support("face_detector", families=_SD),
    "illusion": Support("qrcode", takes="picture", families=_SD),
    "blur": Support("blur", takes="picture", families=_ALL),
    "gray": Support("gray", takes="picture", families=_FLUX),
    "low-quality": Support("low_quality", takes="picture", families=_FLUX),
}
FLUX_NAMES = {"pose": "pose"}
"""Types whose name differs on Flux."""

ENTERPRISE_ONLY = frozenset({"aesthetic"})
"""In the page's list, but not in the schema of the community endpoint."""

FLUX_BY_DEFAULT = frozenset({"blur", "gray", "low-quality"})
"""Types that are in the list of Flux, and in no list of the ControlNet 1.1 models that the others use."""

CAPABILITIES = Capabilities(
    modalities=_MODALITIES,
    settings=frozenset(
        {"negative_prompt", "init_image", "mask_image", "strength", "model", "steps", "guidance", "scheduler", "seed"}
    ),
    # E and V5: at most 1024; the vendor's error texts: 256 to 1024, divisible by 8.
    sizes=SizeLimits(minimum=256, maximum=1024, multiple=8, preferred=768),
    max_controls=3,  # as many as the documented example has
    upload_lifetime_seconds=20 * 3600.0,  # links live 24 hours, and a job may wait in a queue
    models=(
        ModelInfo(DEFAULT_MODEL, "sd15", "the example of the ControlNet page"),
        ModelInfo("realistic-vision-51", "sd15", "photos"),
        ModelInfo("boziorealvisxlv4", "sdxl", "photos"),
        ModelInfo(FLUX_MODEL, "flux", "one control: canny, tile, depth, blur, pose, gray or low-quality"),
    ),
    schedulers=SCHEDULERS,
)


def is_flux(model: str | None) -> bool:
    """Whether a model id is one of Flux: the vendor speaks of models `with 'flux'`."""
    return "flux" in (model or "").lower()


def native_name(modality: str, model: str | None) -> str:
    """The vendor's name of a modality with this model."""
    name = CAPABILITIES.modalities[modality].native
    return FLUX_NAMES.get(modality, name) if is_flux(model) else name
