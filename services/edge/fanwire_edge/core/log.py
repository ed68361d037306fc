"""The log of an edge: recent records in memory, which everything that delivers reads (DESIGN "Log").

Theory of operation. Records of all streams get one running number (`seq`), so that one integer says how
far a connection has read. An index leads from a subscription key (a channel or pattern) to the numbers of
its records, and from a stream to its records, which gives the positions that belong to a number. The log
has one budget in bytes; what is evicted leaves its position behind as the stream's anchor. A reader below
`first` cannot go on from memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import merge
from itertools import groupby

from fanwire_edge.core.record import Record
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

__all__ = ["Log", "Slice", "Stretch"]

# Records of other streams that a read of one stream passes over, at most.
_MAX_PASSED_OVER = 2048


@dataclass(frozen=True, slots=True)
class Slice:
    """Records found by a read, and the number from which the next read goes on."""

    records: tuple[Record, ...]
    next: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one stream, and the position up to which these are all; None where that is the end."""

    records: Sequence[Record]
    reached: Position | None


class _Numbers:
    """Ascending numbers of records under one key; the oldest are forgotten in amortised constant time."""

    __slots__ = ("_head", "_numbers")

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._head = 0

    def append(self, seq: int) -> None:
        if not self._numbers or self._numbers[-1] != seq:
            self._numbers.append(seq)

    def forget(self, seq: int) -> bool:
        """Drop *seq* if it is the oldest; tell whether nothing is left."""
        if self._head < len(self._numbers) and self._numbers[self._head] == seq:
            self._head += 1
            if self._head > 64 and self._head * 2 > len(self._numbers):
                del self._numbers[: self._head]
                self._head = 0
        return self._head == len(self._numbers)

    def between(self, start: int, stop: int) -> Iterable[int]:
        low = bisect_left(self._numbers, start, self._head)
        for index in range(low, len(self._numbers)):
            if self._numbers[index] >= stop:
                return
            yield self._numbers[index]

    def count(self, start: int, stop: int) -> int:
        low = bisect_left(self._numbers, start, self._head)
        return bisect_left(self._numbers, stop, low) - low

    def slice(self, start: int, stop: int, at_most: int) -> Sequence[int]:
        low = bisect_left(self._numbers, start, self._head)
        return self._numbers[low : min(low + at_most, bisect_left(self._numbers, stop, low))]

    def first_where(self, start: int, is_beyond: Callable[[int], bool], default: int) -> int:
        """Return the first number from *start* on that *is_beyond*, which holds for all later ones too."""
        low = bisect_left(self._numbers, start, self._head)
        index = bisect_left(self._numbers, True, low, key=is_beyond)
        return self._numbers[index] if index < len(self._numbers) else default

    def last_before(self, seq: int) -> int | None:
        index = bisect_left(self._numbers, seq, self._head) - 1
        return self._numbers[index] if index >= self._head else None


class Log:
    """Recent records within a budget in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # A list with a head, since a deque is slow to index in the middle.
        self._records: list[Record] = []
        self._head = 0
        self._index: dict[Hashable, _Numbers] = {}
        self._anchors: dict[Stream, Position] = {}
        # For each stream the number and the position from which on nothing is missing in memory.
        self._floors: dict[Stream, tuple[int, Position]] = {}
        # Where the last gap of a stream ended, which everybody was told of.
        self.gap_ends: dict[Stream, Position] = {}
        self.first = 0
        self.size_bytes = 0
        # Records from this number on are on their way to connections and stay, whatever the budget says.
        self.keep_from: int | None = None

    @property
    def next(self) -> int:
        """The number that the next record will get."""
        return self.first + len(self._records) - self._head

    def anchor(self, stream: Stream, position: Position) -> None:
        """Begin *stream* at *position*: the place before its first record."""
        self._anchors[stream] = position
        self._floors[stream] = (self.next, position)

    def append(self, record: Record) -> None:
        """Add *record*, evicting the oldest ones where the budget asks for it (never the new one)."""
        record.seq = self.next
        self._records.append(record)
        self.size_bytes += record.size
        if record.is_gap:
            self.gap_ends[record.stream] = record.position
            self._floors[record.stream] = (record.seq + 1, record.position)
        for key in _keys(record):
            self._index.setdefault(key, _Numbers()).append(record.seq)
        keep_from = record.seq if self.keep_from is None else min(self.keep_from, record.seq)
        while self.size_bytes > self._max_bytes and self.first < keep_from:
            self._evict()
        if self._head > 1024 and self._head * 2 > len(self._records):
            del self._records[: self._head]
            self._head = 0

    def _record(self, seq: int) -> Record:
        return self._records[self._head + seq - self.first]

    def _evict(self) -> None:
        record = self._record(self.first)
        self._head += 1
        self.first += 1
        self.size_bytes -= record.size
        self._anchors[record.stream] = record.position
        if record.seq >= self._floors[record.stream][0]:
            self._floors[record.stream] = (self.first, record.position)
        for key in _keys(record):
            numbers = self._index.get(key)
            if numbers is not None and numbers.forget(record.seq):
                del self._index[key]

    def read(self, keys: Iterable[str], start: int, stop: int, max_records: int) -> Slice:
        """Return the records under any of *keys* with start ≤ number < stop, in order.

        *start* must not be below `first`.
        """
        assert start >= self.first, "what was evicted cannot be read"
        sources = [found.between(start, stop) for key in keys if (found := self._index.get(key))]
        records: list[Record] = []
        for seq, _ in groupby(merge(*sources)):
            if len(records) == max_records:
                return Slice(tuple(records), seq)
            records.append(self._record(seq))
        return Slice(tuple(records), stop)

    def read_stream(
        self, stream: Stream, keys: Set[str], after: Position, until: Position, max_records: int
    ) -> Stretch:
        """Return the first records of *stream* under any of *keys* with after < position ≤ until.

        *after* must be a position that `reaches` back.
        """
        start, stop = self.number_after(stream, after), self.number_after(stream, until)
        sources = [found for key in keys if (found := self._index.get(key))]
        if sum(found.count(start, stop) for found in sources) > _MAX_PASSED_OVER:
            return self._walk(stream, keys, start, stop, max_records)
        records: list[Record] = []
        for seq, _ in groupby(merge(*(found.between(start, stop) for found in sources))):
            record = self._record(seq)
            if record.stream == stream:
                records.append(record)
                if len(records) == max_records:
                    return Stretch(records, record.position)
        return Stretch(records, None)

    def _walk(self, stream: Stream, keys: Set[str], start: int, stop: int, max_records: int) -> Stretch:
        """Look at the stream's own records, where the keys are those of too many others."""
        passed: Sequence[int] = self._index[stream].slice(start, stop, _MAX_PASSED_OVER)
        records: list[Record] = []
        for seq in passed:
            record = self._record(seq)
            if any(not keys.isdisjoint(slot.keys) for slot in record.slots):
                records.append(record)
                if len(records) == max_records:
                    return Stretch(records, record.position)
        is_whole = len(passed) < _MAX_PASSED_OVER
        return Stretch(records, None if is_whole else self._record(passed[-1]).position)

    def reaches(self, stream: Stream, position: Position) -> bool:
        """Tell whether everything of *stream* after *position* is in memory."""
        floor = self._floors[stream][1]
        return position.broker == floor.broker and position.key >= floor.key

    def number_after(self, stream: Stream, position: Position) -> int:
        """Return the number of the first record of *stream* after *position*, which `reaches` back to."""
        numbers = self._index.get(stream)
        return (
            self.next
            if numbers is None
            else numbers.first_where(
                max(self._floors[stream][0], self.first),
                lambda seq: self._record(seq).position.key > position.key,
                self.next,
            )
        )

    def positions_at(self, seq: int) -> Mapping[Stream, Position]:
        """Return for every stream how far it lies before the record *seq*, which is not below `first`."""
        assert seq >= self.first, "the anchors lie behind what was evicted"
        places = dict(self._anchors)
        for stream in self._anchors:
            numbers = self._index.get(stream)
            last = None if numbers is None else numbers.last_before(seq)
            if last is not None:
                places[stream] = self._record(last).position
        return places


def _keys(record: Record) -> Iterable[Hashable]:
    yield record.stream
    for slot in record.slots:
        yield from slot.keys
