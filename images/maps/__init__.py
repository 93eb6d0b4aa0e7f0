"""Control maps: their parameters, and which map has which; `controlnet_mcp.images.maps.recipes` makes them.

Most need no trained weights, some a model file of the user's. Importing this package is cheap.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.maps.models import NO_MODELS, MapModels
from controlnet_mcp.images.modalities import Modality

__all__ = ["KNOBS", "NO_MODELS", "MapModels", "MapParameters", "knobs_of"]


KNOBS: dict[str, tuple[str, ...]] = {
    "canny": ("thresholds", "low_threshold", "high_threshold"),
    "scribble": ("threshold", "invert"),
    "sketch": ("invert",),
    "lineart": ("gaussian_sigma_pixels", "intensity_threshold", "invert"),
    "softedge": ("invert",),
    "mlsd": ("minimum_length",),
    "tile": ("factor",),
    "blur": ("sigma_pixels",),
    "gray": ("gamma",),
    "low-quality": ("factor", "quality"),
    "shuffle": ("seed",),
    "color-grid": ("cell_pixels",),
    "depth": (),
    "normal": ("background_threshold", "flatness", "red"),
    "pose": ("minimum_confidence", "stick_pixels"),
}
"""Canonical modality to the names of its knobs, for every map that can be made here."""

_NOT_REPORTED = frozenset({"thresholds"})
"""Knobs that say how others are chosen: the others are reported."""


class MapParameters(BaseModel):
    """How to make a control map. A knob that is set must be one that the modality has (see `KNOBS`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    thresholds: Annotated[
        Literal["standard", "auto"],
        Field(description="canny: standard, or auto: both thresholds are chosen from the picture's own gradients."),
    ] = "standard"
    low_threshold: Annotated[
        int, Field(ge=1, le=255, description="canny: gradient from which an edge goes on, in levels, 1 to 255.")
    ] = 100
    high_threshold: Annotated[
        int, Field(ge=1, le=255, description="canny: gradient from which an edge begins, in levels, 1 to 255.")
    ] = 200
    threshold: Annotated[
        int,
        Field(ge=1, le=255, description="scribble: how dark a line must be, in levels, 1 to 255; less is more lines."),
    ] = 32
    gaussian_sigma_pixels: Annotated[
        float, Field(ge=0.5, le=64, description="lineart: sigma of the Gaussian around a line in pixels, 0.5 to 64.")
    ] = 6.0
    intensity_threshold: Annotated[
        int, Field(ge=0, le=255, description="lineart: weaker lines set no brightness, in levels, 0 to 255.")
    ] = 8
    invert: Annotated[
        Literal["auto", "yes", "no"],
        Field(
            description="scribble, sketch, lineart, softedge: auto tells drawings from photos by looking; yes: the "
            "picture is a drawing of dark lines on a light ground; no: it is not (sketch: its light lines are taken)."
        ),
    ] = "auto"
    minimum_length: Annotated[
        float,
        Field(ge=0, le=1, description="mlsd: shortest line kept, as a fraction of the shorter side, 0 to 1."),
    ] = 0.08
    factor: Annotated[
        float, Field(ge=1, le=16, description="tile, low-quality: how many times smaller the picture gets, 1 to 16.")
    ] = 4.0
    sigma_pixels: Annotated[
        float, Field(ge=0.01, le=64, description="blur: sigma of the Gaussian in pixels, 0.01 to 64.")
    ] = 9.0
    gamma: Annotated[
        float, Field(ge=0.1, le=2, description="gray: power of the brightness, 0.1 to 2; below 1 is lighter.")
    ] = 1.0
    quality: Annotated[int, Field(ge=1, le=95, description="low-quality: JPEG quality, 1 to 95.")] = 25
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="shuffle: which warp, 0 to 4294967295.")] = 0
    cell_pixels: Annotated[
        int, Field(ge=2, le=1024, description="color-grid: side of a square in pixels, 2 to 1024.")
    ] = 64
    background_threshold: Annotated[
        float,
        Field(ge=0, le=1, description="normal: depth below which it is flat background, as a fraction of the range."),
    ] = 0.1
    flatness: Annotated[
        float, Field(gt=0, le=1000, description="normal: weight of the direction to the viewer, above 0, to 1000.")
    ] = 6.283185307179586
    red: Annotated[
        Literal["left", "right"],
        Field(description="normal: where red grows: left as in ControlNet's annotator, right as in OpenGL."),
    ] = "left"
    minimum_confidence: Annotated[
        float, Field(ge=0, le=1, description="pose: persons and joints that are less certain are left out, 0 to 1.")
    ] = 0.3
    stick_pixels: Annotated[
        int, Field(ge=1, le=64, description="pose: half the width of a limb and radius of a joint in pixels, 1 to 64.")
    ] = 4


def knobs_of(modality: Modality, parameters: MapParameters) -> dict[str, float | int | str]:
    """The knobs that this map has with their values, defaults included.

    Raises:
        RequestError: `unsupported` for a map that no one can make here; `invalid_request` for a knob that was set and
            that this map does not have.
    """
    if modality.name not in KNOBS:
        raise RequestError(
            "unsupported",
            f"A {modality.name} map ({modality.summary}) cannot be computed here: it needs a model's trained weights.",
            hint="Pass a ready map with control_is_map=true, or use a provider that preprocesses the picture itself.",
        )
    names = KNOBS[modality.name]
    foreign = sorted(parameters.model_fields_set.difference(names))
    if foreign:
        raise RequestError(
            "invalid_request",
            f"The {modality.name} map has no {' and no '.join(foreign)}.",
            hint=f"Its knobs: {', '.join(names)}." if names else "It has no knobs: leave them all out.",
        )
    if parameters.thresholds == "auto" and parameters.model_fields_set & {"low_threshold", "high_threshold"}:
        raise RequestError(
            "invalid_request",
            "The thresholds of canny were both given and left to be chosen.",
            hint='Give low_threshold and high_threshold, or thresholds="auto", not both.',
        )
    return {name: getattr(parameters, name) for name in names if name not in _NOT_REPORTED}
