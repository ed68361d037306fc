"""A circuit breaker: when a service that does not answer is left alone, and when it is tried again."""

from __future__ import annotations

__all__ = ["Breaker"]


class Breaker:
    """Opens after *failures* in a row, for *seconds*; then one request at a time tries whether it may close.

    Whoever asks the service calls `enter` first, and one of the other three with what `enter` gave at the
    end. What was begun before the last change of state says nothing about the state since.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._failures = failures
        self._seconds = seconds
        self._in_a_row = 0
        # The end of the time in which nothing is tried; None while closed.
        self._open_until: float | None = None
        self._is_probing = False
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether the last that is known of the service is that it does not answer."""
        return self._open_until is not None

    def enter(self, now: float) -> int | None:
        """Return what to end the request with, or None where the service is not to be asked at *now*."""
        if self._open_until is not None:
            if self._is_probing or now < self._open_until:
                return None
            self._is_probing = True
        return self._era

    def succeeded(self, entered: int) -> None:
        """Take note of an answer."""
        if entered != self._era:
            return
        self._in_a_row = 0
        if self._open_until is not None:
            self._turn(None)

    def failed(self, entered: int, now: float) -> None:
        """Take note that the service did not answer, at *now*."""
        if entered != self._era:
            return
        self._in_a_row += 1
        if self._open_until is not None or self._in_a_row >= self._failures:
            self._turn(now + self._seconds)

    def gave_up(self, entered: int) -> None:
        """Take note of a request that says nothing of the service: it was cancelled, or never sent."""
        if entered == self._era:
            self._is_probing = False

    def _turn(self, open_until: float | None) -> None:
        self._open_until = open_until
        self._is_probing = False
        self._in_a_row = 0
        self._era += 1
