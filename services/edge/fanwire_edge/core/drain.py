"""The plan of a drain: when each connection is told to go, and when it may come back.

All times are seconds after the drain began. First comes the grace, in which load balancers notice that the
edge is not ready and nothing else changes. Then goodbyes are said one after the other, at an even pace, so
that the other edges never see more clients a second than that; retry delays spread them further. Whoever
is still there when the time is over is told and aborted: set the pace to what an edge holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["DrainLimits", "retry_after_ms"]


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """Goodbyes a second; seconds before the first, and for all together.

    A drain of zero seconds is over at once. A grace takes at most the first half of a short drain.
    """

    per_second: float
    grace_seconds: float
    seconds: float

    @property
    def first_at(self) -> float:
        """When the first goodbye is said."""
        return min(self.grace_seconds, self.seconds / 2)

    def goodbye_at(self, index: int) -> float:
        """Return when the connection *index*, counted from 0, is told to go, if time allows."""
        return self.first_at + index / self.per_second


def retry_after_ms(window_ms: int, random: Callable[[], float]) -> int:
    """Return a delay within the *window_ms* that clients were told of; *random* is in [0, 1)."""
    return int(window_ms * random())
