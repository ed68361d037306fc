"""Restarts: how long a worker that ended stays away, so that one that cannot live does not spin."""

from __future__ import annotations

__all__ = ["Restarts"]

FIRST_SECONDS = 0.5
MAX_SECONDS = 30.0
# Who lived for so long is no longer in a row of crashes.
STEADY_SECONDS = 60.0


class Restarts:
    """The ends in a row of one worker."""

    def __init__(self) -> None:
        self._bound = FIRST_SECONDS

    def delay(self, lived_seconds: float, chance: float) -> float:
        """Return the seconds until the next start, after a life of *lived_seconds*.

        The bound doubles with each end in a row, and the delay is anywhere below it: *chance* is in [0, 1).
        """
        if lived_seconds >= STEADY_SECONDS:
            self._bound = FIRST_SECONDS
        delay = self._bound * chance
        self._bound = min(MAX_SECONDS, self._bound * 2)
        return delay
