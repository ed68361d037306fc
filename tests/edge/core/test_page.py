"""Pages of history: what they hold, what they prove, and what of them is due."""

from __future__ import annotations

from typing import Any

import pytest

from fanwire_edge.core.duplicates import Seen, digest_of, number_of
from fanwire_edge.core.page import Order, Page, RawPage, page_start
from fanwire_edge.core.stream import Entry
from fanwire_protocol.event import encode_event
from fanwire_protocol.position import BEGINNING
from tests.edge.core.pieces import ALL, BROKER, ORDERS, A, B, entry_id, event, place

WINDOW_MS = 60_000
FIELDS: dict[str, dict[str, Any]] = {
    A: {"resource": ("orders", "1")},
    B: {"resource": ("orders", "2")},
    ALL: {"to": ("all",)},
}


def entry(number: int, *channels: str, **fields: Any) -> Entry:
    """The entry *number*, which was added as many milliseconds after the first second, on *channels*."""
    for channel in channels or (A,):
        fields |= FIELDS[channel]
    return Entry(entry_id(number), encode_event(event(number, **fields)))


def raw(start_ms: int, *entries: Entry, **more: Any) -> RawPage:
    """What a broker answers that never removed anything."""
    return RawPage(
        **{
            "stream": ORDERS,
            "broker": BROKER,
            "start": (start_ms, 0),
            "before_id": None,
            "removed": 0,
            "entries": entries,
            **more,
        }
    )


def page_of(start_ms: int, *entries: Entry, **more: Any) -> Page:
    return Page(raw(start_ms, *entries, **more), [], WINDOW_MS)


def numbers(page: Page) -> list[int]:
    """Which entries became records."""
    return [record.position.time_ms - 1000 for record in page.records]


@pytest.mark.parametrize(
    ("order", "start"),
    [((0, 0), (0, 0)), ((999, 7), (0, 0)), ((1000, 0), (1000, 0)), ((1732096800123, 4), (1732096800000, 0))],
)
def test_a_page_begins_on_a_whole_second(order: Order, start: Order) -> None:
    """So that clients with positions that lie close together ask for the same one."""
    assert page_start(order) == start


@pytest.mark.parametrize(
    ("found", "is_cut", "kept", "end"),
    [
        # The whole stream was read: the page ends behind its last entry.
        ((500, 1500), False, (500, 1500), (2500, 1)),
        # There is more: of the last second not everything was read.
        ((500, 1500), True, (500,), (2000, 0)),
        ((500, 1500, 2999, 3000), True, (500, 1500, 2999), (4000, 0)),
        # A busy second: there is no whole one.
        ((500, 501), True, (500, 501), (1501, 1)),
    ],
    ids=["to the end", "cut", "cut right behind a second", "cut within a second"],
)
def test_a_page_ends_on_a_whole_second_where_it_can(
    found: tuple[int, ...], is_cut: bool, kept: tuple[int, ...], end: Order
) -> None:
    """The next page begins where it ends, so no entry is in both or in neither."""
    page = page_of(1000, *map(entry, found), is_cut=is_cut)

    assert page.ids == tuple(map(entry_id, kept))
    assert numbers(page) == list(kept)
    assert (page.start, page.end) == ((1000, 0), end)


@pytest.mark.parametrize(
    ("start", "last_id", "end"),
    [
        ((1000, 0), "7000-3", (7000, 4)),
        ((1000, 0), "1000-0", (1000, 1)),
        ((1000, 0), "999-9", (2000, 0)),
        ((1501, 1), "0-0", (2000, 0)),
    ],
    ids=["trimmed", "trimmed at its start", "deleted", "deleted within a second"],
)
def test_an_empty_page_reaches_as_far_as_nothing_will_be_found(
    start: Order, last_id: str, end: Order
) -> None:
    """Behind the last id that was given out; where the stream was deleted, to the end of the second."""
    page = page_of(1000, start=start, last_id=last_id)

    assert (page.ids, page.records, page.end) == ((), [], end)


@pytest.mark.parametrize(
    ("start_ms", "removed", "is_whole"), [(0, 0, True), (0, 3, False), (0, None, False), (1000, 0, False)]
)
def test_the_beginning_is_proven_where_nothing_was_ever_removed(
    start_ms: int, removed: int | None, is_whole: bool
) -> None:
    """By the page that begins there; a broker that cannot count proves nothing."""
    assert page_of(start_ms, entry(500), removed=removed).continues(BEGINNING) is is_whole


def test_a_place_is_proven_by_its_own_entry() -> None:
    """In the page or right before it, but not by an entry that the next page begins with."""
    page = page_of(2000, entry(1100), entry(1500), entry(2500), before_id=entry_id(900), is_cut=True)

    proven = [number for number in (800, 900, 1000, 1100, 1500, 2500) if page.continues(entry_id(number))]
    assert proven == [900, 1100, 1500]


def test_entries_without_channels_prove_but_are_not_due() -> None:
    """Broken ones, those that go nowhere, and copies."""
    nowhere = Entry(entry_id(3), encode_event(event(3)))
    page = page_of(
        1000, entry(1), Entry(entry_id(2), b"broken"), nowhere, entry(4, id="e-1"), Entry(entry_id(5), None)
    )

    assert numbers(page) == [1]
    assert all(page.continues(entry_id(number)) for number in range(1, 6))


@pytest.mark.parametrize(("before_id", "offset"), [(entry_id(1), place(1)), (None, place(0))])
def test_the_first_record_knows_the_entry_before_it(before_id: str | None, offset: object) -> None:
    """An event on several channels carries that position, also where it is the first of a page."""
    page = page_of(1000, entry(2, A, ALL), before_id=before_id)

    assert [record.offset for record in page.records] == [f"orders@{offset}"]


@pytest.mark.parametrize(
    ("keys", "after", "until", "at_most", "due"),
    [
        ([A], 0, 9, 9, [1, 3, 5]),
        ([A], 1, 5, 9, [3, 5]),
        ([A], 1, 4, 9, [3]),
        ([A], 0, 9, 2, [1, 3]),
        ([A], 5, 9, 9, []),
        ([A, B], 0, 9, 9, [1, 2, 3, 5]),
        ([B, A], 0, 9, 3, [1, 2, 3]),
        ([A, ALL], 0, 9, 9, [1, 3, 4, 5]),
        ([A, "nothing"], 2, 9, 9, [3, 5]),
        (["tenant:acme:resource:*"], 0, 9, 9, [1, 2, 3, 5]),
        ([], 0, 9, 9, []),
        (["nothing"], 0, 9, 9, []),
    ],
)
def test_due_is_what_lies_under_any_key_once_and_in_order(
    keys: list[str], after: int, until: int, at_most: int, due: list[int]
) -> None:
    """Behind the first place and up to the second; the first ones, where there are too many."""
    page = page_of(1000, entry(1), entry(2, B), entry(3, A, ALL), entry(4, ALL), entry(5))

    found = page.due(keys, place(after).key, place(until).key, at_most)

    assert [record.position for record in found] == [place(number) for number in due]


@pytest.mark.parametrize(
    ("first", "again", "is_copy"),
    [(1, 2, True), (1, 1 + WINDOW_MS, True), (1, 2 + WINDOW_MS, False)],
    ids=["right behind it", "at the window's end", "behind the window"],
)
@pytest.mark.parametrize("where", ["in the page", "right before it", "known", "nowhere"])
def test_what_stands_before_it_within_the_window_makes_an_entry_a_copy(
    where: str, first: int, again: int, is_copy: bool
) -> None:
    """In the page itself, among the entries before it, or in whatever else is known of that time."""
    seen = Seen()
    seen.add(digest_of("acme", f"e-{first}"), number_of(*place(first).key))
    copy = entry(again, id=f"e-{first}")
    entries = (entry(first), copy) if where == "in the page" else (copy,)
    earlier = (Entry(entry_id(0), b"broken"), entry(first)) if where == "right before it" else ()

    page = Page(raw(1000, *entries, earlier=earlier), [seen] if where == "known" else [], WINDOW_MS)

    assert (again in numbers(page)) is (where == "nowhere" or not is_copy)
    assert page.continues(entry_id(again))


def test_what_comes_later_makes_no_copy() -> None:
    """Of an event that was written twice the first entry is due, also where the second was read before."""
    seen = Seen()
    seen.add(digest_of("acme", "e-1"), number_of(*place(500).key))

    assert numbers(Page(raw(1000, entry(1)), [seen], WINDOW_MS)) == [1]


def test_a_page_tells_which_events_stand_in_it() -> None:
    """For the pages behind it; copies too, what stands before it not."""
    page = page_of(1000, entry(2), entry(3, id="e-1"), earlier=(entry(1),))

    stop = number_of(*place(9).key)
    assert [page.seen.has_between(digest_of("acme", f"e-{number}"), 0, stop) for number in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    assert not page.seen.has_between(digest_of("acme", "e-1"), 0, number_of(*place(3).key))


def test_a_page_is_charged_for_its_records_and_its_entries() -> None:
    """An empty page is not free: there may be many of them."""
    page = page_of(1000, entry(1), entry(2, A, ALL), Entry(entry_id(3), b"broken"))

    assert page_of(1000).size_bytes == 400
    assert page.size_bytes == sum(record.size for record in page.records) + 4 * 400
