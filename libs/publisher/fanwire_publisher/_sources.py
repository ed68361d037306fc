"""Time and chance, which come in as arguments so that tests can set them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Sources"]

_BACKOFF_FIRST_SECONDS = 0.05
_BACKOFF_MOST_SECONDS = 1.0
_BACKOFF_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Sources:
    """Where time and chance come from: seconds since the epoch, seconds that never jump, random bytes."""

    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return int(self.clock() * 1000)

    def backoff_seconds(self, attempt: int) -> float:
        """Return how long to wait after the *attempt*-th failure, counted from 0: full jitter, capped."""
        most: float = _BACKOFF_FIRST_SECONDS * 2 ** min(attempt, _BACKOFF_DOUBLINGS)
        fraction: float = int.from_bytes(self.random(4), "big") / 2**32
        return min(most, _BACKOFF_MOST_SECONDS) * fraction
