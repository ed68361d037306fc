"""Leases in memory, for edges that are alone and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from fanwire_edge.core.attempts import Attempts

__all__ = ["MemoryLeases"]


class MemoryLeases:
    """Leases of *lease_seconds*, and *attempts* of an address a minute, by *clock*."""

    def __init__(self, clock: Callable[[], float], lease_seconds: float, attempts: int) -> None:
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._attempts = Attempts(attempts)
        # When each ends, by subject and name, and whom others have replaced.
        self._ends: dict[str, dict[str, float]] = {}
        self._replaced: dict[str, set[str]] = {}

    async def attempt(self, address: str) -> float:
        """Count an attempt."""
        return self._attempts.count(address, self._clock())

    async def take(self, subject: str, limit: int, name: str, replaced: str | None) -> float:
        """Take a lease."""
        now = self._clock()
        ends = {each: end for each, end in self._ends.get(subject, {}).items() if end > now}
        self._ends[subject] = ends
        if replaced is not None and replaced in ends:
            del ends[replaced]
            self._replaced.setdefault(subject, set()).add(replaced)
        elif len(ends) >= limit:
            return min(ends.values()) - now
        ends[name] = now + self._lease_seconds
        return 0.0

    async def renew(self, held: Mapping[str, Sequence[str]]) -> Collection[str]:
        """Renew leases."""
        end = self._clock() + self._lease_seconds
        lost: list[str] = []
        for subject, names in held.items():
            replaced = self._replaced.get(subject, set())
            lost += [name for name in names if name in replaced]
            self._ends.setdefault(subject, {}).update({name: end for name in names if name not in replaced})
        return lost

    def give_back(self, subject: str, name: str) -> None:
        """End a lease."""
        self._ends.get(subject, {}).pop(name, None)
        self._replaced.get(subject, set()).discard(name)

    async def run(self) -> None:
        """Wait for ever: there is nothing to do."""
        await asyncio.Event().wait()
