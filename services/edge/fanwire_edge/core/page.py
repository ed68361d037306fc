"""Pages of history: what was read from the broker for clients that were away, shared between them.

Theory of operation. After an edge was lost, thousands of clients come back within seconds and want the
same few seconds of the log. So history is read in pages that begin on a whole second of stream time and
end on one wherever they can; a page serves everyone whose position lies in it. A page also proves
continuity: a position is proven by its entry in the page, and two pages join where the entry before the
second is the last entry of the first. Ids only grow, so what a page says of its stretch stays true.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.decoding import decode_entries, remember_entries
from fanwire_edge.core.duplicates import Known, Seen, number_of
from fanwire_edge.core.record import Record
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.position import BEGINNING, Position

__all__ = ["EARLIER_ENTRIES", "FIRST", "PAGE_ENTRIES", "Order", "Page", "RawPage", "page_start"]

# So many are decoded within a few milliseconds, during which nothing else happens.
PAGE_ENTRIES = 250
# Entries before a page that are looked at for copies, where nothing else of that time is known.
EARLIER_ENTRIES = 100
# What an entry costs a page besides its record: its id twice, and its place among the duplicates.
_ENTRY_BYTES = 400
_SECOND_MS = 1000

Order = tuple[int, int]
FIRST: Order = (0, 0)


@dataclass(frozen=True, slots=True)
class RawPage:
    """What the broker answered: its identity, and the entries from `start` on.

    `before_id` is the entry before them, None where there is none; `removed` is how many entries the
    stream ever lost, None where the broker cannot tell; `last_id` is the last id that it gave out. There
    may be more entries behind them where `is_cut`. `earlier` are some that lie directly before them.
    """

    stream: Stream
    broker: str
    start: Order
    before_id: str | None
    removed: int | None
    entries: tuple[Entry, ...]
    is_cut: bool = False
    last_id: str = BEGINNING
    earlier: tuple[Entry, ...] = ()


def page_start(order: Order) -> Order:
    """Return where the page begins that is read for an entry: on a whole second of stream time."""
    return order[0] - order[0] % _SECOND_MS, 0


class Page:
    """All entries of a stream with start ≤ id < end; `ids` are theirs, `records` those with channels."""

    def __init__(self, raw: RawPage, known: Sequence[Known], window_ms: int) -> None:
        entries, self.end = _whole_seconds(raw)
        self.stream = raw.stream
        self.broker = raw.broker
        self.start = raw.start
        self.before_id = raw.before_id
        self.removed = raw.removed
        self.ids = tuple(entry.id for entry in entries)
        self.seen = seen = Seen()
        context = (*known, _seen(raw.stream, raw.earlier), seen)

        def is_repeated(stream: Stream, digest: bytes, time_ms: int, sequence: int) -> bool:
            number, since = number_of(time_ms, sequence), number_of(time_ms - window_ms)
            is_copy = any(each.has_between(digest, since, number) for each in context)
            seen.add(digest, number)
            return is_copy

        before = Position(raw.before_id or BEGINNING, raw.broker)
        self.records: Sequence[Record] = decode_entries(raw.stream, before, entries, is_repeated).records
        self._orders = [record.order for record in self.records]
        self._known_ids = frozenset(self.ids)
        self._by_key = _indexed(self.records)
        self.size_bytes = sum(record.size for record in self.records) + _ENTRY_BYTES * (len(entries) + 1)

    def continues(self, entry_id: str) -> bool:
        """Tell whether nothing is missing between the entry *entry_id* and this page's."""
        if entry_id == BEGINNING:
            return self.start == FIRST and self.removed == 0
        return entry_id in self._known_ids or self.before_id == entry_id

    def due(self, keys: Iterable[str], after: Order, until: Order, at_most: int) -> Sequence[Record]:
        """Return the first *at_most* records under any of *keys* with after < id ≤ until."""
        low, high = bisect_right(self._orders, after), bisect_right(self._orders, until)
        wanted: list[int] = []
        sources = [found for key in keys if (found := self._by_key.get(key))]
        for numbers in sources:
            start = bisect_left(numbers, low)
            wanted += numbers[start : min(start + at_most, bisect_left(numbers, high, start))]
        # One source has its numbers in order, and each once.
        numbers = wanted if len(sources) == 1 else sorted(set(wanted))[:at_most]
        return [self.records[number] for number in numbers]


def _whole_seconds(raw: RawPage) -> tuple[Sequence[Entry], Order]:
    """Return the entries up to the last whole second, and the place behind them.

    A page that reaches the end of the stream, or holds one second only, ends behind its last entry. An
    empty one ends behind the last id that was given out; where that is from before, the stream was deleted,
    and nothing of this second will be found any more.
    """
    entries = raw.entries
    if raw.is_cut:
        last_second = order_of(entries[-1].id)[0] // _SECOND_MS
        kept = tuple(takewhile(lambda entry: order_of(entry.id)[0] // _SECOND_MS < last_second, entries))
        if kept:
            return kept, (last_second * _SECOND_MS, 0)
    last = order_of(entries[-1].id if entries else raw.last_id)
    if last < raw.start:
        return (), (page_start(raw.start)[0] + _SECOND_MS, 0)
    return entries, (last[0], last[1] + 1)


def _seen(stream: Stream, entries: Iterable[Entry]) -> Seen:
    seen = Seen()

    def remember(stream: Stream, digest: bytes, time_ms: int, sequence: int) -> bool:
        return seen.add(digest, number_of(time_ms, sequence))

    remember_entries(stream, entries, remember)
    return seen


def _indexed(records: Sequence[Record]) -> dict[str, list[int]]:
    by_key: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        for key in record.keys:
            by_key.setdefault(key, []).append(index)
    return by_key
