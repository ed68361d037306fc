"""The log of an edge."""

from __future__ import annotations

import pytest

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.latest import KEY_BYTES, Latest
from fanwire_edge.core.log import Log, Slice, Stretch
from fanwire_edge.core.record import Record, gap_record
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position
from tests.edge.core.pieces import ALL, JOBS, ORDERS, A, B, gap_frame, place, record, text_of

SIZE = record(1).size


def filled(max_bytes: int, *records: Record) -> Log:
    log = Log(max_bytes)
    log.anchor(ORDERS, place(0))
    log.anchor(JOBS, place(0))
    for each in records:
        log.append(each)
    return log


def test_records_are_numbered_as_they_come() -> None:
    """Whatever stream they are of."""
    records = [record(1), record(1, B, stream=JOBS), record(2)]
    log = filled(10 * SIZE, *records)

    assert [each.seq for each in records] == [0, 1, 2]
    assert (log.first, log.next, log.size_bytes) == (0, 3, 3 * SIZE)


def test_a_read_finds_what_is_under_any_key_once_and_in_order() -> None:
    """Between the two numbers; a key that nothing is under is no error."""
    records = [record(1, A), record(2, B), record(3, A, B), record(4, ALL), record(5, A)]
    log = filled(10 * SIZE, *records)

    assert log.read([A, B, "nothing"], 0, 5, 10) == Slice((*records[:3], records[4]), 5)
    assert log.read([A, B], 1, 4, 10) == Slice(tuple(records[1:3]), 4)
    assert log.read([], 0, 5, 10) == Slice((), 5)


def test_a_read_that_is_full_says_where_to_go_on() -> None:
    """At the first record that found no room, not merely behind the last one that did."""
    records = [record(1, A), record(2, B), record(3, A)]
    log = filled(10 * SIZE, *records)

    assert log.read([A], 0, 3, 1) == Slice((records[0],), 2)
    assert log.read([A], 2, 3, 1) == Slice((records[2],), 3)


def test_beyond_the_budget_the_oldest_go_and_leave_their_place() -> None:
    """What was evicted can neither be read nor placed any more; the newest stays, whatever its size."""
    records = [record(1), record(2, B), record(3)]
    log = filled(2 * SIZE, *records)

    assert (log.first, log.next, log.size_bytes) == (1, 3, 2 * SIZE)
    assert log.read([A, B], 1, 3, 10).records == tuple(records[1:])
    assert log.positions_at(1) == {ORDERS: place(1), JOBS: place(0)}
    with pytest.raises(AssertionError):
        log.read([A], 0, 3, 10)
    with pytest.raises(AssertionError):
        log.positions_at(0)

    log.append(record(4, payload="x" * 10 * SIZE))

    assert (log.first, log.next) == (3, 4)
    assert log.read([B], 3, 4, 10).records == ()


def test_records_on_their_way_stay_whatever_the_budget_says() -> None:
    """From `keep_from` on; with the next record after that the budget holds again."""
    log = filled(2 * SIZE, record(1), record(2))
    log.keep_from = 1
    for number in (3, 4, 5):
        log.append(record(number))
    assert (log.first, log.next) == (1, 5)

    log.keep_from = 5
    log.append(record(6))

    assert (log.first, log.next) == (4, 6)


def test_a_place_is_behind_the_last_record_of_each_stream_before_it() -> None:
    """A stream without one stands at its anchor."""
    log = filled(10 * SIZE, record(1), record(1, stream=JOBS), record(2))

    places = [(log.positions_at(seq)[ORDERS], log.positions_at(seq)[JOBS]) for seq in range(4)]

    expected = [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert places == [(place(orders), place(jobs)) for orders, jobs in expected]


def test_a_read_can_be_of_one_stream() -> None:
    """What other streams brought under the same key is passed over and does not count."""
    records = [record(1), record(1, stream=JOBS), record(2), record(2, stream=JOBS)]
    log = filled(10 * SIZE, *records)

    assert log.read_stream(ORDERS, {A}, place(0), place(2), 1) == Stretch([records[0]], place(1))
    assert log.read_stream(ORDERS, {A}, place(1), place(2), 2) == Stretch([records[2]], None)
    assert log.read_stream(ORDERS, {B}, place(0), place(2), 2) == Stretch([], None)


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_a_stream_under_a_busy_key_is_read_by_its_own_records(most: int) -> None:
    """However many other streams brought under the same key, and however many of its own are passed over."""
    log = Log(10**9)
    for stream in (ORDERS, JOBS):
        log.anchor(stream, place(0))
    mine = []
    for number in range(1, 3001):
        log.append(record(number, A, stream=JOBS))
        log.append(record(number, A if number % 1000 == 0 else B))
        if number % 1000 == 0:
            mine.append(number)

    found, after = [], place(0)
    while True:
        stretch = log.read_stream(ORDERS, {A}, after, place(3000), most)
        found += [each.position for each in stretch.records]
        if stretch.reached is None:
            break
        assert stretch.reached.key > after.key
        after = stretch.reached

    assert found == [place(number) for number in mine]


def test_memory_reaches_back_to_what_was_evicted_last() -> None:
    """Of each stream by itself; another broker's positions prove nothing."""
    log = filled(2 * SIZE, record(1), record(2), record(2, stream=JOBS), record(3))

    assert [log.reaches(ORDERS, place(number)) for number in range(5)] == [False, False, True, True, True]
    assert log.reaches(JOBS, place(0))
    assert not log.reaches(ORDERS, Position(place(3).id, "0badcafe"))


def test_the_number_after_a_place_is_that_of_the_next_record_of_the_stream() -> None:
    """Or the one that comes next, where there is none."""
    log = filled(2 * SIZE, record(1), record(2), record(2, stream=JOBS), record(5))

    assert [log.number_after(ORDERS, place(number)) for number in (2, 3, 5)] == [3, 3, 4]
    assert [log.number_after(JOBS, place(number)) for number in (0, 2)] == [2, 4]
    assert Log(1).next == filled(SIZE).number_after(ORDERS, place(0)) == 0


def test_memory_does_not_reach_back_over_a_gap() -> None:
    """What lies before it is told as lost, whatever of it is still there."""
    log = filled(10 * SIZE, record(1), record(2))
    log.append(gap_record(Loss(ORDERS, GapReason.TRIMMED, place(2), place(6)), gap_frame(), 1))
    log.append(record(7))

    assert [log.reaches(ORDERS, place(number)) for number in (2, 6, 7)] == [False, True, True]
    assert log.number_after(ORDERS, place(6)) == 3

    for _ in range(3):
        log.append(record(8, payload="x" * 10 * SIZE))

    assert not log.reaches(ORDERS, place(7))
    assert log.reaches(ORDERS, place(8))


def test_a_record_on_two_channels_of_one_pattern_is_found_once() -> None:
    """And forgotten once, however many of its keys are the same."""
    size = record(1, A, B).size
    log = filled(2 * size, *(record(number, A, B) for number in (1, 2, 3)))
    pattern = "tenant:acme:resource:orders:*"

    assert [each.position for each in log.read([pattern], 1, 3, 10).records] == [place(2), place(3)]
    log.append(record(4, ALL, payload="x" * 2 * size))
    assert log.read([pattern], 3, 4, 10).records == ()


def test_a_log_that_runs_for_long_stays_as_it_is() -> None:
    """What was evicted is let go in amortised constant time, in the list as in the index."""
    log = filled(10 * SIZE)
    for number in range(1, 5001):
        log.append(record(number, A if number % 2 else B))

    assert (log.next, log.next - log.first) == (5000, log.size_bytes // record(5000).size)
    assert [each.position for each in log.read([A, B], log.first, 5000, 10).records] == [
        place(number) for number in range(log.first + 1, 5001)
    ]
    assert len(log._records) < 2200
    assert len(log._index[A]) < 140
    assert log.positions_at(4995) == {ORDERS: place(4995), JOBS: place(0)}


@pytest.mark.parametrize(
    ("keys", "start", "stop", "at_most", "begin"),
    [
        ((A,), 0, 6, 4, None),
        ((A,), 0, 6, 3, 2),
        ((A,), 0, 6, 1, 5),
        ((A,), 1, 5, 1, 3),
        ((A,), 1, 5, 2, None),
        ((A, B), 0, 6, 4, 2),
        # On two of its keys: it counts once.
        ((A, B, ALL), 0, 6, 5, 1),
        ((A, B, ALL), 0, 6, 6, None),
        ((B, "nothing"), 0, 6, 1, 4),
        (("nothing",), 0, 6, 1, None),
    ],
)
def test_where_the_newest_begin_is_told_where_there_are_more(
    keys: tuple[str, ...], start: int, stop: int, at_most: int, begin: int | None
) -> None:
    """Of the records under any of the keys, between two numbers; the evicted ones do not count."""
    channels = ((A,), (B,), (A, ALL), (A,), (B, ALL), (A,))
    records = [record(number, *each) for number, each in enumerate(channels, 1)]

    assert filled(10 * SIZE, *records).newest(keys, start, stop, at_most) == begin


def test_what_stands_for_older_records_is_known_while_it_is_there() -> None:
    """It is charged against the budget too."""
    latest = Latest(lambda channel: True)
    log = Log(2 * SIZE + 2 * KEY_BYTES, latest)
    records = [record(number, A if number < 3 else B) for number in range(1, 5)]
    for each in records:
        each.conflation_key = "k"
    log.anchor(ORDERS, place(0))

    for each in records[:2]:
        log.append(each)
    assert log.size_bytes == 2 * SIZE + KEY_BYTES
    assert log.latest.conflating(text_of)(records[0], records[0].slots[0]) == b""

    for each in records[2:]:
        log.append(each)
    assert (log.first, log.size_bytes) == (2, 2 * SIZE + KEY_BYTES)
