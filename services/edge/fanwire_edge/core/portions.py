"""Portions: frames that were joined for one reader and are the same for the next.

After an edge was lost its clients come back together, on the same channels and with the same positions.
What one of them is given of the log is then what the others are given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TypeAlias

from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

__all__ = ["PortionKey", "Portions", "Shared"]

_MAX_BYTES = 8 * 1024 * 1024
# What a portion costs besides its frames, and what each channel of its key does.
_PORTION_BYTES = 500
_CHANNEL_BYTES = 100

# The channels, the first, the last and the number of the records that are due on them, and what gives their
# bytes, which is the same for connections of one dialect.
PortionKey: TypeAlias = tuple[Set[str], Stream, Position, Position, int, Callable[[Record, Slot], bytes]]


@dataclass(frozen=True, slots=True)
class Shared:
    """Frames, how many of the records they took, and how many frames were left out as replaced."""

    data: bytes
    frames: int
    records: int
    skipped: int = 0


class Portions:
    """The most recently used portions, 8 MB of them at most; the newest is kept whatever its size."""

    def __init__(self) -> None:
        self._portions: OrderedDict[PortionKey, Shared] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: PortionKey) -> Shared | None:
        """Return what was joined for the same records and channels."""
        found = self._portions.get(key)
        if found is not None:
            self._portions.move_to_end(key)
        return found

    def put(self, key: PortionKey, shared: Shared) -> None:
        """Keep what was just joined; nothing was there."""
        self._portions[key] = shared
        self.size_bytes += _size(key, shared)
        while self.size_bytes > _MAX_BYTES and len(self._portions) > 1:
            self.size_bytes -= _size(*self._portions.popitem(last=False))

    def clear(self) -> None:
        """Forget everything."""
        self._portions.clear()
        self.size_bytes = 0


def _size(key: PortionKey, shared: Shared) -> int:
    return len(shared.data) + _PORTION_BYTES + _CHANNEL_BYTES * len(key[0])
