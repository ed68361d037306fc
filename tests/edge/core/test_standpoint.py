"""Where connections stand: made once for a moment, and small where it is kept."""

from __future__ import annotations

import sys

import pytest

from fanwire_edge.core.standpoint import Kept, Standpoint, Standpoints, compact
from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of
from fanwire_protocol.position import BEGINNING, Position
from tests.edge.core.pieces import BROKER, JOBS, ORDERS, place

PLACES = {ORDERS: place(7), JOBS: Position(BEGINNING, BROKER)}


def test_what_is_kept_reads_like_what_it_was_made_of() -> None:
    """Every position with its broker; a stream that was not there is not there."""
    kept = compact(PLACES, None)

    assert isinstance(kept, Kept)
    assert (dict(kept), len(kept), kept == PLACES) == (PLACES, 2, True)
    assert CONTROL not in kept
    with pytest.raises(KeyError):
        kept[CONTROL]


def test_what_is_kept_shares_its_streams_with_what_was_kept_before() -> None:
    """As long as they are the same; then a position costs 16 bytes."""
    before = compact(PLACES, None)
    after = compact({JOBS: place(9), ORDERS: place(8)}, before)
    other = compact({ORDERS: place(8)}, after)

    assert isinstance(before, Kept)
    assert isinstance(after, Kept)
    assert isinstance(other, Kept)
    assert after.streams is before.streams
    assert dict(after) == {ORDERS: place(8), JOBS: place(9)}
    assert dict(other) == {ORDERS: place(8)}

    many = {Stream(f"topic-{number}", 0): place(number) for number in range(35)}
    assert sys.getsizeof(compact(many, None)._ids) < 35 * 16 + 64  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("to", "is_small"),
    [
        ({ORDERS: place(3)}, True),
        ({ORDERS: place(3), JOBS: place(4)}, True),
        ({ORDERS: Position("1-0", "0000ffff")}, False),
        ({Stream("late", 0): place(3)}, False),
    ],
    ids=["one", "both", "another broker", "another stream"],
)
def test_what_is_kept_can_be_moved(to: dict[Stream, Position], is_small: bool) -> None:
    """It stays small where streams and broker are the same; what it was moved from stays as it was."""
    kept = compact(PLACES, None)
    assert isinstance(kept, Kept)

    moved = kept.moved(to)

    assert (dict(moved), isinstance(moved, Kept)) == ({**PLACES, **to}, is_small)
    assert kept == PLACES


def test_positions_of_different_brokers_are_kept_as_they_are() -> None:
    """As they are for a moment after a failover; and so are none at all."""
    mixed = {ORDERS: place(7), JOBS: Position("1-0", "0000ffff")}

    assert compact(mixed, None) is mixed
    assert compact({}, None) == {}


def test_a_moment_is_told_of_once() -> None:
    """The same standpoint, the same texts and the same places to keep, until the positions are others."""
    standpoints = Standpoints()
    places = {**PLACES, CONTROL: place(1)}
    one = standpoints.of(places, "acme", 1)

    assert standpoints.of(places, "other", 1) is one
    assert one.places == PLACES
    assert one.shown == {"orders": str(place(7)), "jobs": f"{BEGINNING}~{BROKER}"}
    assert one.shown is one.shown
    assert standpoints.kept(places, "acme", 1) is standpoints.kept(places, "other", 1)

    moved = {**places, ORDERS: place(8)}
    assert standpoints.of(moved, "acme", 1) is not one
    assert standpoints.of(moved, "acme", 1).places[ORDERS] == place(8)
    assert standpoints.kept(moved, "acme", 1) == {ORDERS: place(8), JOBS: Position(BEGINNING, BROKER)}


def test_tenants_of_other_partitions_stand_elsewhere() -> None:
    """Each is told of the streams that can feed it, and of no others."""
    tenants = {partition_of(DIRECT_TOPIC, f"tenant-{number}", 2): f"tenant-{number}" for number in range(20)}
    places = {Stream("orders", 0): place(4), Stream("orders", 1): place(5)}
    standpoints = Standpoints()

    shown = {number: standpoints.of(places, tenant, 2).shown for number, tenant in tenants.items()}

    assert shown == {0: {"orders": str(place(4))}, 1: {"orders": str(place(5))}}


def test_one_that_is_behind_stands_by_itself() -> None:
    """A standpoint is no more than its places."""
    assert Standpoint({ORDERS: place(3)}).kept(None) == {ORDERS: place(3)}
