"""From where on a connection was given each of its channels, so that nothing comes twice (PROTOCOL §6)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.coverage import Coverage, is_given
from fanwire_edge.core.standpoint import compact
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position
from tests.edge.core.pieces import ALL, JOBS, ORDERS, A, B, entry_id, place, record

PATTERN = "tenant:acme:resource:orders:*"


def elsewhere(number: int) -> Position:
    """Return the position of the entry *number* of another broker."""
    return Position(entry_id(number), "0000ffff")


def test_a_channel_is_given_from_when_the_connection_was_put_on_it() -> None:
    """Those of the server since it joined, others since they were asked for, until they are left."""
    coverage = Coverage({ORDERS: place(1)})
    coverage.begin([A, B], {ORDERS: place(3)})

    assert coverage.given({A, B, ALL}, {ALL}, set(), {}) == {
        A: {ORDERS: place(3)},
        B: {ORDERS: place(3)},
        ALL: {ORDERS: place(1)},
    }

    coverage.end([A, "never begun"])
    coverage.begin([A], {ORDERS: place(5)})
    assert coverage.given({A, B}, {A}, set(), {}) == {A: {ORDERS: place(5)}, B: {ORDERS: place(3)}}


@pytest.mark.parametrize(
    ("on", "asked", "new", "keys"),
    [
        # Frames of a resource channel may have come by a pattern, and the other way round.
        ({A, PATTERN}, {A}, set(), {A, PATTERN}),
        ({A, PATTERN}, {PATTERN}, {PATTERN}, {A}),
        # On the channels of the server frames come under their own name only.
        ({A, ALL, "gap:0"}, {A}, set(), {A}),
        ({A, ALL}, {ALL}, set(), {A, ALL}),
        ({A}, {A}, {A}, set()),
    ],
    ids=["by a pattern", "by a channel", "not asked for", "asked for", "all is new"],
)
def test_what_may_have_been_given_are_the_channels_asked_for_and_the_resources(
    on: set[str], asked: set[str], new: set[str], keys: set[str]
) -> None:
    """Nothing was given of those that the connection is on only now."""
    assert Coverage({ORDERS: place(1)}).given(on, asked, new, {}).keys() == keys


@pytest.mark.parametrize(
    ("start", "after"),
    [
        (place(1), place(1)),
        (place(3), place(3)),
        (place(4), place(3)),
        (elsewhere(9), elsewhere(9)),
    ],
    ids=["further back", "the same", "not so far", "of another broker"],
)
def test_a_resumed_channel_is_given_from_its_start_too(start: Position, after: Position) -> None:
    """What was given before stays given, and so do other streams."""
    coverage = Coverage({ORDERS: place(2), JOBS: place(2)})
    coverage.begin([A], {ORDERS: place(3), JOBS: place(3)})

    coverage.resume([A], {ORDERS: start})

    assert coverage.given({A}, set(), set(), {}) == {A: {ORDERS: after, JOBS: place(3)}}


def test_a_resume_reaches_a_channel_of_the_server_and_a_stream_that_was_not_there() -> None:
    """The others of the server are given since the connection joined, as before."""
    coverage = Coverage({ORDERS: place(5)})

    coverage.resume([ALL], {ORDERS: place(2), JOBS: place(1)})

    assert coverage.given(set(), {ALL, "system:all"}, set(), {}) == {
        ALL: {ORDERS: place(2), JOBS: place(1)},
        "system:all": {ORDERS: place(5)},
    }


@pytest.mark.parametrize(
    ("end", "after"),
    [(place(4), place(4)), (place(3), place(3)), (place(2), place(3)), (elsewhere(1), elsewhere(1))],
    ids=["behind", "the same", "before", "of another broker"],
)
def test_what_a_gap_told_of_was_not_given(end: Position, after: Position) -> None:
    """Whether the connection alone was told or everybody; only what came after the gap was given."""
    alone, everybody = Coverage({ORDERS: place(3)}), Coverage({ORDERS: place(3)})
    for coverage in (alone, everybody):
        coverage.begin([A], {ORDERS: place(3), JOBS: place(3)})

    alone.lose(ORDERS, end)

    expected = {A: {ORDERS: after, JOBS: place(3)}, ALL: {ORDERS: after}}
    assert alone.given({A}, {ALL}, set(), {}) == expected
    assert everybody.given({A}, {ALL}, set(), {ORDERS: end}) == expected


def test_what_is_given_from_the_same_places_on_is_worked_out_once() -> None:
    """A connection on hundreds of channels has not as many mappings; nothing is noted of those that it asked
    for where it still stood as it had joined, or that are resumed from where they were given."""
    joined = {ORDERS: place(5)}
    coverage = Coverage(joined)
    coverage.begin([A, B], joined)
    coverage.end([A])
    coverage.begin([A], joined)
    coverage.resume([A, B], {ORDERS: place(2)})

    given = coverage.given({A, B}, {ALL}, set(), {})
    assert given == {A: {ORDERS: place(2)}, B: {ORDERS: place(2)}, ALL: joined}
    assert given[A] is given[B]

    coverage.resume([A], {ORDERS: place(9)})
    assert coverage.given({A}, set(), set(), {}) == {A: {ORDERS: place(2)}}

    small = Coverage(compact({ORDERS: place(5), JOBS: place(5)}, None))
    small.resume([A], {JOBS: place(1)})
    assert small.given({A}, set(), set(), {}) == {A: {ORDERS: place(5), JOBS: place(1)}}
    coverage.end([A, B])
    assert coverage.given({A}, set(), set(), {}) == {A: joined}


def test_a_gap_in_a_stream_that_was_found_later_changes_nothing() -> None:
    """It was given from its first entry on, apart from what everybody was told of."""
    coverage = Coverage({ORDERS: place(3)})

    coverage.lose(JOBS, place(9))

    assert coverage.given(set(), {ALL}, set(), {JOBS: place(9)}) == {ALL: {ORDERS: place(3)}}


@pytest.mark.parametrize(
    ("places", "is_expected"),
    [
        ({A: {ORDERS: place(4)}}, True),
        ({A: {ORDERS: place(5)}}, False),
        ({A: {ORDERS: place(6)}}, False),
        ({PATTERN: {ORDERS: place(4)}}, True),
        ({A: {ORDERS: place(6)}, PATTERN: {ORDERS: place(4)}}, True),
        ({B: {ORDERS: place(4)}}, False),
        ({}, False),
        ({A: {JOBS: place(9)}}, True),
        ({A: {ORDERS: elsewhere(9)}}, True),
    ],
    ids=[
        *("after the place", "at the place", "before it", "by the pattern", "by either"),
        *("another channel", "nothing", "a stream found later", "another broker"),
    ],
)
def test_a_frame_was_given_under_any_of_its_names(
    places: dict[str, dict[Stream, Position]], is_expected: bool
) -> None:
    """It was where its record lies behind the place from which one of them was given."""
    made = record(5, A)

    assert is_given(places, made, made.slots[0]) is is_expected
