"""The plan of a drain: when each connection is told to go, and when it may come back.

All times are seconds after the drain began. First comes the grace, in which load balancers notice that the
edge is not ready and nothing else changes. Then goodbyes are said one after the other, at an even pace, so
that the other edges never see more clients a second than that; retry delays spread them further. The last
part belongs to the answers of those who were told last. Whoever is still there at the end is aborted.

Where the pace would not bring everyone through in time, it is as much faster as it must be: a client that
is told comes back at a moment of our choice, one that is only cut off does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["DrainLimits", "DrainPlan", "plan_drain", "retry_after_ms"]


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """Goodbyes a second; seconds before the first, for all together, and left for the last answer.

    A drain of zero seconds is over at once. A grace takes at most the first half of a short drain, and the
    last answer at most half of what then remains.
    """

    per_second: float
    grace_seconds: float
    seconds: float
    answer_seconds: float

    @property
    def first_at(self) -> float:
        """When the first goodbye is said."""
        return min(self.grace_seconds, self.seconds / 2)

    @property
    def last_at(self) -> float:
        """When the last goodbye must have been said."""
        remaining = self.seconds - self.first_at
        return self.seconds - min(self.answer_seconds, remaining / 2)


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """Goodbyes at an even pace; `is_hurried` where that is faster than was asked for."""

    first_at: float
    per_second: float
    is_hurried: bool

    def goodbye_at(self, index: int) -> float:
        """Return when the connection *index*, counted from 0, is told to go."""
        return self.first_at + index / self.per_second


def plan_drain(connections: int, limits: DrainLimits) -> DrainPlan:
    """Return the plan for so many *connections*; the limit in time holds before the pace does."""
    window = limits.last_at - limits.first_at
    # Compared without a division, since there is no window in a drain of zero seconds.
    if connections <= limits.per_second * window or connections <= 1:
        return DrainPlan(limits.first_at, limits.per_second, is_hurried=False)
    pace = connections / window if window > 0 else float("inf")
    return DrainPlan(limits.first_at, pace, is_hurried=True)


def retry_after_ms(window_ms: int, random: Callable[[], float]) -> int:
    """Return a delay within the *window_ms* that clients were told of; *random* is in [0, 1)."""
    return int(window_ms * random())
