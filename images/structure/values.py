"""The value that a structure score is."""

from pydantic import BaseModel, ConfigDict, Field


class StructureScore(BaseModel):
    """How much of the structure that was asked for is in a picture, as it is written into the job's record.

    Attributes:
        modality: Canonical name of the control that was looked for.
        metric: Name of the measure, for instance `edge_f1`.
        score: 0 to 1, higher is better: above 0.95 for the same structure, below 0.35 for an unrelated picture.
        raw: The measure's own figure before it was calibrated to `score`, in its own direction and range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    modality: str
    metric: str
    score: float = Field(ge=0, le=1)
    raw: float
