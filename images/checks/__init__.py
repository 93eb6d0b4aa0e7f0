"""What a picture looks like: a plain picture, a drawing, a control map of some kind, or nothing at all.

Importing this package is cheap: NumPy and OpenCV are loaded when the first picture is looked at.
"""

from typing import TYPE_CHECKING, Literal, TypeAlias

from controlnet_mcp.images.modalities import Structure

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

__all__ = ["STRUCTURES", "Appearance", "MapKind", "look"]

MapKind: TypeAlias = Literal["edge", "sketch", "depth", "skeleton", "segmentation"]
"""Control maps that can be told from pictures: thin edges, softer or thicker light lines on black, smooth grey depth,
coloured limbs on black, flat colours of a known palette. (Normal maps cannot be told from coloured pictures.)"""

Appearance: TypeAlias = Literal["blank", "drawing", "picture"] | MapKind

STRUCTURES: dict[MapKind, Structure] = {
    "edge": "lines",
    "sketch": "lines",
    "depth": "depth",
    "skeleton": "skeleton",
    "segmentation": "classes",
}
"""What each kind of map carries."""


def look(rgb: "Rgb") -> Appearance:
    """Say what a picture looks like.

    CPU-bound, a few milliseconds: call it in a thread. On the labelled set of tests/images/test_classify.py 95 % and
    more are told right, and no photo is ever blank.

    Args:
        rgb: Shape (height, width, 3), 8 bits, any size.
    """
    from controlnet_mcp.images.checks.kinds import kind_of

    return kind_of(rgb)
