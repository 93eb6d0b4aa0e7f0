"""What ModelsLab says of each request field, as the rules by which its simulator refuses.

Sources: PROVIDERS notes on the vendor's page, its enterprise page and the schema of its community endpoint; the
sentences of the errors are those of the vendor's page `error-codes`.
"""

from dataclasses import dataclass

from pydantic import JsonValue

TYPES = frozenset(
    [
        "canny",
        "depth",
        "hed",
        "mlsd",
        "normal",
        "openpose",
        "scribble",
        "segmentation",
        "aesthetic-controlnet",
        "inpaint",
        "softedge",
        "lineart",
        "shuffle",
        "tile",
        "face_detector",
        "qrcode",
        "blur",
        "pose",
        "gray",
        "low_quality",
    ]
)
ONLY_FLUX = frozenset({"gray", "low_quality"})
FLUX_TYPES = ONLY_FLUX | {"canny", "tile", "depth", "blur", "pose"}
MODELS = frozenset({"midjourney", "realistic-vision-51", "boziorealvisxlv4", "fluxdev", "my-own-model"})
SCHEDULERS = frozenset(
    f"{name}Scheduler"
    for name in [
        "DDPM",
        "DDIM",
        "PNDM",
        "LMSDiscrete",
        "EulerDiscrete",
        "EulerAncestralDiscrete",
        "DPMSolverMultistep",
        "HeunDiscrete",
        "KDPM2Discrete",
        "DPMSolverSinglestep",
        "KDPM2AncestralDiscrete",
        "UniPCMultistep",
        "DDIMInverse",
        "DEISMultistep",
        "IPNDM",
        "KarrasVe",
        "ScoreSdeVe",
        "LCM",
    ]
)
SWITCHES = [
    "auto_hint",
    "guess_mode",
    "tomesd",
    "use_karras_sigmas",
    "safety_checker",
    "enhance_prompt",
    "multi_lingual",
    "upscale",
    "base64",
    "temp",
]
RANGES: dict[str, tuple[float, float]] = {
    "width": (256, 1024),
    "height": (256, 1024),
    "samples": (1, 4),
    "num_inference_steps": (1, 50),
    "guidance_scale": (1, 20),
    "controlnet_conditioning_scale": (0.1, 20),
    "strength": (0, 1),
    "clip_skip": (1, 8),
    "ip_adapter_scale": (0, 1),
    "seed": (0, 2**32),
}
"""Numbers, which may come as text."""


@dataclass(frozen=True, slots=True)
class RefusedError(Exception):
    """A request that the vendor refuses, with HTTP status and sentence."""

    status: int
    message: str


def number(body: dict[str, JsonValue], name: str, default: float) -> float:
    """A field that is a number or a number written as text; null counts as left out.

    Raises:
        RefusedError: It is something else, or out of its range.
    """
    value = body.get(name)
    if value is None:
        return default
    low, high = RANGES[name]
    try:
        read = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        read = None
    if read is None:
        raise RefusedError(400, f"{name} must be a number")
    if not low <= read <= high:
        raise RefusedError(400, f"{name} must be between {low:g} and {high:g}")
    return read


def text(body: dict[str, JsonValue], name: str) -> str | None:
    """A field that is text or null.

    Raises:
        RefusedError: It is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise RefusedError(400, f"{name} must be a string")
    return value or None


def check(body: dict[str, JsonValue], *, enterprise: bool) -> None:
    """Check every field but the pictures.

    Raises:
        RefusedError: The first thing that is wrong.
    """
    if text(body, "prompt") is None and body.get("guess_mode") != "yes":
        raise RefusedError(400, "prompt is required")
    model = text(body, "model_id")
    if model is None:
        raise RefusedError(400, "model_id is required")
    if model not in MODELS:
        raise RefusedError(400, f"Model not found: {model}")
    for name in RANGES:
        if number(body, name, RANGES[name][0]) % 8 and name in {"width", "height"}:
            raise RefusedError(400, f"{name} must be divisible by 8")
    for name in SWITCHES:
        if body.get(name) not in {None, "yes", "no"}:
            raise RefusedError(400, f"{name} must be yes or no")
    _check_names(body, model, enterprise=enterprise)


def _check_names(body: dict[str, JsonValue], model: str, *, enterprise: bool) -> None:
    names = (text(body, "controlnet_model") or "").split(",")
    known = TYPES if enterprise else TYPES - {"aesthetic-controlnet"}
    if not set(names) <= known or text(body, "controlnet_type") not in {None, *known}:
        raise RefusedError(400, "controlnet_model is invalid")
    flux = "flux" in model
    if flux and (len(names) > 1 or not set(names) <= FLUX_TYPES):
        raise RefusedError(400, f"{','.join(names)} is not supported with {model}")
    if not flux and set(names) & ONLY_FLUX:
        raise RefusedError(400, f"{','.join(names)} is not supported with {model}")
    if text(body, "scheduler") not in {None, *SCHEDULERS}:
        raise RefusedError(400, "scheduler is invalid")
    if body.get("algorithm_type") not in {None, "none", "dpmsolver+++"}:
        raise RefusedError(400, "algorithm_type is invalid")
    webhook = text(body, "webhook")
    if webhook is not None and not webhook.startswith("https://"):
        raise RefusedError(400, "webhook must be an https URL")
