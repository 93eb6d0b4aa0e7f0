"""What the simulated Segmind accepts: the fields of its public model pages, written down apart from the adapter."""

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

KARRAS = (
    *("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler", "Heun"),
    *("DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM", "DDPM", "UniPC"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its JSON type, its range or its declared values, and whether it has to be there."""

    kind: type[str] | type[int] | type[float] | type[bool]
    least: float = float("-inf")
    most: float = float("inf")
    values: tuple[str, ...] = ()
    required: bool = False


Page: TypeAlias = dict[str, Field]

_PROMPT: Page = {"prompt": Field(str, required=True), "seed": Field(int, -1, 999_999_999_999_999)}
_PICTURE: Page = {"image": Field(str, required=True), "base64": Field(bool), "samples": Field(int, 1, 4)}
_NEGATIVE: Page = {"negative_prompt": Field(str)}
_DECLARED: Page = {"scheduler": Field(str, values=KARRAS), "num_inference_steps": Field(int, 20, 100)}
_STABLE = {**_PROMPT, **_PICTURE, **_NEGATIVE}
_SD3: Page = {
    **_STABLE,
    "num_inference_steps": Field(int, 1, 100),
    "guidance_scale": Field(float, 1, 20),
    "strength": Field(float, 0, 1),
    "sampler": Field(str),
    "scheduler": Field(str),
}
_SD15: Page = {
    **_STABLE,
    **_DECLARED,
    "guidance_scale": Field(float, 0.1, 25),
    "strength": Field(float, 0.1, 1),
}
_SCALED: Page = {
    **_STABLE,
    **_DECLARED,
    "guidance_scale": Field(float, 1, 25),
    "controlnet_scale": Field(float, 0, 1),
}
_KINDS = tuple(f"sdxl_{name}" for name in ("canny", "depth", "scribble", "softedge", "openpose"))
_FLUX: Page = {
    **_PROMPT,
    **_PICTURE,
    "cn_type": Field(str, values=("canny", "depth", "pose", "tile")),
    "cn_strength": Field(float, 0, 1),
    "cn_stop": Field(float, 0, 1),
    "custom_width": Field(int, 64, 2048),
    "custom_height": Field(int, 64, 2048),
    "guidance": Field(float, 0, 100),
    "image_format": Field(str, values=("jpeg", "png", "webp")),
    "quality": Field(int, 1, 100),
    "sampler": Field(str, required=True),
    "scheduler": Field(str, required=True),
    "steps": Field(int, 1, 100),
    "use_input_img_dimension": Field(bool),
}
_DEV: Page = {
    **_PROMPT,
    "control_image": Field(str, required=True),
    "num_outputs": Field(int, 1, 4),
    "num_inference_steps": Field(int, 1, 50),
    "guidance": Field(float, 0, 100),
    "megapixels": Field(str, values=("0.25", "1", "match_input")),
    "output_format": Field(str, values=("jpg", "png", "webp")),
    "output_quality": Field(int, 0, 100),
    "disable_safety_checker": Field(bool),
}
_PRO: Page = {
    **_PROMPT,
    "control_image": Field(str, required=True),
    "steps": Field(int, 15, 50),
    "guidance": Field(float, 1, 50),
    "output_format": Field(str, values=("jpg", "png")),
    "safety_tolerance": Field(int, 1, 6),
    "prompt_upsampling": Field(bool),
}

PAGES: dict[str, Page] = {
    **dict.fromkeys(("sd3-med-pose", "sd3-med-canny", "sd3-med-tile"), _SD3),
    **{f"sd1.5-controlnet-{name}": _SD15 for name in ("canny", "depth", "openpose", "scribble", "softedge")},
    "sdxl-controlnet": {**_SCALED, "cn_model": Field(str, values=_KINDS)},
    **dict.fromkeys(("sdxl-openpose", "ssd-canny", "ssd-depth"), _SCALED),
    "flux-controlnet": _FLUX,
    **dict.fromkeys(("flux-canny-dev", "flux-depth-dev"), _DEV),
    **dict.fromkeys(("flux-canny-pro", "flux-depth-pro"), _PRO),
}
"""Slug to fields."""


def refusal(page: Page, body: dict[str, JsonValue]) -> str | None:
    """What the gateway refuses before the model runs: missing, unknown or mistyped fields and undeclared values."""
    missing = [name for name, row in page.items() if row.required and name not in body]
    unknown = [name for name in body if name not in page]
    if missing or unknown:
        return f"missing fields: {missing}; unknown fields: {unknown}"
    for name, value in body.items():
        row = page[name]
        kinds = (int, float) if row.kind is float else (row.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and row.kind is not bool):
            return f"{name} must be of type {row.kind.__name__}"
        if row.values and value not in row.values:
            return f"{name} must be one of {', '.join(row.values)}"
    return None


def breakdown(page: Page, body: dict[str, JsonValue]) -> str | None:
    """What only fails once the model runs: numbers outside their range."""
    for name, value in body.items():
        row = page[name]
        if isinstance(value, int | float) and not row.least <= value <= row.most:
            return f"{name} must be between {row.least:g} and {row.most:g}"
    return None
