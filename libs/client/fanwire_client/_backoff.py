"""How long to wait before the next connection: exponential, with full jitter."""

from __future__ import annotations

__all__ = ["Backoff"]

_MOST_DOUBLINGS = 16


class Backoff:
    """Waiting times between attempts.

    The window doubles from *shortest_seconds* to *longest_seconds* with every attempt that fails, and is
    never narrower than what the server told for this absence: a restart of an edge with many clients
    needs more room than one client would guess. The wait is drawn from the whole window.
    """

    def __init__(self, shortest_seconds: float = 0.5, longest_seconds: float = 30.0) -> None:
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._told = 0.0
        self._failures = 0

    def succeed(self) -> None:
        """Begin anew: a connection was established."""
        self._told = 0.0
        self._failures = 0

    def next_delay(self, random: float, after_seconds: float = 0.0, window_seconds: float = 0.0) -> float:
        """Return the seconds to wait: at least *after_seconds*, and *random* (0 to 1) of the window more."""
        self._told = max(self._told, window_seconds)
        window = max(self._told, min(self._longest, self._shortest * float(1 << self._failures)))
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        return after_seconds + random * window
