"""The fan-out of a batch (DESIGN "Fan-out of a batch")."""

from __future__ import annotations

from array import array

import pytest

from fanwire_edge.core.dialect import Dialect
from fanwire_edge.core.fanout import BATCH_BYTES, Delivery, batches, reach, wanted
from fanwire_edge.core.hub import NO_NUMBER, Hub, Lag
from fanwire_edge.core.record import Record, Slot
from tests.edge.core.pieces import ALL, READABLE, A, B, Readable, Recorder, by_key, record

ORDERS = "tenant:acme:resource:orders:*"


def text(number: int, channel: str = A) -> bytes:
    return f"<{1000 + number}-0 {channel}>".encode()


class Halves(Readable):
    """A dialect whose every frame is half a batch."""

    __slots__ = ()
    frame = b"x" * (BATCH_BYTES // 2)

    def wire(self, record: Record, slot: Slot) -> bytes:
        return self.frame


def delivery_of(hub: Hub, *records: Record, dialect: Dialect = READABLE) -> Delivery:
    delivery = Delivery(hub, dialect, by_key(hub, dialect))
    for each in records:
        delivery.add(each)
    return delivery


def delivered(hub: Hub, *records: Record) -> Delivery:
    delivery = delivery_of(hub, *records)
    for _ in delivery.run():
        pass
    return delivery


def test_everyone_on_one_channel_gets_the_same_bytes_in_one_write() -> None:
    """Where a single key is touched nothing is collected; the bytes are one object for all."""
    hub = Hub()
    first, second = Recorder(hub, {A}), Recorder(hub, {A})

    delivery = delivered(hub, record(1), record(2))

    assert first.writes == second.writes == [text(1) + text(2)]
    assert first.writes[0] is second.writes[0]
    assert (delivery.frames, delivery.deliveries, delivery.written_bytes) == (2, 4, 4 * len(text(1)))


def test_each_gets_the_frames_of_its_channels_in_log_order_in_one_write() -> None:
    """Across channels; the same selection is joined once, and the scratch space is clean again."""
    hub = Hub()
    on_a, on_b, on_both, also_both = (Recorder(hub, keys) for keys in ({A}, {B}, {A, B}, {A, B}))

    delivery = delivered(hub, record(1, A), record(2, B), record(3, A))

    assert on_a.writes == [text(1) + text(3)]
    assert on_b.writes == [text(2, B)]
    assert on_both.writes == [text(1) + text(2, B) + text(3)]
    assert on_both.writes[0] is also_both.writes[0]
    assert {member.mask for member in (on_a, on_b, on_both, also_both)} == {0}
    assert (delivery.deliveries, delivery.written_bytes) == (9, 9 * len(text(1)))


def test_several_matching_subscriptions_give_one_frame() -> None:
    """The exact one and a pattern."""
    hub = Hub()
    member = Recorder(hub, {A, ORDERS})

    delivered(hub, record(1))

    assert member.writes == [text(1)]


def test_an_event_on_several_channels_gives_a_frame_for_each_that_one_is_on() -> None:
    """In the order of its routes; what nobody is on is not even encoded."""
    hub = Hub()
    on_both, on_one = Recorder(hub, {A, ALL}), Recorder(hub, {ALL})

    delivery = delivered(hub, record(1, A, B, ALL))

    assert on_both.writes == [text(1) + text(1, ALL)]
    assert on_one.writes == [text(1, ALL)]
    assert delivery.frames == 2


def test_what_nobody_wants_is_written_to_nobody() -> None:
    """Not a single round is made."""
    hub = Hub()
    member = Recorder(hub, {B})

    delivery = delivered(hub, record(1))

    assert (member.writes, delivery.frames, list(delivery.run())) == ([], 0, [])


@pytest.mark.parametrize("records", [[record(1)], [record(1), record(2, B)]], ids=["same", "masked"])
def test_nothing_is_written_to_one_that_is_behind(records: list[Record]) -> None:
    """What falls due is counted on its lag instead."""
    hub = Hub()
    live, behind = Recorder(hub, {A, B}), Recorder(hub, {A, B})
    lag = Lag(0, {}, 0.0, size_bytes=7)
    hub.hold(behind, lag)

    delivery = delivered(hub, *records)

    assert behind.writes == []
    assert lag.size_bytes == 7 + len(records) * len(text(1))
    assert delivery.deliveries == len(live.writes) * len(records) == len(records)


@pytest.mark.parametrize("keys", [{A}, {A, B}], ids=["same", "masked"])
def test_a_long_delivery_suspends_between_connections(keys: set[str]) -> None:
    """After 512 of them, so that the caller can look at the clock."""
    hub = Hub()
    members = [Recorder(hub, keys) for _ in range(1100)]
    delivery = delivery_of(hub, *([record(1), record(2, B)][: len(keys)]))

    written = [sum(len(member.writes) for member in members) for _ in delivery.run()]

    assert written == [512, 1024, 1100]


@pytest.mark.parametrize("keys", [{A}, {A, B}], ids=["same", "masked"])
def test_what_happens_while_it_is_suspended_counts(keys: set[str]) -> None:
    """Who has closed meanwhile, or become behind, is not written to."""
    hub = Hub()
    members = [Recorder(hub, keys) for _ in range(600)]
    delivery = delivery_of(hub, *([record(1), record(2, B)][: len(keys)]))

    rounds = delivery.run()
    next(rounds)
    waiting = [member for member in members if not member.writes]
    closed, behind = waiting[0], waiting[1]
    hub.leave(closed)
    closed.write = lambda data: None
    hub.hold(behind, lag := Lag(0, {}, 0.0))
    for _ in rounds:
        pass

    assert (closed.writes, behind.writes) == ([], [])
    assert lag.size_bytes == len(keys) * len(text(1))
    assert all(len(member.writes) == 1 for member in members if member not in (closed, behind))


def test_reach_counts_the_members_of_every_touched_key() -> None:
    """A key counts once, however many records touch it; a key without members not at all."""
    hub = Hub()
    Recorder(hub, {A})
    Recorder(hub, {A, ORDERS})

    assert reach(hub, [record(1), record(2), record(3, ALL)]) == 3
    assert reach(hub, []) == 0


def test_a_batch_ends_with_the_record_that_fills_it() -> None:
    """Each batch comes with the number behind its last record; no frame is torn from its record."""
    hub, halves = Hub(), Halves("json")
    member = Recorder(hub, {A, ALL}, halves)
    records = numbered(10, record(1, A, ALL), record(2, A), record(3, A))

    found = []
    for [delivery], end in batches(hub, records):
        for _ in delivery.run():
            pass
        found.append((end, delivery.frames))

    assert found == [(11, 2), (13, 2)]
    assert member.writes == [Halves.frame * 2] * 2


def test_a_batch_is_the_same_records_for_every_dialect() -> None:
    """The one whose frames are longest ends it; each connection gets its own dialect's bytes, in order."""
    hub, halves = Hub(), Halves("json")
    short, long = Recorder(hub, {A, ALL}), Recorder(hub, {A}, halves)
    records = numbered(0, record(1, A, ALL), record(2, A), record(3, A))

    ends = []
    for deliveries, end in batches(hub, records):
        for delivery in deliveries:
            for _ in delivery.run():
                pass
        ends.append((end, [delivery.frames for delivery in deliveries]))

    assert ends == [(2, [3, 2]), (3, [1, 1])]
    assert short.writes == [text(1) + text(1, ALL) + text(2), text(3)]
    assert long.writes == [Halves.frame * 2, Halves.frame]


@pytest.mark.parametrize("records", [[record(1)], [record(1), record(2, B)]], ids=["same", "masked"])
def test_who_left_while_another_dialect_had_its_turn_is_not_written_to(records: list[Record]) -> None:
    """Nor missed where it was the last one on its channels."""
    hub, other = Hub(), Readable("msgpack")
    first, leaving = Recorder(hub, {A, B}), Recorder(hub, {A, B}, other)
    [(deliveries, _)] = batches(hub, numbered(0, *records))

    written = [list(deliveries[0].run())]
    hub.leave(leaving)
    written.append(list(deliveries[1].run()))

    assert (len(first.writes), leaving.writes, deliveries[1].deliveries) == (1, [], 0)


def test_no_records_make_no_batch() -> None:
    """An idle read writes nothing; a batch that was never filled is given all the same, to nobody even."""
    hub = Hub()
    records = numbered(0, record(1))

    assert list(batches(hub, [])) == []
    assert list(batches(hub, records)) == [([], 1)]
    Recorder(hub, {B})
    [([delivery], end)] = batches(hub, records)
    assert (delivery.frames, end) == (0, 1)


def numbered(first: int, *records: Record) -> list[Record]:
    for seq, each in enumerate(records, first):
        each.seq = seq
    return list(records)


@pytest.mark.parametrize("dialects", [1, 2])
def test_only_what_somebody_is_subscribed_to_is_wanted(dialects: int) -> None:
    """Under its own name or a pattern, live or behind, in whatever dialect."""
    hub = Hub()
    records = [record(1, A), record(2, B), record(3, ALL)]
    for key, dialect in zip((A, ALL), (READABLE, Readable("json"))[-dialects:] * 2, strict=False):
        Recorder(hub, [key], dialect)

    assert wanted(hub, records) == [records[0], records[2]]
    assert wanted(Hub(), records) == []


def test_a_crowd_is_sent_to_at_once_and_what_changes_meanwhile_is_heeded() -> None:
    """What a socket did not take is left to its member; who has no number, or is behind, is written to or
    noted as ever; who leaves or becomes behind between two strides gets nothing more on its socket, and has
    to see to it that `write` leads nowhere."""
    sent: list[int] = []

    def send(numbers: array[int], start: int, stop: int, data: bytes) -> list[tuple[int, int]]:
        assert data == text(1)
        sent.extend(numbers[start:stop])
        if 0 in numbers[start:stop]:
            hub.leave(members[600])
            members[600].number = NO_NUMBER
            hub.hold(members[601], Lag(0, {}, 0.0))
        return [(place, place - 100) for place in range(start, stop) if 0 <= numbers[place] - 100 < 3]

    hub = Hub(send, 2)
    members = [Recorder(hub, {A}) for _ in range(1000)]
    for number, member in enumerate(members[:900]):
        member.number = number
    hub.hold(members[999], Lag(0, {}, 0.0))

    delivery = delivery_of(hub, record(1, A))
    list(delivery.run())

    assert sent == [number for number in range(900) if number not in (600, 601)]
    assert [member.spilled for member in members[99:104]] == [[], [text(1)], [text(1)[1:]], [text(1)[2:]], []]
    assert [len(member.writes) for member in members[899:902]] == [0, 1, 1]
    behind = [member.lag for member in (members[601], members[999])]
    assert [lag and lag.size_bytes for lag in behind] == [len(text(1))] * 2
    assert delivery.deliveries == 1000 - 2


def test_an_event_that_breaks_a_rule_is_delivered_to_nobody() -> None:
    """It has no bytes; what comes with it is delivered all the same."""

    class Faulty(Readable):
        __slots__ = ()

        def wire(self, record: Record, slot: Slot) -> bytes:
            return b"" if record.order == (1001, 0) else super().wire(record, slot)

    hub, dialect = Hub(), Faulty("json")
    member = Recorder(hub, {A}, dialect)
    delivery = delivery_of(hub, record(1), record(2), dialect=dialect)

    list(delivery.run())

    assert (member.writes, delivery.frames, delivery.deliveries) == ([text(2)], 1, 1)
