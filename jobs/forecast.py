"""When a job will be done, as a distribution of durations, and how long looking at it can be put off.

Looking costs a request, not looking costs the time that a finished result lies unseen. Inspection theory (Barlow,
Hunter and Proschan, 1963) balances the two: with a hazard h and a price of c seconds for a request, the best spacing
of looks is sqrt(2c / h). The rule here is the same without the assumption that h stands still until the next look:
look when the time that the result is expected to have lain unseen reaches c.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
