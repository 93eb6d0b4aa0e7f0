"""Polling: when to look at a job again or to try again, and what a provider's report changes in it.

Looking costs a request, not looking costs the time that a finished result lies unseen. Inspection theory (Barlow,
Hunter and Proschan, 1963) balances the two: with a hazard h and a price of c seconds for a request, the best spacing
of looks is sqrt(2c / h). The rule here is the same without the assumption that h stands still until the next look:
look when the time that the result is expected to have lain unseen reaches c.

Three things are weighed: how long earlier jobs of the same kind took (without them, short pauses that grow to under two
seconds), what the provider says of the time that is left, and bounds (nobody is asked more often than they bear, and
every job is looked at when its deadline comes). The constants were chosen by simulation; `bench/detection.py` measures
the result. All but the history of durations and the turns is pure; the random number is handed in.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import anyio

from controlnet_mcp.foundation.errors import ControlNetError, StorageError
from controlnet_mcp.jobs.record import MOST_DURATIONS, JobKind, JobRecord
from controlnet_mcp.jobs.submission_log import fault_of, unknown_outcome
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.types import Capabilities, Fault, LookRate, Report

SHORTEST_SECONDS = 0.1
"""Shortest pause for providers that do not ask for a longer one."""
LONGEST_SECONDS = 15.0
FEWEST_JOBS = 3
"""With fewer earlier jobs, the pauses are those of an unknown provider."""

_STEPS = 2**16
"""Parts of the longest pause that are told apart: of 15 seconds, a quarter of a millisecond."""
_TINY = 1e-300
_ROOT_HALF = math.sqrt(0.5)
_JITTER = 0.1
_SHORTEST_SHARE = 0.03
"""A pause is at least this share of the time that has passed, so that requests grow with its logarithm only."""
_BLIND_FIRST_SECONDS, _BLIND_SHARE, _BLIND_LONGEST_SECONDS = 0.3, 0.6, 1.8
"""Pauses without a history: an early look for jobs that are done at once, then closer than every two seconds."""
_BLIND_TOLD_SECONDS = 0.4
"""Remaining times that providers tell are often whole seconds, rounded down."""
_BLIND_SPAN_SECONDS, _BLIND_LOOKS, _BLIND_POWER = 20.0, 14, 2.7
"""Without a history, a provider that is always about to be done is asked up to 14 times in 20 seconds, 12 times in the
first 10 and 8 times in the first 3 of them; after that, as often as one that tells nothing."""
_DEAREST_REQUEST_SECONDS = 0.105
_PRICE_PER_SQUARE_SECOND = 0.001
"""A request for a job of a second is worth a millisecond of delay: delays hurt where results come quickly."""
_FORGETTING = 0.98
"""Weight of a job beside the one that came after it."""
_PRIOR_JOBS, _PRIOR_SIGMA = 3.0, 0.4
"""The assumed spread before any job was seen, and how many jobs that is worth."""
_SURPRISE, _SURPRISE_OF_FEW, _SURPRISE_SIGMA = 0.04, 0.3, 1.0
"""Share of jobs that follow no history (and more of it while the history is short), and their spread: a provider that
became faster is noticed, and one that became slower is not asked in a frenzy."""
_TOLD_SIGMA = 0.35
"""Spread of the errors of remaining times that providers tell."""
_LEAST_PROGRESS = 0.05

UNKNOWN_PROVIDER = Capabilities(modalities={})
"""Of a provider that only another version of this server has."""
_SHARE_SECONDS, _LAPSE_SECONDS = 0.2, 1.0
"""Tokens for so long are taken at once, and kept no longer than that: another process may want them."""

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 15.0
_LONGEST_RETRY_AFTER_SECONDS = 120.0
"""A provider that asks for a longer pause is asked again after this all the same; only a reply can be wrong."""
_FEWEST_TRIES = 4

UNKNOWN_SECONDS = 60.0
"""A job that the provider does not know for so long is over: right after a submission it may not know it yet."""
LASTING_SECONDS = 90.0
"""So is one with another fault that lasts. A picture may appear some time after the word that it is there."""

_DEADLINE = Fault(
    code="timed_out",
    message="The provider did not finish before the job's deadline.",
    hint="Try again, or choose another provider or model.",
    retryable=True,
)
_UNEXPLAINED = Fault(
    code="provider_failed",
    message="The provider failed without saying why.",
    hint="Try again, or change the prompt or the model.",
    retryable=True,
)
_TOLD = ("progress", "stage", "eta_seconds", "seed", "cost", "credits_left")


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Durations whose logarithm is normal.

    Attributes:
        median_seconds: Half of the jobs take longer; above 0.
        sigma: Standard deviation of the natural logarithm, above 0.
        weight: Share in a mixture, 0 to 1.
    """

    median_seconds: float
    sigma: float
    weight: float = 1.0


def spacing_seconds(parts: Sequence[LogNormal], elapsed: float, price: float, longest: float) -> float:
    """Seconds, 0 to `longest`, after which the expected unseen time of a job that is not done now reaches the price.

    Args:
        parts: A mixture of distributions of durations; the weights sum to 1.
        elapsed: How long the job has run, in seconds.
        price: The cost of a request, in seconds for which a result lies unseen.
        longest: The longest pause in seconds.
    """
    constants = [
        (row.weight, math.log(row.median_seconds), row.sigma, row.median_seconds * math.exp(row.sigma * row.sigma / 2))
        for row in parts
    ]

    def shares(seconds: float) -> tuple[float, float, float]:
        """The share of jobs that is done by then, the share that is not, and the integral of the first from 0."""
        if seconds <= 0:
            return 0.0, sum(row.weight for row in parts), 0.0
        done = left = unseen = 0.0
        logarithm = math.log(seconds)
        for weight, middle, sigma, mean in constants:
            score = (logarithm - middle) / sigma
            below = math.erfc(-score * _ROOT_HALF)
            done += weight * below
            left += weight * math.erfc(score * _ROOT_HALF)  # accurate where almost all are done
            unseen += weight * (seconds * below - mean * math.erfc((sigma - score) * _ROOT_HALF))
        return done / 2, left / 2, unseen / 2

    done, left, before = shares(elapsed)
    left = max(left, _TINY)

    def unseen(pause: float) -> float:
        return (shares(elapsed + pause)[2] - before - pause * done) / left

    return longest * bisect_left(range(_STEPS), price, key=lambda step: unseen(longest * step / _STEPS)) / _STEPS


@dataclass(frozen=True, slots=True)
class Look:
    """The state of an unfinished job at one look at it.

    Attributes:
        elapsed_seconds: Time since the provider accepted it.
        eta_seconds: The time that the provider says is left.
        progress: Fraction done, 0 to 1.
        queue_position: How many jobs are in line before it.
        looks: How often it was looked at.
    """

    elapsed_seconds: float
    left_seconds: float
    eta_seconds: float | None = None
    progress: float | None = None
    queue_position: int | None = None
    shortest_seconds: float = SHORTEST_SECONDS
    looks: int = 0


def pause_seconds(history: Sequence[float], look: Look, chance: float) -> float:
    """Seconds to wait before the next look: `look.shortest_seconds` to `LONGEST_SECONDS`, not past the deadline.

    Args:
        history: Seconds that earlier jobs of this kind took, oldest first.
        look: The state of the job at the last look.
        chance: A random number from 0 to 1, so that jobs that were started together are not asked for together.
    """
    elapsed = max(look.elapsed_seconds, 0.0)
    is_known = len(history) >= FEWEST_JOBS
    blind = min(_BLIND_FIRST_SECONDS + _BLIND_SHARE * elapsed, _BLIND_LONGEST_SECONDS)
    pause = _spaced(*_expected(tuple(history)), elapsed) if is_known else blind
    told: float | None = None  # the remaining seconds as the provider tells them, or as they follow from what it tells
    if look.eta_seconds is not None:
        told = look.eta_seconds
    elif look.queue_position and history:
        told = (look.queue_position + 1) * min(history)
    elif look.progress is not None and look.progress >= _LEAST_PROGRESS:
        told = elapsed * (1 - look.progress) / look.progress
    if told is not None:
        told = max(told, SHORTEST_SECONDS if is_known else _BLIND_TOLD_SECONDS)
        until = _spaced(told, _TOLD_SIGMA, _SURPRISE + _SURPRISE_OF_FEW, 0.0)
        pause = math.sqrt(pause * until)
    pause = max(pause, _SHORTEST_SHARE * elapsed) * (1 + _JITTER * (2 * chance - 1))
    if not is_known:
        earliest = _BLIND_SPAN_SECONDS * (look.looks / _BLIND_LOOKS) ** _BLIND_POWER - elapsed
        pause = max(pause, min(earliest, max(blind, _BLIND_SPAN_SECONDS - elapsed)))
    return max(min(pause, LONGEST_SECONDS, look.left_seconds), look.shortest_seconds)


@lru_cache
def _expected(history: tuple[float, ...]) -> tuple[float, float, float]:
    """Median and sigma of the next job, and the share of surprises.

    Recent jobs count for more, and a few are not trusted to be all alike.
    """
    weights = [_FORGETTING ** (len(history) - 1 - index) for index in range(len(history))]
    logarithms = [math.log(max(seconds, SHORTEST_SECONDS)) for seconds in history]
    total, count = sum(weights), sum(weights) ** 2 / sum(weight * weight for weight in weights)
    mean = sum(weight * row for weight, row in zip(weights, logarithms, strict=True)) / total
    spread = sum(weight * (row - mean) ** 2 for weight, row in zip(weights, logarithms, strict=True)) / total
    variance = (count * spread + _PRIOR_JOBS * _PRIOR_SIGMA**2) / (count + _PRIOR_JOBS) * (1 + 1 / count)
    surprise = _SURPRISE + _SURPRISE_OF_FEW / len(history)
    return math.exp(mean), math.sqrt(variance), surprise


def _spaced(median: float, sigma: float, surprise: float, elapsed: float) -> float:
    """The pause where most jobs follow a distribution, and a share of surprises a wide one of the same median."""
    price = min(_DEAREST_REQUEST_SECONDS, _PRICE_PER_SQUARE_SECOND * median * median)
    parts = (LogNormal(median, sigma, 1 - surprise), LogNormal(median, _SURPRISE_SIGMA, surprise))
    return spacing_seconds(parts, elapsed, price, LONGEST_SECONDS)


class DurationLog(Protocol):
    """A record of how long jobs took and are asked about, for all processes on a data folder: the job store."""

    async def durations(self, kind: JobKind) -> list[float]:
        """Read the seconds that the last jobs of a kind took, oldest first."""
        ...

    def add_duration(self, kind: JobKind, seconds: float) -> None:
        """Queue one more."""
        ...

    async def take_looks(self, provider: str, count: int, rate: LookRate) -> float:
        """Take tokens; gives 0.0, or the seconds until they are there."""
        ...


@dataclass(slots=True)
class _Turns:
    """Looks at the jobs of one provider in this process: one after the other, with tokens that lapse soon."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    tokens: int = 0
    lapse_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PollPacer:
    """Chooses when to look next, and learns from every job that was seen to finish.

    Attributes:
        log: Where durations are kept; each kind is read once, then kept in memory.
        capabilities: What a provider bears, by its name.
    """

    log: DurationLog
    chance: Callable[[], float]
    capabilities: Callable[[str], Capabilities] = lambda _name: UNKNOWN_PROVIDER
    _known: dict[JobKind, deque[float]] = field(default_factory=dict[JobKind, deque[float]], init=False)
    _turns: dict[str, _Turns] = field(default_factory=dict[str, _Turns], init=False)

    async def turn(self, provider: str) -> None:
        """Wait until a provider may be asked again about any job, whoever else asks it.

        Tokens are taken for a fifth of a second at once: a write for each of many looks would cost more than the looks.

        Raises:
            StorageError: The record cannot be written.
        """
        rate = self.capabilities(provider).looks
        if math.isinf(rate.per_second):
            return
        turns = self._turns.setdefault(provider, _Turns())
        async with turns.turn:
            if turns.tokens == 0 or anyio.current_time() > turns.lapse_at:
                count = max(1, min(rate.at_once, round(rate.per_second * _SHARE_SECONDS)))
                wait = await self.log.take_looks(provider, count, rate)
                while wait > 0:
                    await anyio.sleep(wait)
                    wait = await self.log.take_looks(provider, count, rate)
                turns.tokens, turns.lapse_at = count, anyio.current_time() + _LAPSE_SECONDS
            turns.tokens -= 1

    async def load(self, kind: JobKind) -> None:
        """Read a kind's durations, unless that was done before; without it, the kind counts as unknown.

        Raises:
            StorageError: The record cannot be read.
        """
        if kind not in self._known:
            self._known.setdefault(kind, deque(await self.log.durations(kind), MOST_DURATIONS))

    def known(self, kind: JobKind) -> Sequence[float]:
        """Seconds that the last jobs of a kind took, oldest first, as far as they were loaded."""
        return tuple(self._known.get(kind, ()))

    def add(self, kind: JobKind, seconds: float) -> None:
        """Keep one more duration."""
        if kind in self._known:
            self._known[kind].append(seconds)
        self.log.add_duration(kind, seconds)

    def pause_seconds(self, job: JobRecord, report: Report, now: float) -> float:
        """Seconds to leave a job alone that was not done at `now`."""
        accepted_at = job.created_at if job.accepted_at is None else job.accepted_at
        look = Look(
            elapsed_seconds=now - accepted_at,
            left_seconds=job.deadline_at - now,
            eta_seconds=report.eta_seconds,
            progress=report.progress,
            queue_position=report.queue_position,
            shortest_seconds=self.capabilities(job.provider).shortest_poll_seconds,
            looks=job.looks,
        )
        return pause_seconds(self.known(job.kind), look, self.chance())

    def learn(self, job: JobRecord, now: float) -> None:
        """Keep how long a job took that is seen to be done for the first time.

        It ended between the last look that found it unfinished and this one: the middle is taken, unless the looks
        were too far apart to tell anything (a restart, a computer that slept). A job that was done when it was
        accepted needs no looking, so it teaches nothing.
        """
        if job.accepted_at is None or job.looked_at is None or now - job.looked_at > 2 * LONGEST_SECONDS:
            return
        seconds = (job.looked_at + now) / 2 - job.accepted_at
        if seconds > 0:
            self.add(job.kind, seconds)


def apply_report(job: JobRecord, report: Report, now: float, pacer: PollPacer) -> JobRecord:
    """The job after a report, not written yet; what the report leaves out stays as it was."""
    told = {name: value for name in _TOLD if (value := getattr(report, name)) is not None}
    match report.phase:
        case "succeeded":
            return job.model_copy(update={**told, "state": "fetching", "outputs": report.outputs, "wake_at": 0.0})
        case "failed":
            return job.model_copy(update=told).ending("failed", now, report.fault or _UNEXPLAINED)
        case "canceled":
            return job.model_copy(update=told).ending("canceled", now, report.fault)
        case "queued" | "running" as phase:
            job = job.model_copy(update=told)
            if now >= job.deadline_at:
                return job.ending("failed", now, _DEADLINE).model_copy(update={"given_up": True})
            wake_at = now + pacer.pause_seconds(job, report, now)
            waiting = {"state": "running", "queued": phase == "queued", "looked_at": now, "wake_at": wake_at}
            return job.model_copy(update=waiting)


def after_failure(job: JobRecord, error: ControlNetError, now: float) -> JobRecord:
    """The job after a step that failed, not written yet: the step is tried again, until the deadline.

    Each pause is longer than the one before, and as long as the provider asks unless time runs out. What was accepted
    and meets nothing but lasting faults ends sooner. A computer that slept past the deadline gets some tries all the
    same, a job that is still being submitted then may have been accepted, and one whose pictures only lack room on this
    disk waits for room.
    """
    no_room = job.state == "fetching" and isinstance(error, StorageError)
    lasting_since = None
    if job.task is not None and isinstance(error, ProviderError) and error.lasting:
        lasting_since = now if job.lasting_since is None else job.lasting_since
    patience = UNKNOWN_SECONDS if job.state == "running" and error.code == "not_found" else LASTING_SECONDS
    lasts = lasting_since is not None and now - lasting_since >= patience
    if no_room or job.failures < _FEWEST_TRIES or not (lasts or now >= job.deadline_at):
        asked = error.retry_after_seconds if isinstance(error, ProviderError) else None
        backoff = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(job.failures, 10), LONGEST_BACKOFF_SECONDS)
        wake_at = max(now + backoff, min(now + min(asked or 0.0, _LONGEST_RETRY_AFTER_SECONDS), job.deadline_at))
        again = {"failures": job.failures + 1, "wake_at": wake_at, "stage": f"trying again: {error.message}"}
        return job.model_copy(update={**again, "lasting_since": lasting_since})
    if job.state == "submitting":
        return job.ending("uncertain", now, unknown_outcome(fault_of(error)))
    return job.ending("failed", now, fault_of(error)).model_copy(update={"given_up": True})
