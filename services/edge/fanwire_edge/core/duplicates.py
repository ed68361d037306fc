"""Duplicates: events that a publisher wrote again because it never saw the first answer (PROTOCOL §6).

Theory of operation. An entry is a copy where the same event stands in the topic's log already, at most the
window's length before it, delivered or a copy itself. So what becomes of an entry depends on nothing but
the log of the window before it, and every edge, live or replaying, whenever it started, comes to the same
answer. The window is measured in the log's own time. What is kept of an event is its tenant and id, or a
digest where they are long, and its places; generations are dropped whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from hashlib import blake2b
from typing import Protocol

from fanwire_edge.core.stream import Stream

__all__ = ["Duplicates", "Known", "Seen", "digest_of", "number_of", "shortened"]

_GENERATIONS = 4
_SEQUENCE_BITS = 20
_MAX_SEQUENCE = (1 << _SEQUENCE_BITS) - 1
# No window is shorter than a second.
_SHORTEST = 1000 << _SEQUENCE_BITS
# A tenant and a UUID fit.
_MAX_DIGEST_BYTES = 80


def digest_of(tenant: str | None, event_id: str) -> bytes:
    """Return what stands for an event."""
    return shortened(f"{tenant or ''}\0{event_id}".encode())


def shortened(name: bytes) -> bytes:
    """Return what stands for an event whose tenant and id are *name*, with a zero byte between them.

    A long one becomes a digest of 128 bits behind a byte with which no text begins.
    """
    if len(name) <= _MAX_DIGEST_BYTES:
        return name
    return b"\xff" + blake2b(name, digest_size=16).digest()


def number_of(time_ms: int, sequence: int = 0) -> int:
    """Return the place of an entry as one number, in the order of its stream."""
    return time_ms << _SEQUENCE_BITS | min(sequence, _MAX_SEQUENCE)


class Known(Protocol):
    """What remembers events."""

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        """Tell whether an entry of the event is remembered with start ≤ its number < stop."""


class Seen:
    """Events of a stretch of the log, each with the numbers of its entries.

    An entry between two others that are at most a second apart is left out: every window that it is in
    holds one of them too.
    """

    __slots__ = ("_later", "first")

    def __init__(self) -> None:
        self.first: dict[bytes, int] = {}
        self._later: dict[bytes, list[int]] = {}

    def __len__(self) -> int:
        return len(self.first)

    def add(self, digest: bytes, number: int) -> bool:
        """Remember an entry; tell whether it is the first of its event."""
        first = self.first.get(digest)
        if first is None:
            self.first[digest] = number
        elif first != number:
            self._add_later(self._later.setdefault(digest, []), first, number)
        return first is None

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        """Tell whether an entry of the event is remembered with start ≤ its number < stop.

        Where they are less than a second apart, one that was left out is not found.
        """
        first = self.first.get(digest)
        if first is None:
            return False
        later = self._later.get(digest, ())
        index = bisect_left(later, start)
        return start <= first < stop or (index < len(later) and later[index] < stop)

    @staticmethod
    def _add_later(later: list[int], first: int, number: int) -> None:
        before = later[-2] if len(later) > 1 else first
        if later and before < later[-1] <= number <= before + _SHORTEST:
            later[-1] = number
        elif (index := bisect_left(later, number)) == len(later) or later[index] != number:
            later.insert(index, number)

    def shares(self, other: Seen) -> bool:
        """Tell whether an event is in both."""
        return not self.first.keys().isdisjoint(other.first)


class _Window:
    """Events of the last *window_ms* of one stream, in generations with the time at which each was begun."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._generation_ms = max(1, window_ms // _GENERATIONS)
        self._generations: deque[tuple[int, Seen]] = deque()
        # The generation that is written into, and the time from which on it is too old for that.
        self.present = Seen()
        self.present_until = 0
        self._events: tuple[dict[bytes, int], ...] = ()

    def __len__(self) -> int:
        return sum(len(seen) for _, seen in self._generations)

    def has(self, digest: bytes) -> bool:
        """Tell whether an entry of the event is remembered."""
        for events in self._events:  # noqa: SIM110  # a generator costs more than the look
            if digest in events:
                return True
        return False

    def has_between(self, digest: bytes, start: int, stop: int) -> bool:
        return any(seen.has_between(digest, start, stop) for _, seen in self._generations)

    def renew(self, time_ms: int) -> int:
        """Begin a generation; return how many events were forgotten with old ones."""
        generations, forgotten = self._generations, 0
        generations.append((time_ms, Seen()))
        while time_ms - generations[0][0] > self._window_ms + self._generation_ms:
            forgotten += len(generations.popleft()[1])
        self.present, self.present_until = generations[-1][1], time_ms + self._generation_ms
        self._events = tuple(seen.first for _, seen in generations)
        return forgotten

    def forget_oldest(self) -> int:
        """Drop a generation, if there is one, and return how many events were in it."""
        if not self._generations:
            return 0
        forgotten = len(self._generations.popleft()[1])
        self._events = self._events[1:]
        if not self._generations:
            self.present_until = 0
        return forgotten


class Duplicates:
    """Events of the last *seconds* of every stream, at most about *max_events* of them.

    Each stream has a window of its own, since one may be read far behind the others.
    """

    def __init__(self, seconds: int, max_events: int) -> None:
        self.window_ms = seconds * 1000
        self._max_events = max_events
        self._windows: dict[Stream, _Window] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, stream: Stream) -> Known:
        """Return what is known of *stream*."""
        return self._window(stream)

    def is_repeated(self, stream: Stream, digest: bytes, time_ms: int, sequence: int) -> bool:
        """Tell whether the event stands in the stream before this entry, within the window; remember it.

        To ask for the same entry again changes nothing.
        """
        window = self._windows.get(stream) or self._window(stream)
        number = time_ms << _SEQUENCE_BITS | min(sequence, _MAX_SEQUENCE)
        # Hardly ever is there anything to ask the generations for.
        is_repeated = window.has(digest) and window.has_between(
            digest, number_of(time_ms - self.window_ms), number
        )
        if self._count >= self._max_events:
            self._count -= max(self._windows.values(), key=len).forget_oldest()
        if time_ms >= window.present_until:
            self._count -= window.renew(time_ms)
        self._count += window.present.add(digest, number)
        return is_repeated

    def clear(self) -> None:
        """Forget everything: the log is another one."""
        self._windows.clear()
        self._count = 0

    def _window(self, stream: Stream) -> _Window:
        window = self._windows.get(stream)
        if window is None:
            self._windows[stream] = window = _Window(self.window_ms)
        return window
