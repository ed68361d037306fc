"""Something that others publish: when it is fetched again, and for how long what was fetched serves."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Freshness", "Lifetimes"]

# How much earlier than it must be a fetch may come, so that many edges do not come together.
EARLY = 0.2
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds until it is fetched again, that it serves at most, and between two fetches out of turn."""

    max_age: float
    max_stale: float
    cooldown: float


class Freshness:
    """Keeps the time for one thing. Every *chance* is in [0, 1)."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._fetched_at: float | None = None
        self._due_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._asked_at: float | None = None
        # Whether the last fetch failed.
        self.is_failing = False

    def fetched(self, now: float, chance: float) -> None:
        """Take note that it was fetched at *now*."""
        self._fetched_at = now
        self._due_at = now + self._lifetimes.max_age * (1 - EARLY * chance)
        self._pause = FIRST_PAUSE_SECONDS
        self.is_failing = False

    def failed(self, now: float, chance: float) -> None:
        """Take note that it could not be fetched at *now*; pauses double, and are not all the same."""
        self._due_at = now + self._pause * (1 + chance) / 2
        self._pause = min(MAX_PAUSE_SECONDS, self._lifetimes.max_age, self._pause * 2)
        self.is_failing = True

    def due_in(self, now: float) -> float:
        """Return the seconds until it is to be fetched."""
        return max(0.0, self._due_at - now)

    def serves(self, now: float) -> bool:
        """Whether it was fetched, and not too long ago."""
        return self._fetched_at is not None and now <= self._fetched_at + self._lifetimes.max_stale

    def may_ask(self, now: float) -> bool:
        """Whether it may be fetched out of turn at *now*; that is then taken for asked."""
        if self._asked_at is not None and now < self._asked_at + self._lifetimes.cooldown:
            return False
        self._asked_at = now
        return True
