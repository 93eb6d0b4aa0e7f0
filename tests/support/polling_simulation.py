"""Jobs of known durations, looked at by some policy: what `bench/detection.py` and the tests of the pace share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TypeAlias

from controlnet_mcp.jobs.polling import Look, pause_seconds
from controlnet_mcp.jobs.record import MOST_DURATIONS

Draw: TypeAlias = Callable[[Random], float]
"""Draws the duration of a job, in seconds."""
Pause: TypeAlias = Callable[[float], float]
"""The pause after a look that found a job unfinished, by the seconds that have passed."""


def seeded(seed: int) -> Random:
    """Random numbers that are the same in every run."""
    return Random(seed)  # noqa: S311  # no secret


def lognormal(median_seconds: float, variation: float) -> Draw:
    """Durations with a median and a coefficient of variation."""
    sigma = math.sqrt(math.log(1 + variation * variation))
    return lambda chance: median_seconds * math.exp(sigma * chance.gauss(0, 1))


SWEEP = tuple(2.05 + 0.22 * step for step in range(9))
"""Durations of which no polling interval is a divisor (2.05 to 3.81 s)."""
WORKLOADS: Mapping[str, Draw] = {
    "sweep 2.05-3.81 s": lambda chance: chance.choice(SWEEP),
    "8 s, spread 0.3": lognormal(8, 0.3),
    "20 s, spread 0.3": lognormal(20, 0.3),
    "45 s, spread 0.3": lognormal(45, 0.3),
    "20 s, spread 0.8": lognormal(20, 0.8),
    "2 to 60 s": lambda chance: 2 * 30 ** chance.random(),
}


@dataclass(frozen=True, slots=True)
class Found:
    """How one job was found to be done.

    Attributes:
        requests: How often it was looked at.
        lag_seconds: For how long it had been done.
        learned_seconds: What its duration was taken for.
    """

    requests: int
    lag_seconds: float
    learned_seconds: float


def watch(duration_seconds: float, pause: Pause) -> Found:
    """Look at one job until it is done."""
    return [*looks_at(duration_seconds, lambda now, _: pause(now))][-1]


def looks_at(duration_seconds: float, pause: Callable[[float, int], float]) -> Iterator[Found]:
    """Look at one job until it is done; gives what was found at each look. Pauses may depend on the looks so far."""
    before = now = 0.0
    requests = 0
    if duration_seconds <= 0:
        yield Found(0, 0.0, 0.0)
    while now < duration_seconds:
        before, now = now, now + pause(now, requests)
        requests += 1
        yield Found(requests, now - duration_seconds, (before + now) / 2)


def learned(history: Sequence[float], chance: Random) -> Pause:
    """Our own pauses."""
    return lambda elapsed: pause_seconds(history, Look(elapsed, math.inf), chance.random())


def series(draw: Draw, jobs: int, chance: Random, history: Sequence[float] = ()) -> list[Found]:
    """Watch one job after the other, each with what was learned from those before."""
    known, found = list(history), list[Found]()
    for _ in range(jobs):
        found.append(watch(draw(chance), learned(known[-MOST_DURATIONS:], chance)))
        known.append(found[-1].learned_seconds)
    return found


def fixed(draw: Draw, jobs: int, chance: Random, seconds: float) -> list[Found]:
    """Watch jobs at fixed intervals."""
    return [watch(draw(chance), lambda _: seconds) for _ in range(jobs)]


def mean_requests(found: Sequence[Found]) -> float:
    """Requests per job."""
    return fmean(row.requests for row in found)


def mean_lag(found: Sequence[Found]) -> float:
    """Seconds for which a job was done before it was seen."""
    return fmean(row.lag_seconds for row in found)
