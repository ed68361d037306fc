"""Lines that wait to be written: bounded in number and in bytes, and what did not fit is counted."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

__all__ = ["Backlog"]


class Backlog:
    """Holds at most *max_lines* lines of *max_bytes* together; the newest are refused."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._size_bytes = 0
        self._lost = 0

    def __len__(self) -> int:
        """Return how many lines wait."""
        return len(self._lines)

    def add(self, line: bytes) -> bool:
        """Keep *line* behind the others and tell whether there was room for it."""
        if len(self._lines) >= self._max_lines or self._size_bytes + len(line) > self._max_bytes:
            self._lost += 1
            return False
        self._lines.append(line)
        self._size_bytes += len(line)
        return True

    def oldest(self, count: int) -> Sequence[bytes]:
        """Return the first *count* lines, which stay."""
        return list(itertools.islice(self._lines, count))

    def strike(self, count: int) -> None:
        """Forget the first *count* lines."""
        for _ in range(count):
            self._size_bytes -= len(self._lines.popleft())

    def take_lost(self) -> int:
        """Return how many lines were refused since this was last asked."""
        lost, self._lost = self._lost, 0
        return lost
