"""What the simulated WaveSpeed accepts: the fields of its pages as strict models, written down apart from the adapter.

The pages of `flux-control-lora-depth` and `flux-controlnet-union-pro-2.0`, and the request classes of the vendor's own
ComfyUI nodes. Whether unknown fields are refused is not published; refusing them finds misspelt ones.
"""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Scale = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]


def _size(text: str, least: int) -> str:
    sides = re.fullmatch(r"(\d+)\*(\d+)", text)
    if sides is None or not all(least <= int(side) <= 1536 for side in sides.groups()):
        raise ValueError(f"size must be W*H with sides from {least} to 1536")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LoraForm(_Strict):
    """One item of `loras`."""

    path: str = Field(min_length=1)
    scale: float = Field(ge=0, le=4)


class Form(_Strict):
    """The fields that all models share, and how results are delivered."""

    price: ClassVar[float] = 0.03
    prompt: str = Field(min_length=1)
    control_image: str = Field(min_length=1)
    seed: int = Field(default=-1, ge=-1, le=9_999_999_999)
    num_images: int = Field(default=1, ge=1, le=4)
    num_inference_steps: int = Field(default=28, ge=1, le=50)
    loras: list[LoraForm] = Field(default=[], max_length=3)
    enable_safety_checker: bool = True
    enable_sync_mode: bool = False
    enable_base64_output: bool = False
    size: str = "1024*1024"

    @property
    def kind(self) -> str:
        """The file type of the result."""
        return "jpeg"

    @property
    def width_and_height(self) -> tuple[int, int]:
        """Pixels."""
        width, _, height = self.size.partition("*")
        return int(width), int(height)


class ControlLoraForm(Form):
    """`flux-control-lora-depth` and `flux-control-lora-canny`."""

    control_scale: Scale = 1.0
    guidance_scale: float = Field(default=3.5, ge=1, le=30)
    size: Annotated[str, AfterValidator(lambda text: _size(text, 512))] = "864*1536"


class UnionForm(Form):
    """`flux-controlnet-union-pro-2.0`."""

    price: ClassVar[float] = 0.035
    controlnet_conditioning_scale: Scale = 0.7
    control_guidance_start: Share = 0.0
    control_guidance_end: Share = 0.8
    guidance_scale: float = Field(default=3.5, ge=0, le=20)
    size: Annotated[str, AfterValidator(lambda text: _size(text, 256))] = "1024*1024"
    output_format: Literal["jpeg", "png", "webp"] = "jpeg"

    @property
    def kind(self) -> str:
        """The file type of the result."""
        return self.output_format


FORMS: dict[str, type[Form]] = {
    "wavespeed-ai/flux-control-lora-depth": ControlLoraForm,
    "wavespeed-ai/flux-control-lora-canny": ControlLoraForm,
    "wavespeed-ai/flux-controlnet-union-pro-2.0": UnionForm,
}


class UploadForm(_Strict):
    """The request for an upload ticket; the client caps files at 200 MB."""

    filename: str = Field(min_length=1)
    size: int = Field(gt=0, le=200 * 1024 * 1024)
    content_type: str = "application/octet-stream"


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong, as a vendor would say it."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
