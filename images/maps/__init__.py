"""Control maps of a picture: most without trained weights, some with a model file of the user's.

Importing this package is cheap: NumPy and OpenCV are loaded when the first map is made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controlnet_mcp.images.maps.models import NO_MODELS, MapModels
from controlnet_mcp.images.maps.parameters import KNOBS, MapParameters, knobs_of
from controlnet_mcp.images.modalities import resolve

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

__all__ = ["KNOBS", "NO_MODELS", "ControlMap", "MapModels", "MapParameters", "fit_for_detection", "make_map"]


@dataclass(frozen=True, slots=True, eq=False)
class ControlMap:
    """A control map and how it came about.

    Attributes:
        rgb: The map: shape (height, width, 3) of the picture, 8 bits; line maps are white on black in equal channels.
        coverage: 0 to 1: of a line map the fraction of pixels above half brightness, of a photo-like map the fraction
            of pixels whose luminance is not 0.
        parameters: The knobs that were used, defaults included; where one was chosen from the picture, what was chosen.
        notes: Sentences for the user: what was assumed of the picture, what the map only approximates.
    """

    rgb: "Rgb"
    coverage: float
    parameters: dict[str, float | int | str]
    notes: tuple[str, ...]


def make_map(
    rgb: "Rgb", modality: str, parameters: MapParameters | None = None, models: MapModels = NO_MODELS
) -> ControlMap:
    """Make the control map of a picture at the picture's own resolution (see `fit_for_detection`).

    CPU-bound, from a few to some hundred milliseconds (seconds with a model): call it in a thread.

    Args:
        rgb: The picture: shape (height, width, 3), 8 bits, red first.
        modality: Name or alias of a modality.
        parameters: Knobs; those not set have their defaults.
        models: The user's own model files, for depth and pose and for the normals of a photo.

    Raises:
        RequestError: `invalid_request` for an unknown modality or a knob that it does not have; `unsupported` for a
            map that needs trained weights which are not there; `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` for a model file that cannot be used.
    """
    found = resolve(modality)
    knobs = parameters or MapParameters()
    used = knobs_of(found, knobs)

    from controlnet_mcp.images.maps.recipes import make

    made, coverage = make(rgb, found, knobs, models)
    return ControlMap(made.map, coverage, {**used, **made.chosen}, made.notes)


def fit_for_detection(rgb: "Rgb", resolution: int) -> "Rgb":
    """Scale the shorter side to `resolution` pixels; see `controlnet_mcp.images.resize.fit_for_detection`.

    Raises:
        RequestError: `invalid_request` when the resolution is below 1 or the result would be too large.
    """
    from controlnet_mcp.images import resize

    return resize.fit_for_detection(rgb, resolution)
