"""Events seen lately, by which a repeated one is known (PROTOCOL §6)."""

from __future__ import annotations

__all__ = ["Recent"]


class Recent:
    """The last *capacity* pairs of channel and event id; the oldest is forgotten first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._seen: dict[tuple[str | None, str], None] = {}

    def is_repeat(self, channel: str | None, event_id: str) -> bool:
        """Tell whether the pair was seen before, and remember it."""
        key = (channel, event_id)
        if key in self._seen:
            return True
        if len(self._seen) >= self._capacity:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = None
        return False
