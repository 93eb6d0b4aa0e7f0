"""The shapes of Scenario's replies: jobs, assets, uploads, models and teams.

Shapes: the vendor's guide, and scenario-sdk 2.4.0 (`types/`). Fields that are not needed are not read.
"""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply

NAME = "scenario"


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, coerce_numbers_to_str=True, frozen=True)


class Metadata(_Reply):
    """What a job was asked, made, or failed of."""

    asset_ids: tuple[str, ...] | None = None
    input: dict[str, JsonValue] | None = None
    error: JsonValue = None
    hint: str | None = None


class Billing(_Reply):
    """What a job costs: the main action, and the add-ons beside it."""

    cu_cost: float
    cu_cost_details: dict[str, float] | None = None
    disable_refund: bool | None = None


class Job(_Reply):
    """A job; `jobType` changes between replies of one job and is never read."""

    job_id: str
    status: str
    progress: float | None = None
    metadata: Metadata | None = None
    error: JsonValue = None
    billing: Billing | None = None


class JobReply(_Reply):
    """The reply to a submission, a poll and a cancellation."""

    job: Job
    creative_units_cost: float | None = None


class PriceReply(_Reply):
    """The reply to a dry run, HTTP 269."""

    creative_units_cost: FiniteFloat


class Asset(_Reply):
    """A stored picture; `url` is a signed link, a credential for as long as it lives."""

    id: str
    url: str | None = None
    status: str | None = None


class AssetReply(_Reply):
    """The reply to an upload and to a look at an asset."""

    asset: Asset


class Part(_Reply):
    """Where a part of a large upload goes."""

    url: str


class Upload(_Reply):
    """A large upload."""

    id: str
    status: str
    parts: tuple[Part, ...] | None = None
    entity_id: str | None = None
    error_message: str | None = None


class UploadReply(_Reply):
    """The reply to every step of a large upload."""

    upload: Upload


class Model(_Reply):
    """A model of the list."""

    id: str
    name: str | None = None
    type: str = ""
    capabilities: tuple[str, ...] | None = None


class ModelPage(_Reply):
    """One page of the list of models."""

    models: tuple[Model, ...]
    next_pagination_token: str | None = None


class Team(_Reply):
    """A team that the key belongs to."""

    id: str


class TeamsReply(_Reply):
    """The teams of the key."""

    teams: tuple[Team, ...]


class Units(_Reply):
    """Creative units of a plan, or used of it."""

    creative_units: float


class OneShot(_Reply):
    """Creative units that were bought apart."""

    remaining: float


class LimitsReply(_Reply):
    """What a team may use in the billing period, and what it used."""

    limits: Units
    values: Units
    one_shot_creative_units: tuple[OneShot, ...] = ()

    @property
    def left(self) -> float:
        """Creative units that are left, bought ones included."""
        bought = sum(row.remaining for row in self.one_shot_creative_units)
        return max(0.0, self.limits.creative_units - self.values.creative_units) + bought


_ModelT = TypeVar("_ModelT", bound=BaseModel)


def read_quietly(reply: HttpReply, model: type[_ModelT]) -> _ModelT:
    """Read a reply that may hold signed links, without ever quoting it.

    Raises:
        ProviderError: `provider_failed`, when it is something else.
    """
    try:
        return model.model_validate_json(reply.body)
    except ValidationError:
        raise ProviderError(
            "provider_failed",
            f"Scenario answered HTTP {reply.status} with something that was not expected.",
            provider=NAME,
            hint="Try again later.",
            delivery="unknown",
            retryable=True,
        ) from None
