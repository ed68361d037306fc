"""Attempts: how often each address tried to come in within the last while.

All edges count together in Redis. Here stands who is known to have had all of its attempts, so that it is
refused at no cost, and what this edge counted itself while Redis could not be asked.
"""

from __future__ import annotations

__all__ = ["Attempts"]

SECONDS = 60.0
MAX_ADDRESSES = 65_536


class Attempts:
    """So many attempts of an address in *seconds*, from its first one on.

    At *capacity* addresses those are forgotten whose time is over; where that is nobody's, all are.
    """

    def __init__(self, limit: int, seconds: float = SECONDS, capacity: int = MAX_ADDRESSES) -> None:
        self._limit = limit
        self._seconds = seconds
        self._capacity = capacity
        self._over_until: dict[str, float] = {}
        self._counts: dict[str, tuple[int, float]] = {}

    def wait(self, address: str, now: float) -> float:
        """Return for how many seconds *address* is known to be refused, 0 where it is not."""
        until = self._over_until.get(address)
        if until is None:
            return 0.0
        if until <= now:
            del self._over_until[address]
            return 0.0
        return until - now

    def block(self, address: str, now: float, seconds: float) -> None:
        """Take note that *address* has had all of its attempts for so many seconds."""
        if len(self._over_until) >= self._capacity:
            self._over_until = {each: until for each, until in self._over_until.items() if until > now}
            if len(self._over_until) >= self._capacity:
                self._over_until.clear()
        self._over_until[address] = now + seconds

    def count(self, address: str, now: float) -> float:
        """Count an attempt here, and return for how many seconds it is refused, 0 where it is not."""
        if len(self._counts) >= self._capacity:
            self._counts = {each: count for each, count in self._counts.items() if count[1] > now}
            if len(self._counts) >= self._capacity:
                self._counts.clear()
        number, until = self._counts.get(address, (0, now + self._seconds))
        if until <= now:
            number, until = 0, now + self._seconds
        self._counts[address] = number + 1, until
        return until - now if number >= self._limit else 0.0
