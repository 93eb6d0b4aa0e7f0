"""A request as the caller makes it: typed and bounded, its modalities read, its pictures not looked at yet."""

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.modalities import Modality, resolve
from controlnet_mcp.images.references import plain_text
from controlnet_mcp.providers.types import Frozen

MAX_WEIGHT = 2.0
CONTROL, START, MASK = "control_image", "init_image", "mask_image"
"""Names of input pictures, which are those of the request's fields."""
PICTURES = frozenset({CONTROL, START, MASK, "extra_controls"})
"""The fields of a request that name pictures."""


def extra_name(index: int) -> str:
    """The name of the picture of a further control, counted from 0."""
    return f"extra_control_{index}"


@dataclass(frozen=True, slots=True)
class RequestedModality:
    """One modality that was asked for, with its conditioning scale (0 to 2)."""

    modality: Modality
    weight: float


def parse_modalities(text: str) -> tuple[RequestedModality, ...]:
    """Read `canny`, `pose:0.5` or `canny:0.6,depth:0.4`.

    Raises:
        RequestError: `invalid_request` for an unknown name, a weight that is no number from 0 to 2, an empty part or
            a name that is given twice.
    """
    asked: list[RequestedModality] = []
    for part in text.split(","):
        name, colon, number = part.partition(":")
        modality = resolve(name)
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = -1.0
        if not 0 <= weight <= MAX_WEIGHT:
            raise RequestError(
                "invalid_request",
                f"The weight {number.strip()[:20]!r} of {modality.name} is not a number from 0 to {MAX_WEIGHT:g}.",
                hint=f"Write it like {modality.name}:0.8, or leave it out for 1.",
            )
        asked.append(RequestedModality(modality, weight))
    names = [row.modality.name for row in asked]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RequestError("invalid_request", f"The modality {twice!r} is given twice.", hint="Name each one once.")
    return tuple(asked)


def parse_extra(modality: str, weight: float) -> RequestedModality:
    """Read the modality of an extra control, which has one; a weight after its name counts where none is given.

    Raises:
        RequestError: As `parse_modalities`, and for several modalities.
    """
    asked, *others = parse_modalities(modality)
    if others:
        raise RequestError(
            "invalid_request",
            "An entry of extra_controls has one modality, not several.",
            hint="Give each further modality an entry of its own.",
        )
    return asked if weight == 1 else RequestedModality(asked.modality, weight)


PictureName = Annotated[str, BeforeValidator(plain_text)]
"""A reference to a picture, taken out of whatever it was wrapped in."""
Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


class ExtraControl(Frozen):
    """A further control, with a picture of its own."""

    modality: str
    image: PictureName
    weight: float = Field(default=1.0, ge=0, le=2)
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    is_map: bool = False


class Essentials(BaseModel):
    """The subject of a generation, which a request cannot do without."""

    prompt: Prompt = Field(description="what to draw; only with like_job it may be left out")
    control_image: PictureName = Field(
        min_length=1, description="the picture whose structure to keep; only with like_job it may be left out"
    )


_MOST_OPTIONS_CHARACTERS = 20_000


def _checked(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(options)) > _MOST_OPTIONS_CHARACTERS:
        raise PydanticCustomError("too_long", "They have more than 20,000 characters, and no provider takes that much")
    return options


Options = Annotated[dict[str, JsonValue], AfterValidator(_checked)]


class Details(Frozen):
    """Everything else, which has defaults."""

    modality: str = Field(
        default="canny", description="From list_modalities, weights 0-2, several by commas: canny:0.6,depth:0.4"
    )
    extra_controls: list[ExtraControl] = Field(
        default=[], max_length=8, description="Controls with own pictures; weight 0-2, start and end 0-1"
    )
    control_is_map: bool = Field(default=False, description="control_image is a ready map")
    init_image: PictureName | None = Field(default=None, description="For image-to-image")
    mask_image: PictureName | None = Field(default=None, description="White = repaint")
    strength: float | None = Field(default=None, ge=0, le=1, description="How far to leave init_image")
    negative_prompt: str | None = Field(default=None, max_length=8000)
    provider: str = Field(default="auto", description="From list_modalities")
    model: str | None = Field(default=None, max_length=200, description="From list_models")
    width: int | None = Field(default=None, ge=16, le=8192, description="Pixels")
    height: int | None = Field(default=None, ge=16, le=8192)
    num_images: int = Field(default=1, ge=1, le=4)
    steps: int | None = Field(default=None, ge=1, le=150)
    guidance: float | None = Field(default=None, ge=0, le=30)
    scheduler: str | None = Field(default=None, max_length=200)
    seed: int | None = Field(default=None, ge=0, le=4294967295)
    provider_options: Options = Field(default={}, description="The provider's own knobs")


class GenerateRequest(Details, Essentials):
    """The parameters of a generation; `controlnet_generate` adds how long to wait and what to show."""
