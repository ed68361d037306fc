"""Records: what the log of an edge holds, an event on its channels or a gap."""

from __future__ import annotations

from collections.abc import Callable

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.stream import Stream
from fanwire_protocol.channels import matching_patterns
from fanwire_protocol.event import Event, decode_event
from fanwire_protocol.keys import SYSTEM_TOPIC
from fanwire_protocol.position import Position

__all__ = ["Record", "Slot", "event_record", "gap_key", "gap_record", "is_gap_key"]

_GAP = "gap:"
# Python objects around the bytes of a record, as measured with tracemalloc: charged against the budget.
RECORD_OVERHEAD_BYTES = 700


class Slot:
    """One frame that a record can become: the event on one of its channels.

    `keys` are the names under which a connection can be subscribed to it, the concrete channel first.
    """

    __slots__ = ("channel", "data", "keys")

    def __init__(self, channel: str, keys: tuple[str, ...], data: bytes | None = None) -> None:
        self.channel = channel
        self.keys = keys
        self.data = data


class Record:
    """An entry of the edge's log.

    `offset` is what its frames carry, `position` the entry's own. `raw` is the broker's record, from
    which frames can be made again; `event` is kept only until the record was fanned out.
    """

    __slots__ = ("event", "offset", "position", "raw", "seq", "slots", "stream")

    def __init__(
        self, stream: Stream, position: Position, offset: str, slots: tuple[Slot, ...], raw: bytes
    ) -> None:
        self.seq = -1
        self.stream = stream
        self.position = position
        self.offset = offset
        self.slots = slots
        self.raw = raw
        self.event: Event | None = None

    @property
    def is_gap(self) -> bool:
        """Whether it tells of a loss."""
        return self.slots[0].channel == ""

    @property
    def size(self) -> int:
        """Bytes that the record is charged with."""
        return RECORD_OVERHEAD_BYTES * len(self.slots) + 3 * len(self.raw)

    def wire(self, slot: Slot, encode: Callable[[Event, str, str], bytes]) -> bytes:
        """Return the bytes of one frame, encoded at most once."""
        data = slot.data
        if data is None:
            # What is decoded for a late reader is not kept: the budget of the log counts bytes only.
            event = decode_event(self.raw) if self.event is None else self.event
            slot.data = data = encode(event, slot.channel, self.offset)
        return data


def event_record(
    stream: Stream, position: Position, before: Position, channels: tuple[str, ...], event: Event, raw: bytes
) -> Record:
    """Return the record of *event*, which is mapped to *channels*.

    An event on several channels carries the position of the entry before it, so that a cut between its
    frames loses none (PROTOCOL §6).
    """
    offset = position if len(channels) == 1 else before
    slots = tuple(Slot(channel, (channel, *matching_patterns(channel))) for channel in channels)
    record = Record(stream, position, f"{stream.topic}@{offset}", slots, raw)
    record.event = event
    return record


def gap_key(partition: int) -> str:
    """Return the key on which every connection is that *partition* feeds; it is no channel."""
    return f"{_GAP}{partition}"


def is_gap_key(key: str) -> bool:
    """Tell whether a subscription key is that of gaps and not a channel."""
    return key.startswith(_GAP)


def gap_record(loss: Loss, data: bytes, partitions: int) -> Record:
    """Return the record of a gap, whose frame is *data*.

    The one partition of `system` feeds the connections of all partitions.
    """
    concerned = range(partitions) if loss.stream.topic == SYSTEM_TOPIC else (loss.stream.partition,)
    slot = Slot("", tuple(map(gap_key, concerned)), data)
    return Record(loss.stream, loss.end, f"{loss.stream.topic}@{loss.end}", (slot,), data)
