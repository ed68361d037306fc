"""The pages of history that an edge holds, within a budget, and what they know of copies.

Theory of operation. Whether an entry is a copy depends on what stands before it, and pages are read in any
order. So what was seen in a page is kept for longer than its records, for those that are read behind it;
and a page that turns out to have been read without knowing of a copy before it is forgotten, to be read
again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from dataclasses import replace

from fanwire_edge.core.duplicates import Duplicates, Seen
from fanwire_edge.core.page import Order, Page, RawPage
from fanwire_edge.core.portions import Portions
from fanwire_edge.core.stream import Stream

__all__ = ["Pages"]

_MAX_SEEN = 100_000


class Pages:
    """Pages of at most about *max_bytes*; the least recently used go first.

    *live* is what the edge knows of copies from reading the log; `portions` are frames made of the pages.
    """

    def __init__(self, max_bytes: int, live: Duplicates) -> None:
        self._max_bytes = max_bytes
        self._live = live
        self._pages: OrderedDict[tuple[Stream, Order], Page] = OrderedDict()
        self._starts: dict[Stream, list[Order]] = {}
        # What stands in a page, or stood in one: its end, and the events.
        self._seen: OrderedDict[tuple[Stream, Order], tuple[Order, Seen]] = OrderedDict()
        self._seen_count = 0
        self.size_bytes = 0
        self.portions = Portions()

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, stream: Stream, order: Order) -> Page | None:
        """Return a page that holds the place *order*."""
        starts = self._starts.get(stream, ())
        index = bisect_right(starts, order) - 1
        if index < 0:
            return None
        key = stream, starts[index]
        page = self._pages[key]
        if order >= page.end:
            return None
        self._pages.move_to_end(key)
        return page

    def proving(self, stream: Stream, place: Order, order: Order) -> tuple[Order, Page | None]:
        """Return the page in which the entry *order* must stand, if it is anywhere, looking from *place*.

        A second may have more entries than a page holds, so the pages from *place* on are gone through;
        the place where the search ended comes with it.
        """
        page = self.find(stream, place)
        while page is not None and page.end <= order:
            place = page.end
            page = self.find(stream, place)
        return place, page

    def take(self, raw: RawPage) -> Page:
        """Make a page of *raw* and keep it; the newest is kept even where it alone exceeds the budget."""
        known = self._known(raw.stream, raw.start)
        if any(end >= raw.start for end, _ in known):
            raw = replace(raw, earlier=())
        page = Page(raw, [*(seen for _, seen in known), self._live.of(raw.stream)], self._live.window_ms)
        self._forget_doubtful(page)
        self._remember(page)
        self._keep(page)
        return page

    def discard(self, page: Page) -> None:
        """Forget *page*, so that it is read again."""
        key = page.stream, page.start
        if self._pages.pop(key, None) is not None:
            starts = self._starts[page.stream]
            del starts[bisect_left(starts, page.start)]
            self.size_bytes -= page.size_bytes

    def clear(self) -> None:
        """Forget everything: the broker is another one."""
        self._pages.clear()
        self._starts.clear()
        self._seen.clear()
        self._seen_count = 0
        self.size_bytes = 0
        self.portions.clear()

    def _known(self, stream: Stream, start: Order) -> list[tuple[Order, Seen]]:
        """Return what was seen in the window before *start*."""
        since = start[0] - self._live.window_ms, 0
        return [
            stretch
            for (of, began), stretch in self._seen.items()
            if of == stream and began < start and stretch[0] > since
        ]

    def _forget_doubtful(self, page: Page) -> None:
        starts = self._starts.get(page.stream, [])
        until = page.end[0] + self._live.window_ms, 0
        later = starts[bisect_right(starts, page.start) : bisect_right(starts, until)]
        for start in later:
            other = self._pages[page.stream, start]
            if other.seen.shares(page.seen):
                self.discard(other)

    def _remember(self, page: Page) -> None:
        key = page.stream, page.start
        before = self._seen.pop(key, None)
        self._seen[key] = page.end, page.seen
        # A stretch in which nothing was seen counts too.
        self._seen_count += len(page.seen) + 1 - (len(before[1]) + 1 if before else 0)
        while self._seen_count > _MAX_SEEN and len(self._seen) > 1:
            _, (_, oldest) = self._seen.popitem(last=False)
            self._seen_count -= len(oldest) + 1

    def _keep(self, page: Page) -> None:
        key = page.stream, page.start
        before = self._pages.get(key)
        if before is not None:
            self.discard(before)
        self._pages[key] = page
        insort(self._starts.setdefault(page.stream, []), page.start)
        self.size_bytes += page.size_bytes
        while self.size_bytes > self._max_bytes and len(self._pages) > 1:
            self.discard(next(iter(self._pages.values())))
