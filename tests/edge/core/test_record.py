"""Records: events on their channels, and gaps."""

from __future__ import annotations

import pytest

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.record import gap_key, gap_record, is_gap_key, is_resource_key
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.event import encode_event
from fanwire_protocol.frames import Frame, decode_frame
from tests.edge.core.pieces import ALL, ORDERS, A, event, event_record, gap_frame, place, record


def test_an_event_on_one_channel_carries_its_own_position() -> None:
    """Its slot is found under the channel and the patterns that match it."""
    made = record(5, A)

    assert (made.position, made.offset, made.seq) == (place(5), f"orders@{place(5)}", -1)
    [slot] = made.slots
    assert slot.channel == A
    assert slot.keys == (A, "tenant:acme:resource:orders:*", "tenant:acme:resource:*")


def test_an_event_on_several_channels_carries_the_position_before_it() -> None:
    """So a cut between its frames loses none; the record itself stands where the entry does."""
    made = record(5, A, ALL)

    assert (made.position, made.offset) == (place(5), f"orders@{place(4)}")
    assert [slot.channel for slot in made.slots] == [A, ALL]


def test_a_frame_is_made_of_the_brokers_bytes() -> None:
    """For each slot and each encoding; what was decoded is not kept."""
    fields = {"payload": {"n": 1}, "resource": ("orders", "1"), "to": ("all",), "correlation_id": "c-1"}
    happened = event(1, **fields)
    made = event_record(ORDERS, place(1), place(0), (A, ALL), happened, encode_event(happened))
    expected = [
        Frame("changed", {"n": 1}, 1000, "e-1", channel, f"orders@{place(0)}", "c-1") for channel in (A, ALL)
    ]

    assert [decode_frame(made.encoded(slot, "json")) for slot in made.slots] == expected
    assert [decode_frame(made.encoded(slot, "msgpack"), "msgpack") for slot in made.slots] == expected
    assert made.fault is None


def test_an_event_that_turns_out_to_break_a_rule_becomes_no_frame() -> None:
    """Which is seen only when its frame is made; the record says what is wrong."""
    data = encode_event(event(1, resource=("orders", "1"), payload={"n": 1}))
    made = event_record(ORDERS, place(1), place(0), (A,), event(1), data.replace(b"\xa1n\x01", b"\xa1n\xc1"))

    assert made.encoded(made.slots[0], "json") == b""
    assert made.fault == "$: not valid msgpack"


def test_a_slot_keeps_the_bytes_of_each_dialect() -> None:
    """Whatever it is that tells them apart; nothing is kept for one that nobody asked for."""
    [slot] = record(1).slots
    dialects = [object(), object(), object()]

    assert [slot.data(dialect) for dialect in dialects] == [None] * 3
    for number, dialect in enumerate(dialects):
        slot.keep(dialect, b"%d" % number)
        assert [slot.data(each) for each in dialects] == [
            b"%d" % place if place <= number else None for place in range(3)
        ]


def test_a_record_is_charged_for_its_bytes_and_its_frames() -> None:
    """Twice the channels cost more, and so do more bytes."""
    assert record(1, A).size < record(1, A, ALL).size
    assert record(1, A, payload="x" * 1000).size == record(1, A, payload="").size + 3 * 1002


@pytest.mark.parametrize(
    ("stream", "keys"),
    [
        (Stream("orders", 1), ("gap:1",)),
        (Stream("system", 0), ("gap:0", "gap:1", "gap:2")),
    ],
    ids=["a partition", "system"],
)
def test_a_gap_reaches_everyone_whom_the_stream_feeds(stream: Stream, keys: tuple[str, ...]) -> None:
    """The one partition of `system` feeds all."""
    made = gap_record(Loss(stream, GapReason.TRIMMED, place(1), place(4)), told := gap_frame(), 3)

    [slot] = made.slots
    assert (slot.keys, slot.channel, made.position) == (keys, "", place(4))
    assert made.offset == f"{stream.topic}@{place(4)}"
    assert decode_frame(made.encoded(slot, "json")) == told
    assert made.is_gap
    assert not record(1).is_gap


def test_the_key_of_gaps_is_no_channel() -> None:
    """Nobody can subscribe to it by its name."""
    assert is_gap_key(gap_key(0))
    assert not is_gap_key(A)


@pytest.mark.parametrize(
    ("key", "is_resource"),
    [(A, True), ("tenant:acme:resource:*", True), (ALL, False), ("system:all", False), (gap_key(0), False)],
)
def test_the_keys_of_resources_are_told_from_those_that_the_server_joins(key: str, is_resource: bool) -> None:
    """Channels and patterns alike, whatever their type and id."""
    assert is_resource_key(key) == is_resource
