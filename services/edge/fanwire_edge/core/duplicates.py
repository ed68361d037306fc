"""Duplicates: events that a publisher wrote again because it never saw the first answer (PROTOCOL §6).

The window is measured in the log's own time, so that every edge, live or replaying, comes to the same
answer. What is kept of an event is a digest of 128 bits and a time; generations are dropped whole.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

__all__ = ["Duplicates"]

_GENERATIONS = 4


class Duplicates:
    """Events of the last *seconds* of every topic, at most *max_events* of them."""

    def __init__(self, seconds: int, max_events: int) -> None:
        self.seconds = seconds
        self._window_ms = seconds * 1000
        self._generation_ms = max(1, self._window_ms // _GENERATIONS)
        self._max_events = max_events
        # Digests with the time of the first copy; a generation with the time at which it was begun.
        self._generations: deque[tuple[int, dict[bytes, int]]] = deque()

    def __len__(self) -> int:
        return sum(len(seen) for _, seen in self._generations)

    def is_repeated(self, topic: str, tenant: str | None, event_id: str, time_ms: int) -> bool:
        """Tell whether the event stands in the topic's log already, within the window; remember it.

        *time_ms* is that of the entry's id.
        """
        digest = _digest(topic, tenant, event_id)
        for _, seen in self._generations:
            first_ms = seen.get(digest)
            if first_ms is not None and abs(time_ms - first_ms) <= self._window_ms:
                return True
        self._generation(time_ms)[digest] = time_ms
        return False

    def has_earlier(self, topic: str, tenant: str | None, event_id: str, time_ms: int) -> bool:
        """Tell whether a copy that is older than *time_ms*, within the window, is remembered."""
        digest = _digest(topic, tenant, event_id)
        for _, seen in self._generations:
            first_ms = seen.get(digest)
            if first_ms is not None and 0 < time_ms - first_ms <= self._window_ms:
                return True
        return False

    def _generation(self, time_ms: int) -> dict[bytes, int]:
        """Return the generation to write into, and drop those that are out of the window or the bound."""
        generations = self._generations
        if not generations or time_ms - generations[-1][0] >= self._generation_ms:
            generations.append((time_ms, {}))
        while generations[-1][0] - generations[0][0] > self._window_ms + self._generation_ms:
            generations.popleft()
        if len(self) >= self._max_events:
            if len(generations) > 1:
                generations.popleft()
            else:
                generations[0][1].clear()
        return generations[-1][1]


def _digest(topic: str, tenant: str | None, event_id: str) -> bytes:
    return blake2b(f"{topic}\0{tenant or ''}\0{event_id}".encode(), digest_size=16).digest()
