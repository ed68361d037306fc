"""The latest record of each key on each channel, for connections whose events are conflated (PROTOCOL §6).

An event with a `key` stands for those before it with the same one, on the same channel and of the same
topic: who is behind needs the last of them only. Kept in step with the log in memory, for those channels
alone whose policy asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import Stream

__all__ = ["KEY_BYTES", "Latest"]

# What one key on one channel costs, beside the record.
KEY_BYTES = 250

Wire: TypeAlias = Callable[[Record, Slot], bytes]
_Place: TypeAlias = tuple[Stream, str, str]


class Latest:
    """The latest records in memory by stream, channel and key; none without *applies*, which tells for
    which channels they are wanted."""

    def __init__(self, applies: Callable[[str], bool] | None = None) -> None:
        self._applies = applies
        self._records: dict[_Place, Record] = {}

    def add(self, record: Record) -> int:
        """Take a *record* that was just logged; returns the bytes that this costs."""
        key = record.conflation_key
        if key is None or self._applies is None:
            return 0
        before = len(self._records)
        for slot in record.slots:
            if self._applies(slot.channel):
                self._records[record.stream, slot.channel, key] = record
        return KEY_BYTES * (len(self._records) - before)

    def forget(self, record: Record) -> int:
        """Forget a *record* that left the memory; returns the bytes that this frees."""
        key = record.conflation_key
        if key is None:
            return 0
        before = len(self._records)
        for slot in record.slots:
            place = record.stream, slot.channel, key
            if self._records.get(place) is record:
                del self._records[place]
        return KEY_BYTES * (before - len(self._records))

    def conflating(self, wire: Wire) -> Wire:
        """Return what gives the bytes of a frame as *wire* does, and none where a later one stands for it.

        A later one that turns out to break a rule, so that there are no bytes, stands for nothing.
        """

        def conflated(record: Record, slot: Slot) -> bytes:
            later = self._later(record, slot)
            return b"" if later is not None and wire(*later) else wire(record, slot)

        return conflated

    def _later(self, record: Record, slot: Slot) -> tuple[Record, Slot] | None:
        key = record.conflation_key
        if key is None:
            return None
        latest = self._records.get((record.stream, slot.channel, key))
        if latest is None or latest is record or not _is_behind(latest, record):
            return None
        return latest, next(each for each in latest.slots if each.channel == slot.channel)


def _is_behind(latest: Record, record: Record) -> bool:
    """Tell whether *latest* comes after another *record* of its key."""
    if record.seq >= 0:
        return True
    # From a page of history, which may hold what memory holds too.
    is_same_log = latest.position.broker == record.position.broker
    return is_same_log and latest.position.key > record.position.key
