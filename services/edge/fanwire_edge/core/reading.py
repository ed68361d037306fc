"""Reading the log: how a connection that is behind gets its next bytes (DESIGN "Live or behind")."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fanwire_edge.core.fanout import BATCH_BYTES
from fanwire_edge.core.log import Log
from fanwire_edge.core.record import Record, Slot

__all__ = ["Portion", "next_portion"]

# Records looked at for one portion.
_MAX_RECORDS = 256


@dataclass(frozen=True, slots=True)
class Portion:
    """Frames in log order, and the number of the record from which the next portion goes on.

    `skipped` counts frames that a later one stands for.
    """

    data: bytes
    frames: int
    next: int
    skipped: int = 0


def next_portion(
    log: Log, keys: Collection[str], start: int, stop: int, wire: Callable[[Record, Slot], bytes]
) -> Portion:
    """Return what a connection on *keys* is due of the records start ≤ number < stop.

    Ends after a record with which 64 KB are reached, never inside of one. A frame for which *wire* gives
    no bytes is skipped: a later one stands for it, unless its record has a fault.
    """
    found = log.read(keys, start, stop, _MAX_RECORDS)
    wanted = frozenset(keys)
    frames: list[bytes] = []
    size = skipped = 0
    for record in found.records:
        if size >= BATCH_BYTES:
            return _portion(frames, record.seq, skipped)
        due = [wire(record, slot) for slot in record.slots if not wanted.isdisjoint(slot.keys)]
        frames += filter(None, due)
        size += sum(map(len, due))
        skipped += due.count(b"") if record.fault is None else 0
    return _portion(frames, found.next, skipped)


def _portion(frames: list[bytes], next: int, skipped: int) -> Portion:
    return Portion(b"".join(frames), len(frames), next, skipped)
