"""Which streams are read from where, and what a reply means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwire_edge.core.follower import PROOF_SECONDS, Follower, Loss, ReadReply
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import BEGINNING, Position
from tests.edge.core.pieces import BROKER, IDENTITY, JOBS, ORDERS, entry_id, place

OTHER = "0badcafe" + "1" * 32
SOON = 100.0 + PROOF_SECONDS / 2


def info(added: int, first: int = 1) -> StreamInfo:
    """Of a stream with the entries from *first* to *added*."""
    length = added - first + 1
    return StreamInfo(length, added, entry_id(first) if length else None, entry_id(added))


def entries(*numbers: int) -> list[Entry]:
    return [Entry(entry_id(number), b"") for number in numbers]


@pytest.fixture
def follower() -> Follower:
    """On `orders` behind its entry 3, and on `jobs`, which does not exist yet."""
    made = Follower(8, 2000)
    made.adopt(IDENTITY, {})
    made.follow(ORDERS, info(3), from_start=False)
    made.follow(JOBS, StreamInfo(), from_start=True)
    return made


def test_reading_begins_at_the_end_or_before_the_first_entry(follower: Follower) -> None:
    """Positions carry the broker's identity; none exists before it is known."""
    assert follower.streams == (ORDERS, JOBS)
    assert follower.position(ORDERS) == place(3)
    assert follower.position(JOBS) == Position(BEGINNING, BROKER)
    assert follower.positions == {ORDERS: place(3), JOBS: Position(BEGINNING, BROKER)}
    assert follower.positions is not follower.positions

    unidentified = Follower(8, 2000)
    unidentified.follow(ORDERS, info(3), from_start=False)
    with pytest.raises(AssertionError):
        unidentified.position(ORDERS)


def test_the_first_request_proves_everything_and_asks_who_the_broker_is(follower: Follower) -> None:
    """All in one round trip, with the read."""
    request = follower.request(100.0, block=True)

    assert request.cursors == {ORDERS: entry_id(3), JOBS: BEGINNING}
    assert request.prove == {ORDERS, JOBS}
    assert (request.identify, request.count, request.block_ms) == (True, 8, 2000)


def test_soon_after_only_cursors_that_moved_are_proven(follower: Follower) -> None:
    """Within a few milliseconds of the last request; a read that is not to wait has no time."""
    request = follower.request(100.0, block=True)
    assert follower.doubtful(request, ReadReply(entries={ORDERS: entries(4)})) == frozenset()
    assert follower.receive(ORDERS, entries(4), None) == entries(4)

    request = follower.request(SOON, block=False)

    assert (request.identify, request.block_ms) == (False, None)
    assert request.prove == {ORDERS}
    assert request.cursors[ORDERS] == entry_id(4)


def test_later_everything_is_proven_again(follower: Follower) -> None:
    """Counted from the last request, whatever that one proved."""
    follower.doubtful(follower.request(100.0, block=True), ReadReply())
    assert follower.request(SOON, block=True).prove == frozenset()

    assert follower.request(SOON + 2 * PROOF_SECONDS, block=True).prove == {ORDERS, JOBS}


def test_a_busy_reader_asks_for_the_identity_once_a_second(follower: Follower) -> None:
    """Also where nothing else is due."""
    asked = [follower.request(100 + tenth / 10, block=True).identify for tenth in range(25)]

    assert [tenth for tenth, identify in enumerate(asked) if identify] == [0, 11, 22]


def read(
    follower: Follower, now: float, reply: ReadReply, seconds: float = 0.0
) -> tuple[frozenset[Stream], ReadReply]:
    """One turn as the broadcaster makes it, whose reply comes *seconds* after the request."""
    request = follower.request(now, block=True)
    reply = follower.on_time(reply, request, now + seconds)
    return follower.doubtful(request, reply), reply


def test_a_stream_whose_proof_failed_is_doubtful_unless_there_is_nothing_to_doubt(follower: Follower) -> None:
    """One that was never read and is empty needs no question; with entries it does."""
    assert read(follower, 100.0, ReadReply(unproven=frozenset({ORDERS, JOBS})))[0] == {ORDERS}

    reply = ReadReply(unproven=frozenset({JOBS}), entries={JOBS: entries(1)})
    assert read(follower, 101.0, reply)[0] == {JOBS}


def test_an_emptied_stream_is_asked_about_now_and_then(follower: Follower) -> None:
    """Once it was found to have lost nothing, as often as the identity, until something is added."""
    gone = ReadReply(unproven=frozenset({ORDERS}))
    assert read(follower, 100.0, gone)[0] == {ORDERS}
    follower.receive(ORDERS, (), info(3, first=4))

    assert read(follower, 100.5, gone)[0] == frozenset()
    assert read(follower, 101.5, gone)[0] == {ORDERS}
    follower.receive(ORDERS, (), info(3, first=4))
    assert read(follower, 101.6, replace(gone, entries={ORDERS: entries(4)}))[0] == {ORDERS}


def test_entries_that_come_late_are_read_again_with_a_proof_of_their_own(follower: Follower) -> None:
    """The last proof is too old for them; those that were proven in the same request are taken."""
    read(follower, 100.0, ReadReply())
    follower.receive(ORDERS, entries(4), None)
    reply = ReadReply(entries={ORDERS: entries(5), JOBS: entries(1)})

    _, taken = read(follower, SOON, reply, seconds=1.0)

    assert taken.entries == {ORDERS: entries(5)}
    assert JOBS in follower.request(SOON + 1.001, block=True).prove
    assert read(follower, SOON + 1.002, reply) == (frozenset(), reply)


def test_orders_that_come_late_hold_up_the_data(follower: Follower) -> None:
    """Orders hold for the data of the same read."""
    follower.follow(CONTROL, StreamInfo(), from_start=False)
    read(follower, 100.0, ReadReply())
    follower.receive(ORDERS, entries(4), None)

    _, taken = read(follower, SOON, ReadReply(entries={ORDERS: entries(5), CONTROL: entries(1)}), seconds=1.0)

    assert taken.entries == {}


@pytest.mark.parametrize("stream", [ORDERS, JOBS], ids=["emptied", "never read"])
def test_what_follows_an_entry_that_is_gone_is_never_taken_without_a_question(
    follower: Follower, stream: Stream
) -> None:
    """However soon it comes: the last look cannot tell what was added and removed since the cursor."""
    gone = ReadReply(unproven=frozenset({ORDERS, JOBS}))
    read(follower, 100.0, gone)
    follower.receive(ORDERS, (), info(3, first=4))
    assert read(follower, 100.1, gone)[0] == frozenset()

    _, taken = read(follower, 100.101, ReadReply(entries={stream: entries(5)}))

    assert taken.entries == {}
    assert stream in follower.request(100.102, block=True).prove


def test_entries_that_follow_are_returned_and_passed(follower: Follower) -> None:
    """With or without a question; nothing read moves nothing."""
    assert follower.receive(JOBS, entries(1, 2), info(2)) == entries(1, 2)
    assert follower.receive(ORDERS, (), info(3, first=4)) == ()
    assert follower.receive(ORDERS, entries(4), None) == entries(4)

    assert follower.position(JOBS) == place(2)
    assert follower.position(ORDERS) == place(4)


def test_a_hole_is_a_loss_up_to_the_first_entry_left(follower: Follower) -> None:
    """The entries of that read are not taken: they come again, those behind the gap."""
    found = follower.receive(ORDERS, entries(7, 8), info(8, first=7))

    assert found == Loss(ORDERS, GapReason.TRIMMED, place(3), place(7))
    assert follower.position(ORDERS) == place(7)
    assert follower.receive(ORDERS, entries(8), None) == entries(8)


def test_another_identity_loses_everything_up_to_the_present_end(follower: Follower) -> None:
    """Of every stream; the start bears the old identity, the end the new one."""
    losses = follower.adopt(OTHER, {ORDERS: info(9), JOBS: StreamInfo()})

    new = OTHER[:8]
    assert losses == [
        Loss(ORDERS, GapReason.FAILOVER, place(3), Position(entry_id(9), new)),
        Loss(JOBS, GapReason.FAILOVER, Position(BEGINNING, BROKER), Position(BEGINNING, new)),
    ]
    assert follower.position(ORDERS) == Position(entry_id(9), new)


def test_the_same_identity_goes_on_where_it_was_and_proves_it(follower: Follower) -> None:
    """A connection that broke loses nothing by itself."""
    follower.doubtful(follower.request(100.0, block=True), ReadReply())

    assert follower.adopt(IDENTITY, {ORDERS: info(9), JOBS: StreamInfo()}) == []

    request = follower.request(SOON, block=True)
    assert request.cursors[ORDERS] == entry_id(3)
    assert request.prove == {ORDERS, JOBS}
    assert request.identify


def test_the_size_of_a_read_is_halved_and_doubled_within_bounds(follower: Follower) -> None:
    """At least one entry, at most as many as were configured."""

    def counts() -> int:
        return follower.request(100.0, block=True).count

    seen = [counts()]
    for change in [follower.shrink] * 5 + [follower.grow] * 5:
        change()
        seen.append(counts())

    assert seen == [8, 4, 2, 1, 1, 1, 2, 4, 8, 8, 8]
