"""When the server is asked again for what it refused for now."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from fanwire_client._effects import Postponed

__all__ = ["Agenda"]

# Rounds that are due at nearly the same time become so at the same time, and share commands.
_TICK_SECONDS = 0.25


class Agenda:
    """The rounds that wait, and when each is due, in seconds of one clock.

    *random* (0 to 1) chooses within each one's window, so that clients that were refused together do not
    come back together.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._entries: list[tuple[float, int]] = []

    @property
    def next_due(self) -> float:
        """When the first one is due; infinite where none waits."""
        return self._entries[0][0] if self._entries else math.inf

    def add(self, told: Postponed, now: float) -> float:
        """Note a round that was postponed *now*; return after how many seconds it is due."""
        due = now + told.after_seconds + self._random() * told.window_seconds
        due = math.ceil(due / _TICK_SECONDS) * _TICK_SECONDS
        heapq.heappush(self._entries, (due, told.number))
        return due - now

    def take(self, now: float) -> list[int]:
        """Return the numbers of those that are due by *now*; they wait no more."""
        found = []
        while self.next_due <= now:
            found.append(heapq.heappop(self._entries)[1])
        return found

    def clear(self) -> None:
        """Forget all of it."""
        self._entries.clear()
