"""When to look at a job again: soon after it is done, with few requests. Pure; the random number is handed in.

Three things are weighed. How long earlier jobs of the same kind took (`controlnet_mcp.jobs.forecast`); without them,
short pauses that grow to under two seconds, since nothing is known and a job may be done at once. What the provider
says of the time that is left. And bounds: nobody is asked more often than they bear, and every job is looked at when
its deadline comes. The constants were chosen by simulation; `bench/detection.py` measures what came of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from controlnet_mcp.jobs.forecast import Forecast, LogNormal

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
