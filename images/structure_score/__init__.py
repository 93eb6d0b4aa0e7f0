"""Structure scores: how much of the asked structure is in a finished picture.

Importing this package is cheap: NumPy and OpenCV are loaded when the first picture is scored. Why which measure:
docs/decisions/2026-11-25-structure-score.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Levels, Rgb

DepthOf: TypeAlias = Callable[["Rgb"], "Levels"]
"""A depth model: a picture to its depth, shape (height, width), larger is nearer, in any scale."""

Metric: TypeAlias = Literal["edge_f1", "boundary_f1", "ssim", "miou", "depth_rmse"]
"""Names of the measures; of all but `depth_rmse` a higher raw figure is better."""

MEASURED: frozenset[str] = frozenset(
    {"canny", "scribble", "sketch", "mlsd", "lineart", "softedge", "gray", "tile", "blur", "low-quality"}
    | {"seg", "depth"}
)
"""Canonical modalities with a measure; depth needs a model. The others (poses, normals, identities, styles) need
models that this program does not have, or keep no place in the picture (shuffle)."""

LOW_SCORE = 0.35
"""Unrelated pictures stay below this."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a measure found: its own figure, and the score from 0 to 1 that was made of it."""

    raw: float
    score: float


class StructureScore(BaseModel):
    """How much of the structure that was asked for is in a picture, as it is written into the job's record.

    Attributes:
        modality: Canonical name of the control that was looked for.
        metric: Name of the measure.
        score: 0 to 1, higher is better: above 0.95 for the same structure, below 0.35 for an unrelated picture.
        raw: The measure's own figure, before chance and weights were allowed for, in its own direction and range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    modality: str
    metric: Metric
    score: float = Field(ge=0, le=1)
    raw: float


def score_structure(
    asked: "Rgb", result: "Rgb", modality: str, *, is_map: bool, depth_of: DepthOf | None = None
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

    from controlnet_mcp.images.structure_score.measures import Pair, measure

    return measure(Pair(asked, result, modality, is_map, depth_of))
