"""A token bucket: how much may happen at once, and how often in the long run."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Holds *burst* tokens at most and gets *rate* new ones a second; both are above zero.

    It begins full. In any span of t seconds at most `burst + rate * t` tokens are given.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at: float | None = None

    def take(self, now: float) -> float | None:
        """Take a token at *now* and return None, or return the seconds until there is one again.

        A clock that goes backwards gives nothing.
        """
        if self._filled_at is None or now > self._filled_at:
            elapsed = 0.0 if self._filled_at is None else now - self._filled_at
            self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
            self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        return (1 - self._tokens) / self._rate
