"""Structure scores: the share of the asked structure that is in a finished picture.

Importing this package is cheap; `controlnet_mcp.images.structure_score.measures` measures. Why which measure:
docs/decisions/2026-11-25-structure-score.md.
"""

from collections.abc import Callable
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


class StructureScore(BaseModel):
    """A score of a picture for one control, as it is written into the job's record.

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
