"""When a job will be done, as a distribution of durations, and how long looking at it can be put off.

Looking costs a request, not looking costs the time that a finished result lies unseen. Inspection theory (Barlow,
Hunter and Proschan, 1963) balances the two: with a hazard h and a price of c seconds for a request, the best spacing
of looks is sqrt(2c / h). The rule here is the same without the assumption that h stands still until the next look:
look when the time that the result is expected to have lain unseen reaches c.

When to look at a job again: soon after it is done, with few requests. Pure; the random number is handed in.

Three things are weighed. How long earlier jobs of the same kind took (`controlnet_mcp.jobs.polling`); without them,
short pauses that grow to under two seconds, since nothing is known and a job may be done at once. What the provider
says of the time that is left. And bounds: nobody is asked more often than they bear, and every job is looked at when
its deadline comes. The constants were chosen by simulation; `bench/detection.py` measures what came of them.

Joins the policy of `controlnet_mcp.jobs.polling` to a job, to what its provider said, and to earlier durations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from controlnet_mcp.jobs.durations import Durations, kind_of
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.types import Report

_BISECTIONS = 16
"""Halvings of the span in question: 15 seconds become a quarter of a millisecond."""
_TINY = 1e-300


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

    def done(self, seconds: float) -> float:
        """The share of all jobs, within this weight, that is done by then."""
        return 0.0 if seconds <= 0 else self.weight * _normal(self._score(seconds))

    def left(self, seconds: float) -> float:
        """The share that is not; accurate where almost all are."""
        return self.weight if seconds <= 0 else self.weight * _normal(-self._score(seconds))

    def unseen(self, seconds: float) -> float:
        """Integral of `done` from 0: the mean time for which results lie unseen when nobody looks before."""
        if seconds <= 0:
            return 0.0
        score = self._score(seconds)
        mean = self.median_seconds * math.exp(self.sigma * self.sigma / 2)
        return self.weight * (seconds * _normal(score) - mean * _normal(score - self.sigma))

    def _score(self, seconds: float) -> float:
        return (math.log(seconds) - math.log(self.median_seconds)) / self.sigma


@dataclass(frozen=True, slots=True)
class Forecast:
    """A mixture of distributions; the weights sum to 1."""

    parts: Sequence[LogNormal]

    def pause_seconds(self, elapsed_seconds: float, price_seconds: float, longest_seconds: float) -> float:
        """How long to put off the next look at a job that was not done just now.

        Args:
            elapsed_seconds: How long it has run.
            price_seconds: What a request costs, in seconds for which a result lies unseen.
            longest_seconds: The longest pause.

        Returns:
            The pause after which the expected unseen time reaches the price, 0 to `longest_seconds`.
        """
        unseen_seconds = self._unseen_after(elapsed_seconds)
        if unseen_seconds(longest_seconds) <= price_seconds:
            return longest_seconds
        shorter, longer = 0.0, longest_seconds
        for _ in range(_BISECTIONS):
            middle = (shorter + longer) / 2
            if unseen_seconds(middle) < price_seconds:
                shorter = middle
            else:
                longer = middle
        return longer

    def _unseen_after(self, elapsed: float) -> Callable[[float], float]:
        """The expected unseen time as a function of a pause, given that the job was not done before it."""
        left = max(sum(part.left(elapsed) for part in self.parts), _TINY)
        done = sum(part.done(elapsed) for part in self.parts)
        before = sum(part.unseen(elapsed) for part in self.parts)
        return lambda pause: (sum(part.unseen(elapsed + pause) for part in self.parts) - before - pause * done) / left


def _normal(score: float) -> float:
    """The normal distribution function."""
    return math.erfc(-score / math.sqrt(2)) / 2


SHORTEST_SECONDS = 0.1
"""Shortest pause for providers that do not ask for a longer one."""
LONGEST_SECONDS = 15.0
FEWEST_JOBS = 3
"""With fewer earlier jobs, the pauses are those of a provider that is not known."""

_JITTER = 0.1
_SHORTEST_SHARE = 0.03
"""A pause is at least this share of the time that has passed, so that requests grow with its logarithm only."""
_BLIND_FIRST_SECONDS, _BLIND_SHARE, _BLIND_LONGEST_SECONDS = 0.3, 0.6, 1.8
_DEAREST_REQUEST_SECONDS = 0.105
_PRICE_PER_SQUARE_SECOND = 0.001
"""A request for a job of a second is worth a millisecond of delay: delays hurt where results come quickly."""
_FORGETTING = 0.98
"""Weight of a job beside the one that came after it."""
_PRIOR_JOBS, _PRIOR_SIGMA = 3.0, 0.4
"""What the spread is taken for before any job was seen, and how many jobs that is worth."""
_SURPRISE, _SURPRISE_OF_FEW, _SURPRISE_SIGMA = 0.04, 0.3, 1.0
"""Share of jobs that follow no history (and more of it while the history is short), and their spread: a provider that
became faster is noticed, and one that became slower is not asked in a frenzy."""
_TOLD_SIGMA = 0.35
"""How far remaining times that providers tell are off."""
_LEAST_PROGRESS = 0.05


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an unfinished job told.

    Attributes:
        elapsed_seconds: Time since the provider accepted it.
        left_seconds: Time until its deadline.
        eta_seconds: The time that the provider says is left.
        progress: Fraction done, 0 to 1.
        queue_position: How many jobs are in line before it.
        shortest_seconds: The shortest pause that the provider wants.
    """

    elapsed_seconds: float
    left_seconds: float
    eta_seconds: float | None = None
    progress: float | None = None
    queue_position: int | None = None
    shortest_seconds: float = SHORTEST_SECONDS


def pause_seconds(history: Sequence[float], look: Look, chance: float) -> float:
    """How long to wait before the next look.

    Args:
        history: Seconds that earlier jobs of this kind took, oldest first.
        look: What the last look told.
        chance: A random number from 0 to 1, so that jobs that were started together are not asked for together.

    Returns:
        From `look.shortest_seconds` to `LONGEST_SECONDS`, and not past the deadline.
    """
    elapsed = max(look.elapsed_seconds, 0.0)
    pause = _learned(history, elapsed) if len(history) >= FEWEST_JOBS else _blind(elapsed)
    told = _told(history, look, elapsed)
    if told is not None:
        pause = math.sqrt(pause * _until(told))
    pause = max(pause, _SHORTEST_SHARE * elapsed) * (1 + _JITTER * (2 * chance - 1))
    return max(min(pause, LONGEST_SECONDS, look.left_seconds), look.shortest_seconds)


def _blind(elapsed: float) -> float:
    """Nothing is known: an early look for jobs that are done at once, then closer than every two seconds."""
    return min(_BLIND_FIRST_SECONDS + _BLIND_SHARE * elapsed, _BLIND_LONGEST_SECONDS)


def _learned(history: Sequence[float], elapsed: float) -> float:
    """The pause after earlier jobs."""
    return _spaced(*_expected(tuple(history)), elapsed)


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


def _until(told: float) -> float:
    """The pause after a provider's word on the time that is left."""
    return _spaced(max(told, SHORTEST_SECONDS), _TOLD_SIGMA, _SURPRISE + _SURPRISE_OF_FEW, 0.0)


def _spaced(median: float, sigma: float, surprise: float, elapsed: float) -> float:
    price = min(_DEAREST_REQUEST_SECONDS, _PRICE_PER_SQUARE_SECOND * median * median)
    usual, surprising = LogNormal(median, sigma, 1 - surprise), LogNormal(median, _SURPRISE_SIGMA, surprise)
    return Forecast((usual, surprising)).pause_seconds(elapsed, price, LONGEST_SECONDS)


def _told(history: Sequence[float], look: Look, elapsed: float) -> float | None:
    """The remaining seconds as the provider tells them, or as they follow from what it tells."""
    if look.eta_seconds is not None:
        return max(look.eta_seconds, 0.0)
    if look.queue_position and history:
        return (look.queue_position + 1) * min(history)
    if look.progress is not None and look.progress >= _LEAST_PROGRESS:
        return elapsed * max(1 - look.progress, 0.0) / look.progress
    return None


@dataclass(frozen=True, slots=True)
class PollPacer:
    """Says when to look next, and learns from every job that was seen to finish.

    Attributes:
        durations: What earlier jobs took.
        chance: Random numbers from 0 to 1.
        shortest_seconds: Gives the shortest pause that a provider wants, by its name.
    """

    durations: Durations
    chance: Callable[[], float]
    shortest_seconds: Callable[[str], float] = lambda _name: SHORTEST_SECONDS

    async def prepare(self, job: JobRecord) -> None:
        """Read what `pause_seconds` will want to know; without it, a job's kind counts as unknown.

        Raises:
            StorageError: The record cannot be read.
        """
        await self.durations.load(kind_of(job.provider, job.request))

    def pause_seconds(self, job: JobRecord, report: Report, now: float) -> float:
        """How long to leave a job alone that was not done at `now`."""
        accepted_at = job.created_at if job.accepted_at is None else job.accepted_at
        look = Look(
            elapsed_seconds=now - accepted_at,
            left_seconds=job.deadline_at - now,
            eta_seconds=report.eta_seconds,
            progress=report.progress,
            queue_position=report.queue_position,
            shortest_seconds=self.shortest_seconds(job.provider),
        )
        return pause_seconds(self.durations.known(kind_of(job.provider, job.request)), look, self.chance())

    def learn(self, job: JobRecord, now: float) -> None:
        """Take note of how long a job took that is seen to be done for the first time.

        It ended between the last look that found it unfinished and this one: the middle is taken, unless the looks
        were too far apart to tell anything (a restart, a computer that slept). A job that was done when it was
        accepted needs no looking, so it teaches nothing.
        """
        if job.accepted_at is None or job.looked_at is None or now - job.looked_at > 2 * LONGEST_SECONDS:
            return
        seconds = (job.looked_at + now) / 2 - job.accepted_at
        if seconds > 0:
            self.durations.add(kind_of(job.provider, job.request), seconds)
