"""Which entries are copies of an event that stands in the log already (PROTOCOL §6 "Duplicates")."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.duplicates import Duplicates, Seen, digest_of, number_of
from tests.edge.core.pieces import JOBS, ORDERS

WINDOW_MS = 4000
X, Y, Z = (digest_of("acme", name) for name in "xyz")


def window(max_events: int = 100) -> Duplicates:
    return Duplicates(WINDOW_MS // 1000, max_events)


def seen(*entries: tuple[bytes, int]) -> Seen:
    found = Seen()
    for digest, number in entries:
        found.add(digest, number)
    return found


def test_an_event_is_its_tenants() -> None:
    """The same id is another event for another tenant, and for none."""
    digests = [digest_of(*of) for of in (("a", "x"), ("b", "x"), ("a", "y"), (None, "x"), ("ax", "x"))]

    assert len(set(digests)) == len(digests)
    assert digest_of("a", "x") == digests[0]


def test_a_long_name_takes_no_more_room_than_a_uuid() -> None:
    """A digest stands for it, which no name can be mistaken for."""
    digests = {digest_of("acme", f"{letter * 128}") for letter in "xyzäöü"}

    assert len(digests) == 6
    assert all(len(digest) == 17 and digest[0] == 0xFF for digest in digests)


def test_the_number_of_an_entry_orders_it_in_its_stream() -> None:
    """By time and sequence; more entries of one millisecond than can be told apart stay within it."""
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 2**20 - 1), (3, 0), (3, 2**64 - 1), (4, 0)]
    numbers = [number_of(*place) for place in places]

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("start", "stop", "between"),
    [(0, 5, False), (0, 6, True), (5, 6, True), (6, 9, False), (6, 10, True), (9, 99, True), (10, 99, False)],
)
def test_what_was_seen_is_found_where_it_stood(start: int, stop: int, between: bool) -> None:
    """The start is part of what is asked for and the stop is not."""
    found = seen((X, 5), (Y, 7), (X, 9))

    assert found.has_between(X, start, stop) is between
    assert found.has_between(Z, start, stop) is False


def test_an_event_is_counted_once() -> None:
    """However often it was seen; only the first time is new."""
    found = Seen()

    assert [found.add(*entry) for entry in ((X, 1), (X, 1), (Y, 2), (X, 3))] == [True, False, True, False]
    assert len(found) == 2


def test_two_stretches_share_an_event_that_is_in_both() -> None:
    """Wherever it stood."""
    assert seen((X, 1), (Y, 2)).shares(seen((Y, 9)))
    assert not seen((X, 1)).shares(seen((Y, 1)))
    assert not seen().shares(seen((X, 1)))


@pytest.mark.parametrize(
    ("times", "repeated"),
    [
        ([0, 1], [False, True]),
        ([0, WINDOW_MS], [False, True]),
        ([0, WINDOW_MS + 1], [False, False]),
        # A copy is what the next one is a copy of.
        ([0, 3000, 6000, 9000], [False, True, True, True]),
        ([0, 5000, 6000, 20_000], [False, False, True, False]),
    ],
)
def test_an_entry_is_a_copy_where_the_event_stands_within_the_window_before(
    times: list[int], repeated: list[bool]
) -> None:
    """In the time of the log itself, delivered there or a copy."""
    duplicates = window()

    assert [duplicates.is_repeated(ORDERS, X, time_ms, 0) for time_ms in times] == repeated


def test_each_stream_has_a_window_of_its_own() -> None:
    """One that is read far ahead lets nothing of the others be forgotten."""
    duplicates = window()
    duplicates.is_repeated(ORDERS, X, 1000, 0)

    assert duplicates.is_repeated(JOBS, X, 900_000, 0) is False
    assert duplicates.is_repeated(ORDERS, X, 1000, 1) is True
    assert duplicates.of(ORDERS).has_between(X, number_of(1000), number_of(1000, 1)) is True
    assert duplicates.of(JOBS).has_between(X, number_of(1000), number_of(1000, 1)) is False


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """In whole generations, so that what is kept is not much more than the window."""
    duplicates = window()
    for second in range(100):
        duplicates.is_repeated(ORDERS, digest_of("acme", str(second)), second * 1000, 0)

    assert WINDOW_MS // 1000 <= len(duplicates) <= 2 * WINDOW_MS // 1000


def test_beyond_the_limit_the_fullest_stream_forgets_its_oldest() -> None:
    """A quiet one keeps what it knows."""
    duplicates = window(max_events=4)
    duplicates.is_repeated(JOBS, X, 0, 0)
    for second, digest in enumerate((X, Y, Z)):
        duplicates.is_repeated(ORDERS, digest, second * 1000, 0)

    duplicates.is_repeated(ORDERS, digest_of("acme", "w"), 3000, 0)

    known = [(ORDERS, X), (ORDERS, Y), (ORDERS, Z), (JOBS, X)]
    assert len(duplicates) == 4
    assert [duplicates.of(stream).has_between(digest, 0, number_of(3000)) for stream, digest in known] == [
        *(False, True, True, True)
    ]


def test_a_limit_of_nothing_forgets_what_was_before() -> None:
    """Also where nothing was yet; the present generation stays."""
    duplicates = window(max_events=0)

    assert [duplicates.is_repeated(ORDERS, X, time_ms, 0) for time_ms in (0, 1, 2)] == [False, True, True]
    assert len(duplicates) == 1


def test_another_log_begins_with_nothing_known() -> None:
    """What stood in the one before is no copy of anything."""
    duplicates = window()
    duplicates.is_repeated(ORDERS, X, 0, 0)

    duplicates.clear()

    assert len(duplicates) == 0
    assert duplicates.is_repeated(ORDERS, X, 1, 0) is False


entries = st.lists(st.tuples(st.sampled_from([X, Y]), st.integers(0, 4000).map(number_of)), max_size=30)


@given(entries, st.integers(0, 4000), st.integers(1000, 2000), st.booleans())
def test_every_entry_of_a_stretch_counts_however_long_that_is(
    entries: list[tuple[bytes, int]], start_ms: int, length_ms: int, is_in_order: bool
) -> None:
    """For every window of a second or more; one that lies between the first and the last is not lost."""
    start, stop = number_of(start_ms), number_of(start_ms + length_ms)
    found = seen(*(sorted(entries, key=lambda entry: entry[1]) if is_in_order else entries))

    for digest in (X, Y):
        expected = any(each == digest and start <= number < stop for each, number in entries)
        assert found.has_between(digest, start, stop) is expected


def test_a_row_of_copies_takes_little_room() -> None:
    """Where thousands of entries of an event stand in a second, only the first and the last are kept."""
    crowded, sparse = seen(*((X, number) for number in range(1000))), seen((X, 0), (X, 999))

    for start in (0, 1, 500, 999, 1000):
        assert crowded.has_between(X, start, start + 10) is sparse.has_between(X, start, start + 10)


def test_an_entry_that_is_asked_for_again_much_later_changes_nothing() -> None:
    """Also where the event came again since."""
    duplicates = window()
    times = [0, 4200, 4800]
    duplicates.is_repeated(ORDERS, X, 0, 0)
    duplicates.is_repeated(ORDERS, Y, 4000, 0)

    for _ in range(3):
        assert [duplicates.is_repeated(ORDERS, X, time_ms, 0) for time_ms in times] == [False, False, True]


log = st.lists(st.tuples(st.integers(1, 2500), st.sampled_from([X, Y])), max_size=12)


@given(log, st.lists(st.integers(0, 11), max_size=4))
def test_whatever_was_asked_before_the_log_alone_decides(
    steps: list[tuple[int, bytes]], again: list[int]
) -> None:
    """An entry is a copy as the log before it says, also where it is asked for again at once."""
    duplicates, model = window(), dict[bytes, int]()
    times = accumulate(step for step, _ in steps)
    for index, (time_ms, digest) in enumerate(zip(times, (digest for _, digest in steps), strict=True)):
        expected = digest in model and time_ms - model[digest] <= WINDOW_MS
        model[digest] = time_ms

        for _ in range(1 + again.count(index)):
            assert duplicates.is_repeated(ORDERS, digest, time_ms, 0) is expected
