"""The generic cell rate: how often each of many may do something, in one float for each.

The float is the time at which everything taken is paid for. Who may do n things at once and r a second is
paid up at the latest n / r seconds after the last of them, and then as good as never seen: so two
generations of such a span hold all that says anything, and an idle one costs nothing.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

__all__ = ["Rates"]

K = TypeVar("K")

# Seconds; sums of floats are not exact.
_ROUNDING = 1e-6


class Rates(Generic[K]):
    """Gives each key *burst* at once and *rate* a second; a rate of 0 is no limit.

    In any span of t seconds a key is given at most `burst + rate * t`. At *capacity* keys of one generation
    the one before is forgotten early, which is in the favour of those.
    """

    def __init__(self, rate: float, burst: float, capacity: float = math.inf) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._span = burst * self._interval
        self._burst = burst
        self._capacity = capacity
        self._recent: dict[K, float] = {}
        self._older: dict[K, float] = {}
        self._until = 0.0

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._recent.keys() | self._older.keys())

    def wait(self, key: K, now: float, cost: float = 1.0) -> float:
        """Return the seconds until *key* may take *cost*; 0 where it may now, and nothing is taken yet.

        What costs more than the burst would never be given, and costs the burst.
        """
        paid_at = self._recent.get(key) or self._older.get(key)
        if paid_at is None or paid_at <= now:
            return 0.0
        wait = paid_at - now - self._span + min(cost, self._burst) * self._interval
        return wait if wait > _ROUNDING else 0.0

    def take(self, key: K, now: float, cost: float = 1.0) -> None:
        """Take *cost* for *key*, who does not have to wait."""
        if not self._interval:
            return
        if now >= self._until or len(self._recent) >= self._capacity:
            self._begin(now)
        paid_at = self._recent.get(key) or self._older.get(key, now)
        self._recent[key] = max(paid_at, now) + min(cost, self._burst) * self._interval

    def sweep(self, now: float) -> None:
        """Let go of those who have paid, also where nobody takes anything any more."""
        if now >= self._until and (self._recent or self._older):
            self._begin(now)

    def forget(self, key: K) -> None:
        """Let go of *key*, who does not come back."""
        self._recent.pop(key, None)
        self._older.pop(key, None)

    def _begin(self, now: float) -> None:
        """Begin another generation."""
        self._older, self._recent = self._recent, {}
        self._until = now + self._span
