"""What a map maker hands back."""

from dataclasses import dataclass, field
from typing import TypeAlias

from controlnet_mcp.images.maps.arrays import Plane, Rgb

Notes: TypeAlias = tuple[str, ...]
"""Sentences for the user about what was done beyond the knobs."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A map that was made.

    Attributes:
        map: One channel (which stands for three equal ones) or three.
        notes: What has to be said about it.
        chosen: Knobs whose values were chosen from the picture, and the values.
    """

    map: Plane | Rgb
    notes: Notes = ()
    chosen: dict[str, int] = field(default_factory=dict[str, int])
