"""Records: events on their channels, and gaps."""

from __future__ import annotations

import pytest

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.record import event_record, gap_key, gap_record, is_gap_key
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.event import Event, encode_event
from tests.edge.core.pieces import ALL, ORDERS, A, event, place, record


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


def test_a_frame_is_encoded_once_and_again_from_the_brokers_bytes() -> None:
    """The event is there until the fan-out is done; later the bytes of the broker are decoded again, and
    what was decoded is not kept."""
    happened = event(1, payload={"n": 1}, resource=("orders", "1"), to=("all",))
    made = event_record(ORDERS, place(1), place(0), (A, ALL), happened, encode_event(happened))
    seen: list[tuple[Event, str, str]] = []

    def encode(event: Event, channel: str, offset: str) -> bytes:
        seen.append((event, channel, offset))
        return channel.encode()

    assert [made.wire(made.slots[0], encode) for _ in range(2)] == [A.encode()] * 2
    made.event = None
    assert [made.wire(made.slots[1], encode) for _ in range(2)] == [ALL.encode()] * 2

    assert seen == [(happened, A, f"orders@{place(0)}"), (happened, ALL, f"orders@{place(0)}")]
    assert made.event is None


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
    made = gap_record(Loss(stream, GapReason.TRIMMED, place(1), place(4)), b"gap", 3)

    [slot] = made.slots
    assert (slot.keys, slot.channel, made.position) == (keys, "", place(4))
    assert made.offset == f"{stream.topic}@{place(4)}"
    assert made.wire(slot, lambda *_: b"never asked") == b"gap"
    assert made.is_gap
    assert not record(1).is_gap


def test_the_key_of_gaps_is_no_channel() -> None:
    """Nobody can subscribe to it by its name."""
    assert is_gap_key(gap_key(0))
    assert not is_gap_key(A)
