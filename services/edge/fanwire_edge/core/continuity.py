"""Continuity: the proof that nothing was lost between two reads of a stream (DESIGN "Tail").

Theory of operation. A reader that asks for "everything after my cursor" cannot see that entries right
after the cursor were trimmed before it asked. So the cursor's own entry is looked for in the same
pipeline, behind the read (ADR 0006): where it is still there, trimming (which removes the oldest first)
had removed nothing after it. On a quiet topic the very XADD that wakes the reader may trim the cursor's
entry; then counting decides. A cursor knows how many entries had ever been added up to it (`count`). The
broker knows how many were ever removed. If both numbers are equal and the first entry left is younger
than the cursor, then exactly the entries up to the cursor are gone, and nothing after it. In any other
case the answer is a gap: better to tell of a loss that was none than to hide one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanwire_edge.core.stream import Entry, StreamInfo
from fanwire_protocol.position import BEGINNING

__all__ = ["Cursor", "is_continuous", "order_of"]


@dataclass(slots=True)
class Cursor:
    """How far a stream was read.

    `count` is the number of entries ever added up to and including `id`, None where unknown. `is_proven`
    tells whether the entry was seen in the broker since the cursor stands on it, or was found to be the last
    one when it was gone; `is_gone` whether the last look did not find it.
    """

    id: str = BEGINNING
    count: int | None = 0
    is_proven: bool = False
    is_gone: bool = False

    @classmethod
    def at_end(cls, info: StreamInfo) -> Cursor:
        """Return the cursor behind everything that the stream holds."""
        return cls(info.last_id, info.added)

    @classmethod
    def after_loss(cls, cursor: Cursor, info: StreamInfo) -> Cursor:
        """Return the cursor from which reading goes on where entries after *cursor* are lost.

        It stands on the first entry left, which itself belongs to the gap: a position is always the id of
        an entry, and the one before it is gone.
        """
        if info.first_id is not None and order_of(info.first_id) > order_of(cursor.id):
            removed = info.removed
            return cls(info.first_id, None if removed is None else removed + 1)
        return cls.at_end(info)

    def advance(self, entries: Sequence[Entry]) -> None:
        """Move behind *entries*, which follow the cursor without a hole."""
        self.id = entries[-1].id
        self.is_proven = self.is_gone = False
        if self.count is not None:
            self.count += len(entries)


def is_continuous(cursor: Cursor, entries: Sequence[Entry], info: StreamInfo) -> bool:
    """Tell whether *entries* directly follow a *cursor* whose own entry is gone.

    *info* was asked for after the entries were read, so some of them may have been trimmed since; those
    do not count as lost.
    """
    if cursor.count is None or info.removed is None:
        # A broker that cannot count; a stream never read before has lost nothing that anyone held.
        return cursor.id == BEGINNING
    first = None if info.first_id is None else order_of(info.first_id)
    if first is not None and first <= order_of(cursor.id):
        return False
    trimmed_since = sum(1 for entry in entries if first is None or order_of(entry.id) < first)
    return info.removed == cursor.count + trimmed_since


def order_of(entry_id: str) -> tuple[int, int]:
    """Return the numbers by which Redis orders entry ids."""
    time_ms, sequence = entry_id.split("-")
    return int(time_ms), int(sequence)
