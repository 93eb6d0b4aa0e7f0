"""The replies of Scenario: their shapes, the statuses of a job, and what refusals and failures mean.

Shapes: the vendor's guide, and scenario-sdk 2.4.0 (`types/`). Fields that are not needed are not read.
"""

from dataclasses import replace

from pydantic import AliasPath, Field, FiniteFloat, JsonValue

from controlnet_mcp.providers.refusals import MODERATION, Meaning
from controlnet_mcp.providers.types import Cost, Phase
from controlnet_mcp.providers.wire import Id, Number, Strings, Text, Wire

UNIT = "creative units"
_UNMARKED = frozenset({"false", "none", "no", "0", "safe", "sfw"})
_FILTERED = rf"{MODERATION}|moderat|sensitive|safety|ip detection|intellectual"
_UNPAID = Meaning(
    {402}, "payment_required", "not enough creative units", "Buy creative units or choose another provider."
)
REFUSALS = (
    Meaning(
        {400, 403},
        "moderated",
        "refused by its filter",
        "Change the prompt or the pictures, or use another model: filters differ between models.",
        words=_FILTERED,
    ),
    replace(_UNPAID, codes={400, 403}, words=r"(creative|compute) units?|credits?\b|insufficient|quota"),
    Meaning(
        {400},
        "invalid_request",
        "the request was not accepted",
        "Change what it names and try again; list_modalities and list_models show what it takes.",
    ),
    Meaning({401}, "unauthorized", "the key was refused", "Check SCENARIO_API_KEY and SCENARIO_API_SECRET."),
    _UNPAID,
    Meaning(
        {403},
        "unauthorized",
        "not allowed",
        "The plan or the key may not use this model or the API (paid plans only): upgrade, or choose another model.",
    ),
    Meaning(
        {404},
        "not_found",
        "not found",
        "Check the model with list_models, and the asset id; the model may no longer be offered for ControlNet.",
    ),
    Meaning({413}, "image_unreadable", "the pictures are too large", "Use smaller pictures."),
    Meaning(
        {429},
        "rate_limited",
        "as many jobs of this account are running as its plan allows",
        "Wait until one of them has ended, or use another provider; asking again at once repeats the refusal.",
        retryable=True,
    ),
    Meaning(
        {503},
        "provider_failed",
        "the answer was HTTP 503",
        "Try again later.",
        delivery="unknown",  # also with Retry-After: nothing says that it comes before any work
    ),
)
"""HTTP 400, 401, 403, 404, 429 and 500 are documented, with `{status, code, message}` (and `reason`). No 402 is:
exhausted creative units are recognised by their words (unverified)."""
_CHANGE = "Change the prompt, the pictures or the model and try again."
FAILURES = (
    Meaning((), "moderated", "its filter stopped the job", _CHANGE, words=_FILTERED),
    Meaning((), "provider_failed", "the job could not be finished", _CHANGE, retryable=True),
)
PHASES: dict[str, Phase] = {
    "pending": "queued",
    "queued": "queued",
    "success": "succeeded",
    "failure": "failed",
    "canceled": "canceled",
}


class JobReply(Wire):
    """A job, as a submission, a poll and a cancellation tell of it; `jobType` changes on the way and is never read.

    The reason of a failure stands in `job.error` in the guide and in `metadata.error` in the client; the cost is that
    of the main action and of add-ons beside it.
    """

    job_id: Id = Field(validation_alias=AliasPath("job", "jobId"))
    status: Text = Field(default="", validation_alias=AliasPath("job", "status"))
    progress: Number = Field(default=None, validation_alias=AliasPath("job", "progress"))
    asset_ids: Strings = Field(default=(), validation_alias=AliasPath("job", "metadata", "assetIds"))
    seed: Text = Field(default="", validation_alias=AliasPath("job", "metadata", "input", "seed"))
    error: Text = Field(default="", validation_alias=AliasPath("job", "error"))
    inner_error: Text = Field(default="", validation_alias=AliasPath("job", "metadata", "error"))
    hint: Text = Field(default="", validation_alias=AliasPath("job", "metadata", "hint"))
    total: Number = Field(default=None, validation_alias="creativeUnitsCost")
    main_cost: Number = Field(default=None, validation_alias=AliasPath("job", "billing", "cuCost"))
    add_ons: dict[str, Number] | None = Field(
        default=None, validation_alias=AliasPath("job", "billing", "cuCostDetails")
    )
    kept: bool | None = Field(default=None, validation_alias=AliasPath("job", "billing", "disableRefund"))

    @property
    def cost(self) -> Cost | None:
        """The price of the job, add-ons included."""
        amount = self.total
        if amount is None and self.main_cost is not None:
            amount = self.main_cost + sum(filter(None, (self.add_ons or {}).values()))
        return None if amount is None else Cost(amount=amount, unit=UNIT)


class PriceReply(Wire):
    """The reply to a dry run, HTTP 269."""

    amount: FiniteFloat = Field(validation_alias="creativeUnitsCost")


class AssetReply(Wire):
    """A stored picture; `url` is a signed link, a credential for as long as it lives."""

    id: Id = Field(validation_alias=AliasPath("asset", "id"))
    url: str | None = Field(default=None, validation_alias=AliasPath("asset", "url"))
    status: str | None = Field(default=None, validation_alias=AliasPath("asset", "status"))
    nsfw: JsonValue = Field(default=None, validation_alias=AliasPath("asset", "nsfw"))

    @property
    def flagged(self) -> bool:
        """True where the safety filter named something: the SDK knows a list of labels."""
        told = self.nsfw
        named = told if isinstance(told, list) else list(told.values()) if isinstance(told, dict) else [told]
        return any(row and str(row).lower() not in _UNMARKED for row in named)


class UploadReply(Wire):
    """A large upload, at every step: where its one part goes, and the asset that it became."""

    id: Id = Field(validation_alias=AliasPath("upload", "id"))
    status: str = Field(validation_alias=AliasPath("upload", "status"))
    address: str = Field(default="", validation_alias=AliasPath("upload", "parts", 0, "url"))
    asset_id: str | None = Field(default=None, validation_alias=AliasPath("upload", "entityId"))
    error: Text = Field(default="", validation_alias=AliasPath("upload", "errorMessage"))


class Model(Wire):
    """A model of the list."""

    id: str
    name: str | None = None
    type: str = ""
    capabilities: Strings = ()


class ModelPage(Wire):
    """One page of the list of models."""

    models: tuple[Model, ...]
    next_page: str | None = Field(default=None, validation_alias="nextPaginationToken")


class TeamsReply(Wire):
    """The first team of the key."""

    id: str | None = Field(default=None, validation_alias=AliasPath("teams", 0, "id"))


class OneShot(Wire):
    """Creative units that were bought apart."""

    remaining: float


class LimitsReply(Wire):
    """The creative units that a team may use in the billing period, what it used, and what it bought apart."""

    limit: float = Field(validation_alias=AliasPath("limits", "creativeUnits"))
    used: float = Field(validation_alias=AliasPath("values", "creativeUnits"))
    bought: tuple[OneShot, ...] = Field(default=(), validation_alias="oneShotCreativeUnits")


class Refusal(Wire):
    """The details of a 429 beside its sentence: a ceiling on jobs at once, or a cooldown."""

    limit: Number = Field(default=None, validation_alias=AliasPath("details", "actionLimit"))
    seconds: Number = Field(default=None, validation_alias=AliasPath("details", "remainingSeconds"))
