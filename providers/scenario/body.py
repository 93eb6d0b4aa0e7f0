"""The body of a ControlNet call to Scenario, and which of the sibling endpoints it goes to."""

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.base import Uploaded
from controlnet_mcp.providers.http import Body, PictureData
from controlnet_mcp.providers.scenario.families import DEFAULT_MODEL, MODALITIES, scheduler_named
from controlnet_mcp.providers.scenario.options import ScenarioOptions
from controlnet_mcp.providers.types import Control, ResolvedRequest

USUAL_STRENGTH = 0.75
"""Of image-to-image: the guide says 0.8, the schema 0.75; it is always sent."""
INLINE_BYTES = 1_400_000
"""Largest picture that goes inside the call: three of them as base64 stay below 6 MB, where the vendor's inline uploads
end (no limit is published for this call)."""


def endpoint(request: ResolvedRequest, options: ScenarioOptions) -> str:
    """The last part of the path: what there is besides the control decides."""
    if request.mask_image is not None:
        return "controlnet-inpaint"
    if request.init_image is not None:
        return "controlnet-img2img"
    if options.ip_adapter_image_ids:
        return "controlnet-ip-adapter"
    return "controlnet-texture" if options.seamless else "controlnet"


def query(options: ScenarioOptions) -> dict[str, str]:
    """The query parameters."""
    values = {"projectId": options.project_id, "originalAssets": "true" if options.original_assets else None}
    return {name: value for name, value in values.items() if value is not None}


def too_large(request: ResolvedRequest) -> tuple[StoredPicture, ...]:
    """The pictures that have to be uploaded, each once."""
    pictures = [request.controls[0].picture, request.init_image, request.mask_image]
    return tuple({row.sha256: row for row in pictures if row is not None and row.size_bytes > INLINE_BYTES}.values())


def modality_text(controls: tuple[Control, ...], options: ScenarioOptions) -> str:
    """`canny`, or `canny:0.6,depth:1`: weights are written as soon as one of them is not 1."""
    if options.preset is not None:
        return options.preset if options.preset_weight == 1 else f"{options.preset}:{options.preset_weight:g}"
    names = [MODALITIES[control.modality].native for control in controls]
    if all(control.weight == 1 for control in controls):
        return ",".join(names)
    return ",".join(f"{name}:{control.weight:g}" for name, control in zip(names, controls, strict=True))


def body_of(request: ResolvedRequest, options: ScenarioOptions, uploaded: Uploaded) -> dict[str, Body]:
    """All fields that have a value; the picture of the first control serves all of them."""
    control = request.controls[0]
    strength = USUAL_STRENGTH if request.strength is None else request.strength
    values: dict[str, Body] = {
        "prompt": request.prompt,
        "modelId": request.model or DEFAULT_MODEL,
        "modality": modality_text(request.controls, options),
        **_picture("controlImage", control.picture, uploaded, id_field="controlImageId"),
        **({"controlImageId": control.asset_id} if control.picture is None else {}),
        "disableModalityDetection": control.is_map,
        **_picture("image", request.init_image, uploaded, id_field="image"),
        **_picture("mask", request.mask_image, uploaded, id_field="maskId"),
        "strength": strength if request.init_image is not None else None,
        "numSamples": request.num_images,
        "guidance": request.guidance,
        "numInferenceSteps": request.steps,
        "width": request.width,
        "height": request.height,
        "scheduler": scheduler_named(request.scheduler) if request.scheduler else None,
        "seed": str(request.seed),
        "negativePrompt": request.negative_prompt or None,
    }
    return {name: value for name, value in (values | options.fields()).items() if value is not None}


def _picture(name: str, picture: StoredPicture | None, uploaded: Uploaded, *, id_field: str) -> dict[str, Body]:
    """A picture as a data URL, or by the id of its upload."""
    if picture is None:
        return {}
    asset_id = uploaded.get(picture.sha256)
    return {name: PictureData(picture)} if asset_id is None else {id_field: asset_id}
