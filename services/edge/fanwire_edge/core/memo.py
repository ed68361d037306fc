"""What was found out a moment ago, so that it need not be asked again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Memo"]

V = TypeVar("V")


class Memo(Generic[V]):
    """Values under hashes, each until a time of its own; the one that was not needed longest goes first."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._kept: OrderedDict[bytes, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: bytes, value: V, now: float, until: float) -> None:
        """Keep *value* until *until*, which may be over already."""
        self._kept.pop(key, None)
        if until <= now:
            return
        self._kept[key] = value, until
        if len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)

    def recall(self, key: bytes, now: float) -> V | None:
        """Return what is kept under *key*, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, until = found
        if until <= now:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value
