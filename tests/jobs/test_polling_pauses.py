"""When jobs are looked at: bounds that hold for whatever a provider tells, and what the policy achieves."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet_mcp.jobs.polling import FEWEST_JOBS, LONGEST_SECONDS, LogNormal, Look, pause_seconds, spacing_seconds
from tests.support.polling_simulation import (
    WORKLOADS,
    Found,
    fixed,
    learned,
    lognormal,
    looks_at,
    mean_lag,
    mean_requests,
    seeded,
    series,
    watch,
)

seconds = st.floats(0, 1e5, allow_nan=False)
histories = st.lists(st.floats(0, 1e4, allow_nan=False), max_size=50)
chances = st.floats(0, 1, allow_nan=False)
looks = st.builds(
    Look,
    elapsed_seconds=seconds,
    left_seconds=st.floats(-10, 1e5, allow_nan=False),
    eta_seconds=st.none() | st.floats(-10, 1e6, allow_nan=False),
    progress=st.none() | st.floats(0, 1, allow_nan=False),
    queue_position=st.none() | st.integers(0, 10_000),
    shortest_seconds=st.floats(0.01, 5, allow_nan=False),
    looks=st.integers(0, 10_000),
)


@given(history=histories, look=looks, chance=chances)
def test_a_pause_keeps_its_bounds(history: list[float], look: Look, chance: float) -> None:
    """Not more often than the provider bears, not longer than the cap, and not past the deadline."""
    pause = pause_seconds(history, look, chance)
    assert look.shortest_seconds <= pause <= max(LONGEST_SECONDS, look.shortest_seconds)
    assert pause <= max(look.left_seconds, look.shortest_seconds)


@given(history=histories, elapsed=seconds, eta=st.floats(0, 1e4), more=st.floats(0, 1e4), chance=chances)
def test_a_longer_eta_never_means_an_earlier_look(
    history: list[float], elapsed: float, eta: float, more: float, chance: float
) -> None:
    """Whatever the history, a provider that says that it takes longer is left alone for as long or longer."""
    pauses = [pause_seconds(history, Look(elapsed, math.inf, eta_seconds=row), chance) for row in (eta, eta + more)]
    assert pauses[0] <= pauses[1] + 1e-3


@given(history=histories, elapsed=st.floats(0, 60), chance=chances)
def test_progress_brings_the_next_look_closer(history: list[float], elapsed: float, chance: float) -> None:
    """The more of a job is done at the same time, the sooner its end is expected."""
    pauses = [pause_seconds(history, Look(elapsed, math.inf, progress=row), chance) for row in (0.1, 0.5, 0.9)]
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(pauses))


@given(median=st.floats(0.1, 1000), sigma=st.floats(0.05, 2), elapsed=st.floats(0, 1000), price=st.floats(1e-3, 1))
def test_a_dearer_request_is_made_later(median: float, sigma: float, elapsed: float, price: float) -> None:
    """And the pause is that of the exact rule: a look comes when the expected unseen time reaches the price."""
    parts = (LogNormal(median, sigma),)
    pauses = [spacing_seconds(parts, elapsed, price * factor, 30) for factor in (1, 2, 4)]
    assert pauses == sorted(pauses)
    assert all(0 < pause <= 30 for pause in pauses)


def test_the_spacing_is_that_of_inspection_theory() -> None:
    """Where the hazard h stands nearly still, looks are sqrt(2c / h) apart."""
    parts, price = (LogNormal(20, 0.5),), 0.0001
    density = 1 / (20 * 0.5 * math.sqrt(2 * math.pi))
    hazard = density / 0.5
    assert spacing_seconds(parts, 20, price, 30) == pytest.approx(math.sqrt(2 * price / hazard), rel=0.02)


def test_a_job_of_an_unknown_kind_is_looked_at_early_and_then_every_two_seconds() -> None:
    """Jobs that are done at once are seen within a third of a second, and a long one costs few requests more."""
    assert [watch(length, learned((), seeded(1))).requests for length in (0.0, 0.2)] == [0, 1]
    assert watch(0.2, lambda now: pause_seconds((), Look(now, math.inf), 0.5)).lag_seconds < 0.15
    assert watch(60, lambda now: pause_seconds((), Look(now, math.inf), 0.5)).requests <= 60 / 2 + 6


@pytest.mark.parametrize("workload", WORKLOADS)
def test_without_history_lag_is_below_that_of_every_two_seconds(workload: str) -> None:
    """Before anything was learned, nobody waits longer than with fixed polling, for at most a few requests more."""
    ours = [watch(WORKLOADS[workload](chance), learned((), chance)) for chance in map(seeded, range(500))]
    theirs = fixed(WORKLOADS[workload], 2000, seeded(2), 2.0)
    assert mean_lag(ours) < mean_lag(theirs)
    assert mean_requests(ours) < mean_requests(theirs) * 1.15 + 3


def test_after_ten_jobs_a_short_one_is_seen_within_a_tenth_of_a_second() -> None:
    """The sweep of 2.05 to 3.81 seconds: mean lag and requests over many histories of ten jobs."""
    found = [series(WORKLOADS["sweep 2.05-3.81 s"], 12, seeded(seed))[10:] for seed in range(40)]
    assert fmean(map(mean_lag, found)) < 0.085
    assert fmean(map(mean_requests, found)) <= 10


def test_at_twenty_seconds_lag_is_half_of_that_of_fixed_polling_with_as_many_requests() -> None:
    """Learned from fifty jobs with a spread of 0.3; the fixed interval is the one that takes as many requests."""
    draw = WORKLOADS["20 s, spread 0.3"]
    ours = [row for seed in range(8) for row in series(draw, 100, seeded(seed))[50:]]
    interval = fmean(draw(seeded(seed)) for seed in range(2000)) / (mean_requests(ours) - 0.5)
    theirs = fixed(draw, 4000, seeded(1), interval)
    assert mean_requests(theirs) == pytest.approx(mean_requests(ours), rel=0.03)
    assert mean_lag(ours) < 0.5 * mean_lag(theirs)
    assert mean_requests(ours) < 8


@pytest.mark.parametrize(("now_seconds", "most_requests", "most_lag"), [(20, 30, 0.8), (4, 3, 2.0), (60, 70, 3.0)])
def test_a_provider_that_changed_is_noticed(now_seconds: float, most_requests: float, most_lag: float) -> None:
    """Fifty jobs took 8 s; the next ones cost few requests and are found soon, and a dozen later all is learned."""
    found: list[list[Found]] = []
    for seed in range(12):
        chance = seeded(seed)
        history = [lognormal(8, 0.3)(chance) for _ in range(50)]
        found.append(series(lognormal(now_seconds, 0.3), 12, chance, history))
    assert fmean(rows[0].requests for rows in found) <= most_requests
    assert fmean(rows[0].lag_seconds for rows in found) <= most_lag
    assert fmean(rows[-1].lag_seconds for rows in found) <= max(0.06 * now_seconds, 0.5)


TELLS: Mapping[str, Callable[[float, float], tuple[float | None, float | None]]] = {
    "nothing": lambda _now, _length: (None, None),
    "the truth": lambda now, length: (max(length - now, 0.0), None),
    "whole seconds, rounded down": lambda now, length: (math.floor(max(length - now, 0.0)), None),
    "whole seconds, rounded up": lambda now, length: (math.ceil(max(length - now, 0.0)), None),
    "how much is done": lambda now, length: (None, min(now / length, 1.0)),
    "how much is done, in tenths": lambda now, length: (None, math.floor(10 * min(now / length, 1.0)) / 10),
    "half of the time": lambda now, length: (max(length / 2 - now, 0.0), None),
    "always at once": lambda _now, _length: (0.0, None),
    "always a second": lambda _now, _length: (1.0, None),
    "always nearly done": lambda _now, _length: (None, 0.99),
    "done for long": lambda _now, _length: (None, 1.0),
}
"""Remaining seconds and progress as providers tell them, by the seconds that passed and that the job takes."""
MOST_LAG: Mapping[str, float] = {"nothing": 1.0, "half of the time": 1.3, "always at once": 1.3, "always a second": 1.3}
"""Where a provider tells nothing, or what is not so; all others are believed to good purpose."""


@pytest.mark.parametrize("seconds", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("tells", TELLS)
def test_e6_a_job_without_history_is_looked_at_a_few_times(tells: str, seconds: float) -> None:
    """E6: 8 times before 3 s, 12 times before 10 s and 14 times before 20 s at most, whatever the provider tells."""
    lags: list[float] = []
    for seed in range(100):
        chance = seeded(seed)
        length = seconds * (0.9 + 0.2 * chance.random())

        def pause(now: float, looks: int, length: float = length, chance: Random = chance) -> float:
            eta, progress = TELLS[tells](now, length)
            return pause_seconds((), Look(now, math.inf, eta, progress, looks=looks), chance.random())

        found = [*looks_at(length, pause)]
        times = [row.lag_seconds + length for row in found]
        counted = [sum(time < before for time in times) for before in (3, 10, 20)]
        assert all(count <= most for count, most in zip(counted, (8, 12, 14), strict=True)), times
        lags.append(found[-1].lag_seconds)
    wrong = tells in {"always nearly done", "done for long"}
    assert fmean(lags) < (1.3 if wrong else MOST_LAG.get(tells, 0.5))


def _lag_when_told(eta_of: Callable[[float], float]) -> float:
    """Mean lag of jobs of an unknown kind; `eta_of` maps the seconds that are left to what the provider says."""

    def lag(seed: int) -> float:
        chance = seeded(seed)
        length = lognormal(20, 0.8)(chance)
        return watch(
            length,
            lambda now: pause_seconds((), Look(now, math.inf, eta_seconds=eta_of(length - now)), chance.random()),
        ).lag_seconds

    return fmean(map(lag, range(60)))


def test_a_provider_that_knows_its_time_is_believed() -> None:
    """A true eta halves the lag of a job of an unknown kind; one that never changes costs no more than seconds."""
    assert _lag_when_told(lambda left: left) < 0.45
    assert _lag_when_told(lambda _: 20.0) < 2.5
    assert _lag_when_told(lambda _: 0.0) < 0.6


def test_a_few_jobs_are_no_history() -> None:
    """Up to a number of jobs, the pauses are those of an unknown kind."""
    look = Look(0.0, math.inf)
    assert pause_seconds([30.0] * (FEWEST_JOBS - 1), look, 0.5) == pause_seconds((), look, 0.5)
    assert pause_seconds([30.0] * FEWEST_JOBS, look, 0.5) > 10 * pause_seconds((), look, 0.5)
