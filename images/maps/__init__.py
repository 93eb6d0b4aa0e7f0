"""Control maps of a picture without trained weights.

Importing this package is cheap: NumPy and OpenCV are loaded when the first map is made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controlnet_mcp.images.maps.parameters import KNOBS, MapParameters, knobs_of
from controlnet_mcp.images.modalities import resolve

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

__all__ = ["KNOBS", "ControlMap", "MapParameters", "fit_for_detection", "make_map"]


@dataclass(frozen=True, slots=True, eq=False)
class ControlMap:
    """A control map and how it came about.

    Attributes:
        rgb: The map: shape (height, width, 3) of the picture, 8 bits; line maps are white on black in equal channels.
        coverage: 0 to 1: of a line map the fraction of pixels above half brightness, of a photo-like map the fraction
            of pixels whose luminance is not 0.
        parameters: The knobs that were used, defaults included.
        notes: Sentences for the user: what was assumed of the picture, what the map only approximates.
    """

    rgb: "Rgb"
    coverage: float
    parameters: dict[str, float | int | str]
    notes: tuple[str, ...]


def make_map(rgb: "Rgb", modality: str, parameters: MapParameters | None = None) -> ControlMap:
    """Make the control map of a picture at the picture's own resolution (see `fit_for_detection`).

    CPU-bound, from a few to some hundred milliseconds: call it in a thread.

    Args:
        rgb: The picture: shape (height, width, 3), 8 bits, red first.
        modality: Name or alias of a modality.
        parameters: Knobs; those not set have their defaults.

    Raises:
        RequestError: `invalid_request` for an unknown modality or a knob that it does not have; `unsupported` for a
            map that needs trained weights.
    """
    found = resolve(modality)
    knobs = parameters or MapParameters()
    used = knobs_of(found, knobs)

    from controlnet_mcp.images.maps.recipes import make

    made, coverage, notes = make(rgb, found, knobs)
    return ControlMap(made, coverage, used, notes)


def fit_for_detection(rgb: "Rgb", resolution: int) -> "Rgb":
    """Scale the shorter side to `resolution` pixels; see `controlnet_mcp.images.maps.resize.fit_for_detection`.

    Raises:
        RequestError: `invalid_request` when the resolution is below 1 or the result would be too large.
    """
    from controlnet_mcp.images.maps import resize

    return resize.fit_for_detection(rgb, resolution)
