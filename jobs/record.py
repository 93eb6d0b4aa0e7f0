"""The durable record of one generation."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import ConfigDict, Field

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.structure_score import StructureScore
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.providers.types import Cost, Fault, Frozen, Output, RemoteTask, RequestWarning, ResolvedRequest

State: TypeAlias = Literal[
    "preparing", "new", "submitting", "running", "fetching", "succeeded", "failed", "canceled", "uncertain"
]
"""The states of a job inside; callers see its `Status`."""

Status: TypeAlias = Literal["queued", "running", "succeeded", "failed", "canceled", "uncertain"]


MOST_DURATIONS = 50
"""Most durations of a kind of job that are kept."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """Jobs that are expected to take about as long as each other.

    Attributes:
        model: The model that was asked for, or nothing for the provider's own choice.
        size: Binary logarithm of all pixels together, rounded: halves and doubles are told apart.
    """

    provider: str
    model: str
    size: int


class ResultImage(Frozen):
    """One finished picture in the blob store, as the provider sent it.

    Attributes:
        structure: How much of the asked structure is in it, where that could be measured.
    """

    picture: StoredPicture
    flagged: bool = False
    structure: StructureScore | None = None


class JobRecord(Frozen):
    """The record of one generation; every change is a new value, written under the lease's fence.

    Attributes:
        job_id: `job_` and 128 random bits.
        principal: Who asked; jobs of others do not exist for a caller.
        reference: Our reference that goes with the submission, unique per job.
        queued: Whether the provider still has it waiting in line.
        created_at: Seconds since the epoch, as are all times here.
        deadline_at: When polling ends.
        accepted_at: When the provider accepted it.
        looked_at: When the provider last said that it is not done.
        looks: How often it was asked; not every look is worth a write.
        wake_at: When the next step is due.
        lasting_since: Since when every try has met a fault that another one is expected to meet again.
        given_up: Whether this server ended it, by its deadline or a lasting fault, and not the provider.
        asked: The request as it was asked, its pictures named by where the record keeps them; `None` in older records.
        sources: The pictures that were handed in, by the name that `controlnet_mcp.jobs.prepare` gives them.
        control_map: The map that was made of the control picture, if one was.
        prepared: Whether its pictures were read and its price agreed on; before that nothing is sent for it.
        measured: Whether the structure scores of its pictures are final; until then a finished job may still change.
        cancel_requested: Whether the caller wants it stopped (a column of its own: not the driver's to write).
        cancel_answered: Whether the provider was asked to stop it.
        delivered: Whether an answer that names it went out (a column of its own).
        orphans: Ids of further tasks that the provider accepted for it: second charges (a column of its own).
    """

    model_config = ConfigDict(validate_by_name=True)

    job_id: str
    principal: str
    provider: str
    state: State
    request: ResolvedRequest
    reference: str
    created_at: float
    updated_at: float
    deadline_at: float
    finished_at: float | None = None
    accepted_at: float | None = None
    looked_at: float | None = None
    looks: int = 0
    wake_at: float = 0.0
    failures: int = 0
    lasting_since: float | None = None
    given_up: bool = False
    queued: bool = True
    stage: str | None = None
    progress: float | None = None
    eta_seconds: float | None = None
    task: RemoteTask | None = None
    outputs: tuple[Output, ...] = ()
    images: tuple[ResultImage, ...] = ()
    asked: GenerateRequest | None = Field(default=None, validation_alias="wish", serialization_alias="wish")
    sources: dict[str, StoredPicture] = Field(default_factory=dict[str, StoredPicture])
    control_map: StoredPicture | None = None
    seed: int | None = None
    cost: Cost | None = None
    credits_left: float | None = None
    warnings: tuple[RequestWarning, ...] = ()
    fault: Fault | None = None
    prepared: bool = True
    measured: bool = False
    cancel_requested: bool = False
    cancel_answered: bool = False
    delivered: bool = False
    orphans: tuple[str, ...] = ()

    @property
    def kind(self) -> JobKind:
        """Jobs that are expected to take as long as this one."""
        pixels = self.request.width * self.request.height * self.request.num_images
        return JobKind(self.provider, self.request.model or "", round(math.log2(pixels)))

    @property
    def ended(self) -> bool:
        """True when nothing more will happen by itself."""
        return self.state in {"succeeded", "failed", "canceled", "uncertain"}

    @property
    def begins_again(self) -> bool:
        """True when it failed before it was prepared: the same request is prepared again, as the same job."""
        return self.state == "failed" and not self.prepared

    @property
    def can_be_fetched(self) -> bool:
        """True for a job that was paid for and ended without all of its pictures, though the provider may have them."""
        if self.state == "failed":
            return self.task is not None and (self.given_up or bool(self.outputs))
        return self.state == "succeeded" and self.measured and len(self.images) < len(self.outputs)

    @property
    def cancellation_settled(self) -> bool:
        """True when a request to stop it has had its effect, or never will have."""
        return self.ended or self.cancel_answered

    @property
    def settled(self) -> bool:
        """True when nothing is left to do, scoring finished pictures included: the column `ended`."""
        return self.ended and (self.measured or self.state != "succeeded")

    @property
    def status(self) -> Status:
        """The closed set that callers see."""
        match self.state:
            case "preparing" | "new" | "submitting":
                return "queued"
            case "running" | "fetching":
                return "queued" if self.queued and self.state == "running" else "running"
            case ended:
                return ended

    def ending(
        self, state: Literal["succeeded", "failed", "canceled", "uncertain"], now: float, fault: Fault | None = None
    ) -> "JobRecord":
        """The job after its end at `now` (seconds since the epoch), with the fault that ended it."""
        return self.model_copy(update={"state": state, "fault": fault, "finished_at": now, "eta_seconds": None})
