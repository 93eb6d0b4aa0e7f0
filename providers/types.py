"""The capabilities of a provider as data, and the frozen values that pass between jobs and adapters.

All of the latter are written into the job record as JSON.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.foundation.text import bounded, bounded_hint
from controlnet_mcp.images.picture import StoredPicture

Deduplication: TypeAlias = Literal["key", "lookup", "none"]
"""A way to avoid buying twice: an idempotency key, a look-up by our reference, or not at all."""
Takes: TypeAlias = Literal["map", "picture", "either"]


@dataclass(frozen=True, slots=True)
class Support:
    """One modality as a provider offers it.

    Attributes:
        native: The provider's own name for it.
        takes: Whether it wants a ready map, a plain picture (which it preprocesses itself), or either.
        families: Model families it is limited to; empty means all.
    """

    native: str
    takes: Takes = "either"
    families: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """Allowed sides in pixels, in steps of `multiple`; `preferred` squared is the default area."""

    minimum: int = 64
    maximum: int = 2048
    multiple: int = 8
    preferred: int = 1024


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a provider offers."""

    name: str
    family: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class LookRate:
    """The rate at which a provider bears to be asked how jobs stand, all of them together: a bucket of tokens.

    Attributes:
        per_second: Tokens that come in; infinite for an engine in this process.
        at_once: Most tokens in it.
    """

    per_second: float = 5.0
    at_once: int = 1


Setting: TypeAlias = Literal[
    "negative_prompt", "init_image", "mask_image", "strength", "model", "steps", "guidance", "scheduler", "seed"
]
EVERY_SETTING: frozenset[Setting] = frozenset(get_args(Setting))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of a provider as data, which selection, checks and warnings read; nothing asks for its name.

    Attributes:
        modalities: Canonical modality name to how it is offered.
        settings: Optional settings that the provider honours; any other becomes a warning.
        max_controls: Most controls in one request.
        picture_per_control: Whether further controls may have pictures of their own.
        weights: Whether each control has its own weight.
        needs_public_url: Whether pictures can only be handed over as links that the provider fetches.
        upload_lifetime_seconds: How long an upload may be used again.
        shortest_poll_seconds: Shortest pause between two looks at a job.
        looks: Looks at all jobs together: from a documented limit, or five a second.
        deduplication: How double submission can be prevented.
        free: Whether nobody ever charges for it, so that no cap on spending applies.
        ai_generated: Whether a model draws; `False` only for engines that say so.
    """

    modalities: Mapping[str, Support]
    settings: frozenset[Setting] = frozenset()
    sizes: SizeLimits = field(default_factory=SizeLimits)
    max_controls: int = 1
    max_images: int = 4
    picture_per_control: bool = False
    weights: bool = True
    control_range: bool = False
    needs_public_url: bool = False
    upload_lifetime_seconds: float = 0.0
    asset_ids: bool = False
    cancels: bool = False
    prices: bool = False
    shortest_poll_seconds: float = 0.1
    looks: LookRate = field(default_factory=LookRate)
    deduplication: Deduplication = "none"
    free: bool = False
    ai_generated: bool = True
    models: tuple[ModelInfo, ...] = ()
    schedulers: tuple[str, ...] = ()


class Frozen(BaseModel):
    """A value that is written into the job record: immutable, no unknown fields; built when it is first used."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Control(Frozen):
    """One structure to keep.

    Attributes:
        word: The detector or alias by which the modality was asked for, such as `hed`; empty by its own name.
        picture: The control picture; `None` when the provider already holds it as `asset_id`.
        asset_id: The provider's own id of the picture.
        source_url: The link it was read from, as long as the picture is unchanged.
        weight: Conditioning scale, 0 to 2.
        start: Fraction of the steps at which the control sets in, 0 to 1.
        end: Fraction of the steps at which it ends, 0 to 1.
        is_map: Whether the picture already is a control map, so that nothing may preprocess it again.
        photo: The plain picture (no drawing and no map) that `picture` was made from, or that was taken for a map.
    """

    modality: str
    word: str = ""
    picture: StoredPicture | None = None
    asset_id: str | None = None
    source_url: str | None = None
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    is_map: bool = False
    photo: StoredPicture | None = None


class ResolvedRequest(Frozen):
    """A generation with every default settled: what an adapter turns into a request.

    Attributes:
        controls: Structures to keep, the main one first.
        init_image: Start image for image-to-image; `init_url` is the link it was read from, if any.
        mask_image: Inpainting mask, white = repaint; `mask_url` likewise.
        strength: Denoising strength, 0 to 1: how far to leave `init_image`.
        width: Pixels, inside the provider's limits, as `height` is.
        num_images: How many pictures, 1 to 4.
        steps: Denoising steps; `None` leaves the provider's default.
        guidance: Classifier-free guidance scale; `None` leaves the provider's default.
        seed: Seed of the first picture.
        options: The provider's own knobs, validated by its options model.
    """

    prompt: str
    controls: tuple[Control, ...]
    negative_prompt: str | None = None
    init_image: StoredPicture | None = None
    init_url: str | None = None
    mask_image: StoredPicture | None = None
    mask_url: str | None = None
    strength: float | None = None
    model: str | None = None
    width: int
    height: int
    num_images: int = 1
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    seed: int
    options: dict[str, JsonValue] = {}


Sentences: TypeAlias = Annotated[str, AfterValidator(bounded)]
"""Text for the caller, which may repeat what was handed in or what a provider said."""
WarningKind: TypeAlias = Literal["unsupported", "adjusted", "assumed", "approximate", "draft", "charge"]


class RequestWarning(Frozen):
    """Something that was not done as asked, or that the caller should know.

    Attributes:
        kind: `unsupported`, `adjusted`, `assumed`, `approximate`, `draft`, or `charge` for money that went wrong.
        feature: The parameter or modality it is about.
        detail: One sentence.
    """

    kind: WarningKind
    feature: Sentences
    detail: Sentences


def _finite(value: "ToldT") -> "ToldT | None":
    """Count what JSON cannot write (infinity, NaN) as not told: a record that cannot be read again loses a job."""
    told = value.amount if isinstance(value, Cost) else value
    return value if told is None or math.isfinite(told) else None


Told: TypeAlias = Annotated[float | None, AfterValidator(_finite)]
"""A number that a provider may tell."""
ToldT = TypeVar("ToldT", bound="float | Cost | None")


class Cost(Frozen):
    """The cost of a job, before or after it, in the provider's own unit."""

    amount: float
    unit: str
    estimated: bool = False


class Output(Frozen):
    """The place of one finished picture.

    Attributes:
        url: Where it can be fetched, as long as the provider keeps it.
        asset_id: The provider's id of it, from which `locate` makes a fresh URL.
        content: Its bytes, when they came inside a reply; the sender stores them before anything else.
        sha256: The stored bytes.
        flagged: Whether the provider's safety filter marked it.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    url: str | None = None
    asset_id: str | None = None
    content: bytes | None = None
    sha256: str | None = None
    flagged: bool = False


class Fault(Frozen):
    """A failure as it is kept in the record and shown to the caller."""

    code: ErrorCode
    message: Sentences
    hint: Annotated[str, AfterValidator(bounded_hint)] = ""
    retryable: bool = False


Phase: TypeAlias = Literal["queued", "running", "succeeded", "failed", "canceled"]


class Report(Frozen):
    """An answer of a provider about a task.

    Attributes:
        progress: Fraction done, 0 to 1, when the provider tells.
        stage: The provider's own word for what it does, bounded.
        eta_seconds: Remaining time, when the provider tells.
        queue_position: How many jobs are in line before it, when the provider tells.
        outputs: Finished pictures, in order.
    """

    phase: Phase
    progress: Told = None
    stage: str | None = None
    eta_seconds: Told = None
    queue_position: int | None = None
    outputs: tuple[Output, ...] = ()
    seed: int | None = None
    cost: Annotated[Cost | None, AfterValidator(_finite)] = None
    credits_left: Told = None
    fault: Fault | None = None

    @property
    def believed(self) -> Self:
        """The report, in which an end without pictures is not believed yet, because they were paid for."""
        unbelieved = self.phase == "succeeded" and not self.outputs
        return self.model_copy(update={"phase": "running"}) if unbelieved else self


class RemoteTask(Frozen):
    """The provider's handle of an accepted submission: enough to ask again after a restart."""

    remote_id: str
    state: dict[str, str] = {}


class Submission(Frozen):
    """An accepted submission: its handle and what was already said about it."""

    task: RemoteTask
    report: Report


class FittedRequest(Frozen):
    """A request with everything chosen that depends on the provider's models, and what had to be said about it."""

    request: ResolvedRequest
    warnings: tuple[RequestWarning, ...] = ()
