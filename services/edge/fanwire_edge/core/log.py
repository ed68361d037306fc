"""The log of an edge: recent records in memory, which everything that delivers reads (DESIGN "Log").

Theory of operation. Records of all streams get one running number (`seq`), so that one integer says how
far a connection has read. An index leads from a subscription key (a channel or pattern) to the numbers of
its records, and from a stream to its records, which gives the positions that belong to a number. The log
has one budget in bytes; what is evicted leaves its position behind as the stream's anchor. A reader below
`first` cannot go on from memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice

from fanwire_edge.core.latest import Latest
from fanwire_edge.core.numbers import Numbers
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


class Log:
    """Recent records within a budget in bytes; `latest` knows which of them stand for older ones."""

    def __init__(self, max_bytes: int, latest: Latest | None = None) -> None:
        self._max_bytes = max_bytes
        self.latest = latest or Latest()
        # A list with a head, since a deque is slow to index in the middle.
        self._records: list[Record] = []
        self._head = 0
        self._index: dict[Hashable, Numbers] = {}
        # For each stream the place before its first record: a position, or the last record evicted.
        self._anchors: dict[Stream, Position | Record] = {}
        # For each stream the number and the place from which on nothing is missing in memory.
        self._floors: dict[Stream, tuple[int, Position | Record]] = {}
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
        record.seq = seq = self.next
        self._records.append(record)
        self.size_bytes += record.size
        if record.conflation_key is not None:
            self.size_bytes += self.latest.add(record)
        if record.is_gap:
            self.gap_ends[record.stream] = record.position
            self._floors[record.stream] = (seq + 1, record)
        index = self._index
        for key in (record.stream, *record.keys):
            numbers = index.get(key)
            if numbers is None:
                index[key] = numbers = Numbers()
            numbers.append(seq)
        if self.size_bytes > self._max_bytes:
            keep_from = seq if self.keep_from is None else min(self.keep_from, seq)
            while self.size_bytes > self._max_bytes and self.first < keep_from:
                self._evict()
            if self._head > 1024 and self._head * 2 > len(self._records):
                del self._records[: self._head]
                self._head = 0

    def _record(self, seq: int) -> Record:
        return self._records[self._head + seq - self.first]

    def _evict(self) -> None:
        record, index = self._record(self.first), self._index
        self._head += 1
        self.first += 1
        self.size_bytes -= record.size
        if record.conflation_key is not None:
            self.size_bytes -= self.latest.forget(record)
        self._anchors[record.stream] = record
        if record.seq >= self._floors[record.stream][0]:
            self._floors[record.stream] = (self.first, record)
        # The oldest record is the oldest under each of its keys.
        for key in (record.stream, *record.keys):
            numbers = index[key]
            numbers.head += 1
            if numbers.head == len(numbers):
                del index[key]
            elif numbers.head > 64 and numbers.head * 2 > len(numbers):
                numbers.trim()

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
        if sum(found.count_between(start, stop) for found in sources) > _MAX_PASSED_OVER:
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
            if not keys.isdisjoint(record.keys):
                records.append(record)
                if len(records) == max_records:
                    return Stretch(records, record.position)
        is_whole = len(passed) < _MAX_PASSED_OVER
        return Stretch(records, None if is_whole else self._record(passed[-1]).position)

    def reaches(self, stream: Stream, position: Position) -> bool:
        """Tell whether everything of *stream* after *position* is in memory."""
        floor = _position(self._floors[stream][1])
        return position.broker == floor.broker and position.key >= floor.key

    def number_after(self, stream: Stream, position: Position) -> int:
        """Return the number of the first record of *stream* after *position*, which `reaches` back to."""
        numbers, order = self._index.get(stream), position.key
        return (
            self.next
            if numbers is None
            else numbers.first_where(
                max(self._floors[stream][0], self.first),
                lambda seq: self._record(seq).order > order,
                self.next,
            )
        )

    def newest(self, keys: Iterable[str], start: int, stop: int, at_most: int) -> int | None:
        """Return where the newest *at_most* of these records begin; None where there are not more."""
        sources = [found for key in keys if (found := self._index.get(key))]
        if sum(found.count_between(start, stop) for found in sources) <= at_most:
            return None
        backwards = groupby(merge(*(found.backwards(start, stop) for found in sources), reverse=True))
        newest = [seq for seq, _ in islice(backwards, at_most + 1)]
        return newest[-2] if len(newest) > at_most else None

    def positions_at(self, seq: int) -> Mapping[Stream, Position]:
        """Return for every stream how far it lies before the record *seq*, which is not below `first`."""
        assert seq >= self.first, "the anchors lie behind what was evicted"
        places = {stream: _position(place) for stream, place in self._anchors.items()}
        for stream in self._anchors:
            numbers = self._index.get(stream)
            last = None if numbers is None else numbers.last_before(seq)
            if last is not None:
                places[stream] = self._record(last).position
        return places


def _position(place: Position | Record) -> Position:
    return place.position if isinstance(place, Record) else place
