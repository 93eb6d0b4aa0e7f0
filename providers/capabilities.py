"""What a provider can do, as data: selection, checks and warnings read it, nothing asks for a provider's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Deduplication: TypeAlias = Literal["key", "lookup", "none"]
"""How a provider lets us avoid buying twice: an idempotency key, a look-up by our reference, or not at all."""


Takes: TypeAlias = Literal["map", "picture", "either"]


@dataclass(frozen=True, slots=True)
class Support:
    """How a provider offers one modality.

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


Setting: TypeAlias = Literal[
    "negative_prompt", "init_image", "mask_image", "strength", "model", "steps", "guidance", "scheduler", "seed"
]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, as data: selection, checks and warnings read it, nothing asks for a provider's name.

    Attributes:
        modalities: Canonical modality name to how it is offered.
        settings: Optional settings that the provider honours; any other becomes a warning.
        max_controls: Most controls in one request.
        picture_per_control: Whether further controls may have pictures of their own.
        weights: Whether each control has its own weight.
        needs_public_url: Whether pictures can only be handed over as links that the provider fetches.
        upload_lifetime_seconds: How long an upload may be used again.
        shortest_poll_seconds: Shortest pause between two looks at a job.
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
    deduplication: Deduplication = "none"
    free: bool = False
    ai_generated: bool = True
    models: tuple[ModelInfo, ...] = ()
    schedulers: tuple[str, ...] = ()
