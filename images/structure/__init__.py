"""Structure scores: how much of the asked structure is in a finished picture.

Importing this package is cheap: NumPy and OpenCV are loaded when the first picture is scored. Why which measure:
docs/decisions/2026-11-25-structure-score.md.
"""

from typing import TYPE_CHECKING

from controlnet_mcp.images.structure.values import LOW_SCORE, MEASURED, StructureScore

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb
    from controlnet_mcp.images.structure.depth import DepthOf

__all__ = ["LOW_SCORE", "MEASURED", "StructureScore", "score_structure"]


def score_structure(
    asked: "Rgb", result: "Rgb", modality: str, *, is_map: bool, depth_of: "DepthOf | None" = None
) -> StructureScore | None:
    """Measure how much of the asked structure is in a result.

    CPU-bound, some ten milliseconds (seconds with a depth model): call it in a thread.

    Args:
        asked: The control picture or control map; any size, cropped to the aspect of the result as for a generation.
        result: The finished picture, at least 16 x 16 pixels.
        modality: Canonical name.
        is_map: Whether `asked` is a control map rather than the picture to take the structure of.
        depth_of: Needed to look for depth.

    Returns:
        None where there is no measure, no model for it, or no structure in what was asked for.
    """
    if modality not in MEASURED or (modality == "depth" and depth_of is None):
        return None

    from controlnet_mcp.images.structure.measures import Pair, measure

    return measure(Pair(asked, result, modality, is_map, depth_of))
