"""What the operator can set about money: caps, the threshold of the question, and prices that providers do not tell."""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

Amounts = Annotated[dict[str, float], NoDecode]
"""Provider to an amount in its own unit, written as `scenario=20, wavespeed=1.5`; `jobs` counts paid jobs of all."""


class SpendingSettings(BaseSettings):
    """Caps on spending; none is set by default."""

    max_cost_per_job: Amounts = Field(
        default={}, description="Comma list of provider=amount: most that one job may cost, in the provider's unit"
    )
    max_cost_per_session: Amounts = Field(
        default={}, description="Likewise for one caller while the server runs; jobs=number counts paid jobs of all"
    )
    max_cost_per_day: Amounts = Field(default={}, description="Likewise for one caller in any 24 hours")
    confirm_above: Amounts = Field(
        default={}, description="Likewise: what costs more is bought only after the user said yes; jobs=0 asks always"
    )
    cost_estimates: Amounts = Field(
        default={}, description="Likewise: price of one picture, for providers that do not tell theirs"
    )
    max_jobs_in_flight: int = Field(default=100, ge=1, description="Most unfinished jobs of one caller")

    @field_validator(
        "max_cost_per_job", "max_cost_per_session", "max_cost_per_day", "confirm_above", "cost_estimates", mode="before"
    )
    @classmethod
    def _read_amounts(cls, value: object) -> object:
        """Read `name=amount, name=amount`."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): amount.strip() for name, _, amount in pairs}

    @field_validator("max_cost_per_job", "max_cost_per_session", "max_cost_per_day", "confirm_above", "cost_estimates")
    @classmethod
    def _check_amounts(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if not all(math.isfinite(amount) and amount >= 0 for amount in value.values()):
            raise ValueError("amounts are numbers from 0, as in scenario=20, wavespeed=1.5")
        return value
