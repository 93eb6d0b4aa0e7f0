"""Limits on new jobs: how many a caller may have, the operator's caps on spending, and the question above a threshold.

Caps are in each provider's own unit. Everything is counted inside the transaction that inserts the job, so that no
number of calls at the same time can pass a cap together. Amounts are whole millionths of the unit: sums are exact.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import Account
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.types import Cost

Amounts: TypeAlias = Mapping[str, float]
"""Provider to an amount in its own unit; `JOBS` to a number of paid jobs, whoever makes them."""

JOBS = "jobs"
DAY_SECONDS = 86400.0
_SCALE = 1_000_000

AskUser: TypeAlias = Callable[[str], Awaitable[bool]]
"""Asks the person behind a call a question that yes or no answers."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of one new job by the rules on spending.

    Attributes:
        cost: What the job is expected to cost; `None` where nobody knows and no cap asks.
    """

    rules: "Spending"
    paid: bool
    cost: Cost | None

    def __call__(self, account: Account, job: JobRecord) -> None:
        """Let a job in, and write what it is expected to cost.

        Raises:
            RequestError: `rate_limited` or `payment_required`; nothing may be written then.
        """
        rules = self.rules
        check_room(account.unfinished(besides=job.job_id), rules.jobs_in_flight)
        if not self.paid:
            return
        if rules.per_session:
            self._check(job.provider, account.spent_in_run(rules.run), rules.per_session, "since this server started")
        if rules.per_day:
            spent = account.spent_since(job.created_at - DAY_SECONDS)
            self._check(job.provider, spent, rules.per_day, "in 24 hours")
        account.reserve(job, rules.run, millionths(self.cost.amount) if self.cost else None)

    def _check(self, provider: str, spent: list[tuple[str, int | None]], caps: Amounts, period: str) -> None:
        """Refuse a job that would pass a cap."""
        charged = [(name, amount) for name, amount in spent if amount is not None]
        if JOBS in caps and len(charged) + 1 > caps[JOBS]:
            raise over_cap(f"{caps[JOBS]:g} paid jobs {period}", f"{len(charged)} were made")
        if provider in caps and self.cost:
            sum_before = sum(amount for name, amount in charged if name == provider)
            if sum_before + millionths(self.cost.amount) > millionths(caps[provider]):
                told = f"{sum_before / _SCALE:g} are spent or reserved, and this would cost {self.cost.amount:g}"
                raise over_cap(f"{caps[provider]:g} {self.cost.unit} {period} on {provider}", told)


def check_room(unfinished: int, most: int) -> None:
    """Refuse a further job to a caller who has as many unfinished ones as are allowed.

    Raises:
        RequestError: `rate_limited`.
    """
    if unfinished >= most:
        raise RequestError(
            "rate_limited",
            f"You have {unfinished} unfinished jobs; one caller may have {most}. Nothing was submitted.",
            hint="Wait for one of them with job_status, or stop one with cancel_job; then call again.",
            retryable=True,
        )


def over_cap(cap: str, spent: str) -> RequestError:
    """The refusal of a job that would cost more than the operator allows."""
    return RequestError(
        "payment_required",
        f"The operator of this server caps spending at {cap}; {spent}. Nothing was submitted.",
        hint="Tell the user; only the operator can raise the cap. Do not try again with smaller steps around it.",
    )


def millionths(amount: float) -> int:
    """An amount as it is summed: rounded up, but for what floating point adds by itself: 0.3 is 300,000."""
    return math.ceil(round(amount * _SCALE, 3))


@dataclass(frozen=True, slots=True)
class Spending:
    """The rules of the operator; without any, no price is asked for and nobody is asked.

    Attributes:
        per_call: Caps on one job.
        per_session: Caps on what one caller spends while this server runs.
        per_day: Caps on what one caller spends in any 24 hours.
        confirm_above: What costs more is bought only after a yes.
        estimates: Price of one picture where the provider does not tell it.
        jobs_in_flight: Most unfinished jobs of one caller.
        run: Names this run of the server.
    """

    per_call: Amounts = field(default_factory=dict[str, float])
    per_session: Amounts = field(default_factory=dict[str, float])
    per_day: Amounts = field(default_factory=dict[str, float])
    confirm_above: Amounts = field(default_factory=dict[str, float])
    estimates: Amounts = field(default_factory=dict[str, float])
    jobs_in_flight: int = 100
    run: str = ""
    _prepared_now: Counter[str] = field(default_factory=Counter[str], init=False)

    @contextmanager
    def room(self, principal: str, unfinished: int) -> Generator[None]:
        """Hold a place for one more job of a caller, who has some unfinished ones on record, while it is prepared.

        Raises:
            RequestError: `rate_limited`: the caller has as many unfinished jobs as are allowed.
        """
        # a job that was just added is in both figures; the transaction that adds a job counts exactly
        check_room(max(unfinished, self._prepared_now[principal]), self.jobs_in_flight)
        self._prepared_now[principal] += 1
        try:
            yield
        finally:
            self._prepared_now[principal] -= 1

    def may_ask(self, provider: Provider) -> bool:
        """True for a provider whose jobs may be bought only after a yes."""
        return not provider.capabilities.free and not self.confirm_above.keys().isdisjoint({provider.name, JOBS})

    async def agree(
        self, provider: Provider, pictures: int, price: Callable[[], Awaitable[Cost | None]], ask_user: AskUser | None
    ) -> Admission:
        """Settle what a job of some pictures is expected to cost, and ask about it where that is wanted.

        The provider's price is awaited only when a rule needs it; `ask_user` is `None` where nobody can be asked.

        Raises:
            RequestError: `payment_required`, `canceled` or `not_configured`: it must not be bought.
            ProviderError: The price could not be asked for.
        """
        name, cost = provider.name, None
        paid = not provider.capabilities.free
        if paid:
            capped = {*self.per_call, *self.per_session, *self.per_day}
            if capped and not capped & {name, JOBS}:  # `auto` could choose it
                raise RequestError(
                    "not_configured",
                    f"Spending is capped on this server, and no cap covers {name}.",
                    hint=f"Use {' or '.join(sorted(capped))}, or let the operator name {name} in a cap.",
                )
            if any(name in rule for rule in (self.per_call, self.per_session, self.per_day, self.confirm_above)):
                cost = await price()
                if cost is None or not math.isfinite(cost.amount) or cost.amount < 0:
                    if name not in self.estimates:
                        raise RequestError(
                            "not_configured",
                            f"Spending on {name} is capped, but {name} does not tell what this would cost. "
                            "Nothing was submitted.",
                            hint=f"The operator can set CONTROLNET_MCP_COST_ESTIMATES={name}=PRICE_PER_PICTURE, or cap "
                            f"{JOBS} instead.",
                        )
                    unit = cost.unit if cost else "units"
                    cost = Cost(amount=self.estimates[name] * pictures, unit=unit, estimated=True)
            if self.per_call.get(JOBS, 1.0) < 1:
                raise over_cap("no paid job at all", "this one costs money")
            if cost and _exceeds(cost.amount, self.per_call, name):
                raise over_cap(f"{self.per_call[name]:g} {cost.unit} a job on {name}", f"this costs {cost.amount:g}")
            await self._confirm(name, cost, ask_user)
        return Admission(self, paid, cost)

    async def _confirm(self, name: str, cost: Cost | None, ask_user: AskUser | None) -> None:
        dear = _exceeds(1, self.confirm_above, JOBS) or (cost and _exceeds(cost.amount, self.confirm_above, name))
        if not dear:
            return
        price = f"about {cost.amount:g} {cost.unit}" if cost else "money"
        if ask_user is None:
            raise RequestError(
                "payment_required",
                f"This would cost {price} on {name}, so the user has to agree, and this client cannot ask them.",
                hint="Tell the user. They can use a client with elicitation, or let the operator raise "
                "CONTROLNET_MCP_CONFIRM_ABOVE.",
            )
        if not await ask_user(f"This generation costs {price} on {name}. Continue?"):
            raise RequestError(
                "canceled",
                f"The user did not agree to pay {price} on {name}. Nothing was submitted.",
                hint="Do not ask again unless the user wants it.",
            )


def _exceeds(amount: float, rule: Amounts, name: str) -> bool:
    """True for an amount above the one that a rule gives, if it gives one."""
    return name in rule and millionths(amount) > millionths(rule[name])
