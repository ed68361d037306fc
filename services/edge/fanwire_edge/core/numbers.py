"""Numbers of records under one key of the log's index."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

__all__ = ["Numbers"]


class Numbers(list[int]):
    """Ascending numbers of records under one key; those before `head` are forgotten."""

    __slots__ = ("head",)

    def __init__(self) -> None:
        self.head = 0

    def trim(self) -> None:
        """Let go of what was forgotten; amortised constant time."""
        del self[: self.head]
        self.head = 0

    def between(self, start: int, stop: int) -> Iterable[int]:
        """Return those with start ≤ number < stop."""
        low = bisect_left(self, start, self.head)
        for index in range(low, len(self)):
            if self[index] >= stop:
                return
            yield self[index]

    def backwards(self, start: int, stop: int) -> Iterable[int]:
        """Return those with start ≤ number < stop, the greatest first."""
        low = bisect_left(self, start, self.head)
        high = bisect_left(self, stop, low)
        return (self[index] for index in range(high - 1, low - 1, -1))

    def count_between(self, start: int, stop: int) -> int:
        """Return how many `between` would give."""
        low = bisect_left(self, start, self.head)
        return bisect_left(self, stop, low) - low

    def slice(self, start: int, stop: int, at_most: int) -> Sequence[int]:
        """Return the first of `between`."""
        low = bisect_left(self, start, self.head)
        return self[low : min(low + at_most, bisect_left(self, stop, low))]

    def first_where(self, start: int, is_beyond: Callable[[int], bool], default: int) -> int:
        """Return the first number from *start* on that *is_beyond*, which holds for all later ones too."""
        low = bisect_left(self, start, self.head)
        index = bisect_left(self, True, low, key=is_beyond)
        return self[index] if index < len(self) else default

    def last_before(self, seq: int) -> int | None:
        """Return the greatest one below *seq*."""
        index = bisect_left(self, seq, self.head) - 1
        return self[index] if index >= self.head else None
