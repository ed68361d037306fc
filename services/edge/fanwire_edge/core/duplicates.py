"""Duplicates: events that a publisher wrote again because it never saw the first answer (PROTOCOL §6).

Theory of operation. An entry is a copy where the same event stands in the topic's log already, at most the
window's length before it, delivered or a copy itself. So what becomes of an entry depends on nothing but
the log of the window before it, and every edge, live or replaying, whenever it started, comes to the same
answer. The window is measured in the log's own time. What is kept of an event is a digest of 128 bits and
its places; generations are dropped whole.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Protocol

__all__ = ["Duplicates", "Known", "Seen", "digest_of", "number_of"]

_GENERATIONS = 4
_SEQUENCE_BITS = 20
_MAX_SEQUENCE = (1 << _SEQUENCE_BITS) - 1


def digest_of(topic: str, tenant: str | None, event_id: str) -> bytes:
    """Return what stands for an event of *topic*."""
    return blake2b(f"{topic}\0{tenant or ''}\0{event_id}".encode(), digest_size=16).digest()


def number_of(time_ms: int, sequence: int = 0) -> int:
    """Return the place of an entry as one number, in the order of its stream."""
    return time_ms << _SEQUENCE_BITS | min(sequence, _MAX_SEQUENCE)


class Known(Protocol):
    """What remembers events."""

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        """Tell whether an entry of the event is remembered with start ≤ its number < stop."""


class Seen:
    """Events of a stretch of the log, each with the numbers of its first and its last entry."""

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        self._last: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._first)

    def add(self, digest: bytes, number: int) -> None:
        """Remember an entry; those of one event come in the order of the log."""
        if self._first.setdefault(digest, number) != number:
            self._last[digest] = number

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        """Tell whether an entry of the event is remembered with start ≤ its number < stop."""
        first = self._first.get(digest)
        if first is None:
            return False
        return start <= first < stop or start <= self._last.get(digest, first) < stop

    def shares(self, other: Seen) -> bool:
        """Tell whether an event is in both."""
        return not self._first.keys().isdisjoint(other._first)


class Duplicates:
    """Events of the last *seconds* of every topic, at most about *max_events* of them."""

    def __init__(self, seconds: int, max_events: int) -> None:
        self.window_ms = seconds * 1000
        self._generation_ms = max(1, self.window_ms // _GENERATIONS)
        self._max_events = max_events
        # Each with the time at which it was begun.
        self._generations: deque[tuple[int, Seen]] = deque()

    def __len__(self) -> int:
        return sum(len(seen) for _, seen in self._generations)

    def is_repeated(self, digest: bytes, time_ms: int, sequence: int) -> bool:
        """Tell whether the event stands in the log before this entry, within the window; remember it.

        To ask for the same entry again changes nothing.
        """
        number = number_of(time_ms, sequence)
        is_repeated = self.has_between(digest, number_of(time_ms - self.window_ms), number)
        self._generation(time_ms).add(digest, number)
        return is_repeated

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        """Tell whether an entry of the event is remembered with start ≤ its number < stop."""
        return any(seen.has_between(digest, start, stop) for _, seen in self._generations)

    def clear(self) -> None:
        """Forget everything: the log is another one."""
        self._generations.clear()

    def _generation(self, time_ms: int) -> Seen:
        """Return the generation to write into, and drop those that are out of the window or the bound."""
        generations = self._generations
        if not generations or time_ms - generations[-1][0] >= self._generation_ms:
            generations.append((time_ms, Seen()))
        while generations[-1][0] - generations[0][0] > self.window_ms + self._generation_ms:
            generations.popleft()
        if len(self) >= self._max_events:
            generations.popleft()
            if not generations:
                generations.append((time_ms, Seen()))
        return generations[-1][1]
