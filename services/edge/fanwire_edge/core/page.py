"""Pages of history: what was read from the broker for clients that were away, shared between them.

Theory of operation. After an edge was lost, thousands of clients come back within seconds and want the
same few seconds of the log. So history is read in pages that begin on a whole second of stream time and
end on one wherever they can; a page serves everyone whose position lies in it. A page also proves
continuity: a position is proven by its entry in the page, and two pages join where the entry before the
second is the last entry of the first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.decoding import decode_entries
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.record import Record
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.position import BEGINNING, Position

__all__ = ["PAGE_ENTRIES", "FIRST", "Order", "Page", "Pages", "RawPage", "page_start"]

PAGE_ENTRIES = 1000
# What an entry costs a page besides its record: its id twice, and its place among the duplicates.
_ENTRY_BYTES = 300

Order = tuple[int, int]
FIRST: Order = (0, 0)


@dataclass(frozen=True, slots=True)
class RawPage:
    """What the broker answered: its identity, and the entries from `start` on, at most PAGE_ENTRIES.

    `before_id` is the entry before them, None where there is none; `removed` is how many entries the
    stream ever lost, None where the broker cannot tell.
    """

    stream: Stream
    broker: str
    start: Order
    before_id: str | None
    removed: int | None
    entries: tuple[Entry, ...]


def page_start(order: Order) -> Order:
    """Return where the page begins that is read for an entry: on a whole second of stream time."""
    return order[0] - order[0] % 1000, 0


class Page:
    """All entries of a stream with start ≤ id < end; `ids` are theirs, `records` those with channels."""

    def __init__(self, raw: RawPage, earlier: Iterable[Duplicates], duplicates: Duplicates) -> None:
        entries, self.end = _whole_seconds(raw)
        self.stream = raw.stream
        self.broker = raw.broker
        self.start = raw.start
        self.before_id = raw.before_id
        self.removed = raw.removed
        self.ids = tuple(entry.id for entry in entries)
        self.duplicates = duplicates
        context = tuple(earlier)

        def is_repeated(topic: str, tenant: str | None, event_id: str, time_ms: int) -> bool:
            return any(
                known.has_earlier(topic, tenant, event_id, time_ms) for known in context
            ) or duplicates.is_repeated(topic, tenant, event_id, time_ms)

        before = Position(raw.before_id or BEGINNING, raw.broker)
        self.records: Sequence[Record] = decode_entries(raw.stream, before, entries, is_repeated).records
        self._orders = [order_of(record.position.id) for record in self.records]
        self._known_ids = frozenset(self.ids)
        self._by_key = _indexed(self.records)
        self.size_bytes = sum(record.size for record in self.records) + _ENTRY_BYTES * len(entries)

    def continues(self, entry_id: str) -> bool:
        """Tell whether nothing is missing between the entry *entry_id* and this page's.

        The beginning is continued by the first page, whatever was removed before that (`removed` tells).
        """
        if entry_id == BEGINNING:
            return self.start == FIRST
        return entry_id in self._known_ids or self.before_id == entry_id

    def due(self, keys: Iterable[str], after: Order, until: Order, at_most: int) -> Sequence[Record]:
        """Return the first *at_most* records under any of *keys* with after < id ≤ until."""
        low, high = bisect_right(self._orders, after), bisect_right(self._orders, until)
        wanted = {index for key in keys for index in self._by_key.get(key, ()) if low <= index < high}
        return [self.records[index] for index in sorted(wanted)[:at_most]]


class Pages:
    """Pages within a budget in bytes; the least recently used go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: OrderedDict[tuple[Stream, Order], Page] = OrderedDict()
        self.size_bytes = 0

    def find(self, stream: Stream, order: Order) -> Page | None:
        """Return a page that holds, or begins with, the place *order*."""
        for key, page in self._pages.items():
            if key[0] == stream and page.start <= order < page.end:
                self._pages.move_to_end(key)
                return page
        return None

    def proving(self, stream: Stream, place: Order, order: Order) -> tuple[Order, Page | None]:
        """Return the page in which the entry *order* must stand, if it is anywhere, looking from *place*.

        A second may have more entries than a page holds, so the pages from *place* on are gone through;
        the place where the search ended comes with it.
        """
        page = self.find(stream, place)
        while page is not None and page.ids and page.end <= order:
            place = page.end
            page = self.find(stream, place)
        return place, page

    def before(self, stream: Stream, start: Order) -> list[Page]:
        """Return the pages of *stream* that end at or before *start*."""
        return [page for (of, _), page in self._pages.items() if of == stream and page.end <= start]

    def add(self, page: Page) -> None:
        """Keep *page*; the newest is kept even where it alone exceeds the budget."""
        key = (page.stream, page.start)
        replaced = self._pages.pop(key, None)
        self.size_bytes += page.size_bytes - (replaced.size_bytes if replaced else 0)
        self._pages[key] = page
        while self.size_bytes > self._max_bytes and len(self._pages) > 1:
            _, oldest = self._pages.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def discard(self, page: Page) -> None:
        """Forget *page*: what it says held only for the moment."""
        if self._pages.pop((page.stream, page.start), None) is not None:
            self.size_bytes -= page.size_bytes

    def clear(self) -> None:
        """Forget everything: the broker is another one."""
        self._pages.clear()
        self.size_bytes = 0


def _whole_seconds(raw: RawPage) -> tuple[Sequence[Entry], Order]:
    """Return the entries up to the last whole second, and the place behind them.

    A page that reaches the end of the stream, or holds one second only, ends behind its last entry; an
    empty one holds its own start, so that it can be found by who asked for it.
    """
    entries = raw.entries
    if len(entries) == PAGE_ENTRIES:
        last_second = order_of(entries[-1].id)[0] // 1000
        kept = tuple(takewhile(lambda entry: order_of(entry.id)[0] // 1000 < last_second, entries))
        if kept:
            return kept, (last_second * 1000, 0)
    if not entries:
        return (), (raw.start[0], raw.start[1] + 1)
    time_ms, sequence = order_of(entries[-1].id)
    return entries, (time_ms, sequence + 1)


def _indexed(records: Sequence[Record]) -> dict[str, list[int]]:
    by_key: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        for key in {key for slot in record.slots for key in slot.keys}:
            by_key.setdefault(key, []).append(index)
    return by_key
