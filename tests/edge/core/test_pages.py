"""The pages of history that an edge holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwire_edge.core.duplicates import Duplicates, digest_of
from fanwire_edge.core.page import Order, Page, RawPage
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.portions import Shared
from fanwire_edge.core.stream import Stream
from tests.edge.core.pieces import JOBS, ORDERS, READABLE, A, place
from tests.edge.core.test_page import entry, numbers, raw

PLENTY = 10**9
WINDOW_S = 60


def second(start_ms: int, event_id: str | None = None, stream: Stream = ORDERS) -> RawPage:
    """A page of one second; the event in the middle of it is named after the second, or *event_id*."""
    found = entry(start_ms - 500, id=event_id or f"e-{start_ms}"), entry(start_ms + 500)
    return replace(raw(start_ms, *found, is_cut=True), stream=stream)


SIZE = Page(second(1000), [], WINDOW_S * 1000).size_bytes


def holding(*pages: RawPage, max_bytes: int = PLENTY) -> Pages:
    held = Pages(max_bytes, Duplicates(WINDOW_S, 1000))
    for page in pages:
        held.take(page)
    return held


def starts(pages: Pages, stream: Stream = ORDERS) -> list[int]:
    """Return which seconds are held, without using any of them."""
    return sorted(order[0] for of, order in pages._pages if of == stream)


@pytest.mark.parametrize(
    ("order", "start"),
    [
        ((999, 9), None),
        ((1000, 0), 1000),
        ((1999, 9), 1000),
        ((2000, 0), None),
        ((3000, 0), 3000),
        ((3500, 1), 3000),
        ((4000, 0), None),
    ],
)
def test_a_page_is_found_for_every_place_in_it(order: Order, start: int | None) -> None:
    """From its start up to its end, which is not in it any more."""
    page = holding(second(3000), second(1000)).find(ORDERS, order)

    assert (page and page.start) == (start and (start, 0))


def test_a_page_is_of_one_stream() -> None:
    """Another one may hold the same second."""
    pages = holding(second(1000), second(1000, stream=JOBS))
    page = pages.find(JOBS, (1500, 0))

    assert page is not None
    assert (page.stream, len(pages)) == (JOBS, 2)
    assert holding(second(1000)).find(JOBS, (1500, 0)) is None


@pytest.mark.parametrize(
    ("held", "place_ms", "order", "reached", "found"),
    [
        ((0, 1, 2), (1000, 0), (1100, 0), (1000, 0), 0),
        ((0, 1, 2), (1000, 0), (1300, 0), (1201, 1), 1),
        ((0, 1, 2), (1201, 1), (1500, 0), (1401, 1), 2),
        ((0, 2), (1000, 0), (1500, 0), (1201, 1), None),
        ((1, 2), (1000, 0), (1500, 0), (1000, 0), None),
        ((0, 1, 2), (1000, 0), (2000, 0), (1601, 1), None),
    ],
    ids=["at once", "in the next", "from the place on", "one is missing", "none", "behind all"],
)
def test_a_busy_second_is_gone_through_page_by_page(
    held: tuple[int, ...], place_ms: Order, order: Order, reached: Order, found: int | None
) -> None:
    """Each begins where the one before it ended, and that is where to go on when one is missing."""
    busy = [
        raw(1000, entry(100), entry(201), is_cut=True),
        raw(1201, entry(300), entry(401), is_cut=True, start=(1201, 1)),
        raw(1401, entry(500), entry(601), is_cut=True, start=(1401, 1)),
    ]
    place, page = holding(*(busy[index] for index in held)).proving(ORDERS, place_ms, order)

    assert place == reached
    assert (page and page.start) == (None if found is None else busy[found].start)


def test_beyond_the_budget_those_go_that_were_not_used_for_longest() -> None:
    """The size is that of what is left."""
    pages = holding(*map(second, (1000, 2000, 3000)), max_bytes=3 * SIZE)
    assert pages.size_bytes == 3 * SIZE
    pages.find(ORDERS, (1500, 0))
    pages.take(second(4000))

    assert (starts(pages), len(pages), pages.size_bytes) == ([1000, 3000, 4000], 3, 3 * SIZE)
    assert pages.find(ORDERS, (2500, 0)) is None


def test_the_newest_page_is_kept_even_where_it_alone_exceeds_the_budget() -> None:
    """Somebody waits for it."""
    assert starts(holding(second(1000), second(2000), max_bytes=1)) == [2000]


def test_a_page_that_is_read_again_takes_the_place_of_the_first() -> None:
    """The end of the stream has moved on; it is charged once."""
    pages = holding(raw(1000, entry(100)))
    again = pages.take(raw(1000, entry(100), entry(200)))

    assert pages.find(ORDERS, (1200, 0)) is again
    assert (len(pages), pages.size_bytes) == (1, again.size_bytes)
    assert numbers(again) == [100, 200]


def test_a_page_can_be_forgotten_to_be_read_again() -> None:
    """To forget it twice is no error: two may have found it outdated."""
    pages = holding(second(1000), second(2000))
    page = pages.find(ORDERS, (1500, 0))
    assert page is not None
    for _ in range(2):
        pages.discard(page)

    assert (starts(pages), pages.size_bytes) == ([2000], SIZE)
    assert pages.find(ORDERS, (1500, 0)) is None


@pytest.mark.parametrize(
    ("first", "again", "is_copy"),
    [
        (second(1000, "e"), second(3000, "e"), True),
        (second(1000, "e"), second(61_000, "e"), True),
        (second(1000, "e"), second(62_000, "e"), False),
        (second(1000, "e", stream=JOBS), second(3000, "e"), False),
        (second(1000), second(3000), False),
    ],
    ids=["a copy", "at the window's end", "behind the window", "of another stream", "another event"],
)
@pytest.mark.parametrize("max_bytes", [PLENTY, 1], ids=["held", "evicted"])
def test_a_page_knows_what_stands_in_those_before_it(
    first: RawPage, again: RawPage, is_copy: bool, max_bytes: int
) -> None:
    """Also where these are held no more: what was seen is kept for longer than the records."""
    page = holding(first, max_bytes=max_bytes).take(again)

    assert (page.records == []) is is_copy


def test_a_page_knows_what_the_edge_has_seen_live() -> None:
    """An event whose copy stands in the page may have come just before the edge began to read pages."""
    live = Duplicates(WINDOW_S, 1000)
    live.is_repeated(ORDERS, digest_of("acme", "e"), *place(100).key)

    assert Pages(PLENTY, live).take(second(2000, "e")).records == []


@pytest.mark.parametrize(("held", "is_looked_at"), [((), True), ((1000,), True), ((2000,), False)])
def test_the_entries_before_a_page_are_looked_at_where_nothing_else_is_known(
    held: tuple[int, ...], is_looked_at: bool
) -> None:
    """Where the page right before it was read, all of that time is known already."""
    page = holding(*map(second, held)).take(replace(second(3000, "e"), earlier=(entry(1600, id="e"),)))

    assert (page.records == []) is is_looked_at


@pytest.mark.parametrize(
    ("later", "earlier", "is_doubtful"),
    [
        (second(3000, "e"), second(1000, "e"), True),
        (second(61_000, "e"), second(1000, "e"), True),
        (second(63_000, "e"), second(1000, "e"), False),
        (second(3000, "e", stream=JOBS), second(1000, "e"), False),
        (second(3000), second(1000), False),
    ],
    ids=["a copy", "at the window's end", "behind the window", "of another stream", "another event"],
)
def test_a_page_that_was_read_without_knowing_of_a_copy_before_it_is_forgotten(
    later: RawPage, earlier: RawPage, is_doubtful: bool
) -> None:
    """It is read again, and then knows."""
    pages = holding(later)
    pages.take(earlier)

    assert (starts(pages, later.stream) == [1000]) is is_doubtful
    assert (pages.take(later).records == []) is is_doubtful


def test_so_much_is_remembered_of_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest reading goes first; the newest stays, and a page that is read again counts once."""
    monkeypatch.setattr("fanwire_edge.core.pages._MAX_SEEN", 4)
    pages = holding(second(1000, "a"), second(2000, "b"), second(2000, "b"))

    # There is room for two pages of one event: `a` is known still, `b` is not when it comes again.
    again = [pages.take(second(*each)) for each in ((3000, "a"), (4000, "c"), (5000, "b"))]
    assert [numbers(page) for page in again] == [[], [3500], [4500]]

    monkeypatch.setattr("fanwire_edge.core.pages._MAX_SEEN", 1)
    pages.take(second(7000, "d"))
    assert numbers(pages.take(second(8000, "d"))) == []


def test_everything_can_be_forgotten() -> None:
    """Also what was seen and what was joined: another broker's log is another one."""
    pages = holding(second(1000, "e"))
    key = frozenset({A}), ORDERS, place(1), place(1), 1, READABLE.wire
    pages.portions.put(key, Shared(b"frame", 1, 1))
    pages.clear()

    assert (len(pages), pages.size_bytes, pages.portions.get(key)) == (0, 0, None)
    assert pages.find(ORDERS, (1500, 0)) is None
    assert numbers(pages.take(second(2000, "e"))) == [1500]
