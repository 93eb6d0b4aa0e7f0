"""The inputs of the simulated fal models as strict pydantic forms, written down apart from the adapter.

Sources: the generated input types of the vendor's JavaScript client (`@fal-ai/client`, `endpoints.ts`, 2026-08) and the
model pages `sdxl-controlnet-union` and `flux-control-lora-depth/image-to-image`, which add the ranges.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Preset: TypeAlias = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]
PRESETS: Mapping[Preset, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""Width and height of each named size, in pixels; no page says them, the vendor's samples show them."""
STRUCTURES = ("openpose", "depth", "teed", "canny", "normal", "segmentation")
"""The control pictures of `sdxl-controlnet-union`, as they begin the names of its fields."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ImageSize(_Strict):
    """Width and height in pixels."""

    width: int = Field(default=512, gt=0, le=14142)
    height: int = Field(default=512, gt=0, le=14142)


class Lora(_Strict):
    """One item of `loras`."""

    path: str
    scale: float = Field(default=1, ge=0, le=4)


class Form(_Strict):
    """The fields that all models have."""

    prompt: str
    image_size: ImageSize | Preset | None = None
    num_images: int = Field(default=1, ge=1, le=4)
    seed: int | None = None
    loras: list[Lora] = []
    enable_safety_checker: bool = True
    sync_mode: bool = False

    @property
    def kind(self) -> str:
        """The file type of the result."""
        raise NotImplementedError

    @property
    def controls(self) -> dict[str, str]:
        """The links of the control pictures, by field."""
        raise NotImplementedError

    @property
    def further_pictures(self) -> dict[str, str]:
        """The links of the start picture and of the mask, by field."""
        given = {name: getattr(self, name, None) for name in ("image_url", "mask_url")}
        return {name: link for name, link in given.items() if isinstance(link, str)}

    def size(self, control: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the result, given those of the control picture."""
        if isinstance(self.image_size, ImageSize):
            return self.image_size.width, self.image_size.height
        return PRESETS[self.image_size] if self.image_size else control


class UnionForm(Form):
    """`fal-ai/sdxl-controlnet-union`: up to six control pictures, one strength for all."""

    num_images: int = Field(default=1, ge=1, le=8)
    num_inference_steps: int = Field(default=35, ge=1, le=70)
    guidance_scale: float = Field(default=7.5, ge=0, le=20)
    negative_prompt: str = ""
    controlnet_conditioning_scale: Share = 0.5
    openpose_image_url: str | None = None
    openpose_preprocess: bool = True
    depth_image_url: str | None = None
    depth_preprocess: bool = True
    teed_image_url: str | None = None
    teed_preprocess: bool = True
    canny_image_url: str | None = None
    canny_preprocess: bool = True
    normal_image_url: str | None = None
    normal_preprocess: bool = True
    segmentation_image_url: str | None = None
    segmentation_preprocess: bool = True
    embeddings: list[JsonValue] = []
    expand_prompt: bool = False
    format: Literal["jpeg", "png"] = "jpeg"
    request_id: str = ""
    safety_checker_version: Literal["v1", "v2"] = "v1"

    @property
    def kind(self) -> str:
        """The file type of the result."""
        return self.format

    @property
    def controls(self) -> dict[str, str]:
        """The links of the control pictures, by field."""
        given = {f"{name}_image_url": getattr(self, f"{name}_image_url") for name in STRUCTURES}
        return {name: link for name, link in given.items() if link is not None}


class UnionFromImageForm(UnionForm):
    """`fal-ai/sdxl-controlnet-union/image-to-image`."""

    image_url: str
    strength: Share = 0.95
    crop_output: bool = False
    preserve_aspect_ratio: bool = False


class UnionInpaintForm(UnionForm):
    """`fal-ai/sdxl-controlnet-union/inpainting`."""

    image_url: str
    mask_url: str
    strength: Share = 0.95


class ControlLoraForm(Form):
    """`fal-ai/flux-control-lora-canny` and `-depth`: one control picture.

    The types of the vendor's client give both the same input, with `preprocess_depth` and an `image_url` that the page
    of the depth model does not have.
    """

    image_size: ImageSize | Preset | None = "landscape_4_3"
    num_inference_steps: int = Field(default=28, ge=1, le=50)
    guidance_scale: float = Field(default=3.5, ge=0, le=35)
    control_lora_image_url: str
    control_lora_strength: float = Field(default=1, ge=0, le=2)
    preprocess_depth: bool = True
    image_url: str | None = None
    output_format: Literal["jpeg", "png"] = "jpeg"

    @property
    def kind(self) -> str:
        """The file type of the result."""
        return self.output_format

    @property
    def controls(self) -> dict[str, str]:
        """The link of the control picture, by field."""
        return {"control_lora_image_url": self.control_lora_image_url}


class ControlLoraFromImageForm(Form):
    """`fal-ai/flux-control-lora-canny/image-to-image` and `-depth/image-to-image`: no `preprocess_depth`."""

    num_inference_steps: int = Field(default=28, ge=1, le=50)
    guidance_scale: float = Field(default=3.5, ge=0, le=35)
    control_lora_image_url: str
    control_lora_strength: float = Field(default=1, ge=0, le=2)
    image_url: str
    strength: float = Field(default=0.85, ge=0.01, le=1)
    output_format: Literal["jpeg", "png"] = "jpeg"

    @property
    def kind(self) -> str:
        """The file type of the result."""
        return self.output_format

    @property
    def controls(self) -> dict[str, str]:
        """The link of the control picture, by field."""
        return {"control_lora_image_url": self.control_lora_image_url}


FORMS: Mapping[str, type[Form]] = {
    "fal-ai/sdxl-controlnet-union": UnionForm,
    "fal-ai/sdxl-controlnet-union/image-to-image": UnionFromImageForm,
    "fal-ai/sdxl-controlnet-union/inpainting": UnionInpaintForm,
    "fal-ai/flux-control-lora-canny": ControlLoraForm,
    "fal-ai/flux-control-lora-canny/image-to-image": ControlLoraFromImageForm,
    "fal-ai/flux-control-lora-depth": ControlLoraForm,
    "fal-ai/flux-control-lora-depth/image-to-image": ControlLoraFromImageForm,
}


def complaints(error: ValidationError) -> list[JsonValue]:
    """The `detail` of the vendor's 422: an item for each field, with place, words and type."""
    return [
        {"loc": ["body", *row["loc"]], "msg": row["msg"], "type": row["type"]}
        for row in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def bad_file(field: str) -> list[JsonValue]:
    """The `detail` of a link that cannot be fetched, with the vendor's words."""
    words = "Failed to download the file. Please check if the URL is accessible and try again."
    return [{"loc": ["body", field], "msg": words, "type": "file_download_error"}]
