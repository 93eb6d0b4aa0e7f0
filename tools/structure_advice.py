"""What to change when little of the asked structure is in a result."""

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.images.structure import LOW_SCORE, StructureScore
from controlnet_mcp.jobs.controls import MAX_WEIGHT
from controlnet_mcp.jobs.record import JobRecord

_RAISE = 1.4
"""Factor by which a weight is raised."""
_STRICTER = {"canny": "lineart"}
"""A modality that holds the result to more of the picture; for all others it is canny."""


def advice(job: JobRecord) -> str:
    """A part of a sentence on how much was kept, with its semicolon; empty where there is nothing to say."""
    scores = [image.structure for image in job.images if image.structure]
    if scores:
        worst = min(scores, key=lambda row: row.score)
        return "" if worst.score >= LOW_SCORE else f"{_told(worst, len(scores))}, so {_remedies(job, worst)}; "
    named = next((row.modality for row in job.request.controls if MODALITIES[row.modality].structure != "photo"), None)
    return f"how well the {named} was kept was not measured, so look; " if named else ""


def _told(worst: StructureScore, count: int) -> str:
    where = "it" if count == 1 else "one of them"
    return f"little of the {worst.modality} structure is in {where} ({worst.metric} scores {worst.score:.2f} of 1)"


def _remedies(job: JobRecord, worst: StructureScore) -> str:
    control = next(row for row in job.request.controls if row.modality == worst.modality)
    heavier = min(MAX_WEIGHT, control.weight * _RAISE)
    ways = [f"modality={worst.modality}:{heavier:.2g}"] if heavier > control.weight else []
    ways.append(f"modality={_STRICTER.get(worst.modality, 'canny')}")
    if control.is_map and job.control_map is None:
        ways.append("control_is_map=false if the control picture is no map")
    else:
        ways.append("control_is_map=true if the control picture already is a map")
    return f"to keep more, try again with {', '.join(ways[:-1])}, or {ways[-1]}"
