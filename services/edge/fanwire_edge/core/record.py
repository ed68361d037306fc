"""Records: what the log of an edge holds, an event on its channels or a gap."""

from __future__ import annotations

from functools import lru_cache

from fanwire_edge.core.content import content_of
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.route import Route
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codec import Encoding, InvalidData
from fanwire_protocol.frames import Frame, encode_event_frame, encode_frame
from fanwire_protocol.keys import SYSTEM_TOPIC
from fanwire_protocol.position import Position

__all__ = ["Record", "Slot", "gap_key", "gap_record", "is_gap_key", "is_resource_key"]

_GAP = "gap:"
# Python objects around the bytes of a record, as measured with tracemalloc: charged against the budget.
RECORD_OVERHEAD_BYTES = 700


class Slot:
    """One frame that a record can become: the event on one of its channels.

    `keys` are the names under which a connection can be subscribed to it, the concrete channel first. Its
    bytes are kept for each dialect that somebody asked for; nearly always that is one and the same.
    """

    __slots__ = ("_data", "_dialect", "_others", "channel", "keys")

    def __init__(self, channel: str, keys: tuple[str, ...]) -> None:
        self.channel = channel
        self.keys = keys
        self._dialect: object = None
        self._data: bytes | None = None
        self._others: dict[object, bytes] | None = None

    def data(self, dialect: object) -> bytes | None:
        """Return the bytes that are kept for *dialect*."""
        if dialect is self._dialect:
            return self._data
        return None if self._others is None else self._others.get(dialect)

    def keep(self, dialect: object, data: bytes) -> None:
        """Keep the bytes for *dialect*, for which there were none."""
        if self._dialect is None:
            self._dialect, self._data = dialect, data
        elif self._others is None:
            self._others = {dialect: data}
        else:
            self._others[dialect] = data


class Record:
    """An entry of the edge's log: its id with the numbers by which ids are ordered, and the broker's name.

    `keys` are all names under which connections are subscribed to it. `raw` is the broker's record, from
    which frames are made. A later one with the same `conflation_key` stands for it. `gap` is the frame that
    tells of a loss. `fault` says which rule of PROTOCOL §7 its event breaks, once that is known.
    """

    __slots__ = (
        "_before",
        "_slots",
        "broker",
        "conflation_key",
        "fault",
        "gap",
        "id",
        "keys",
        "order",
        "raw",
        "route",
        "seq",
        "stream",
    )

    def __init__(
        self,
        stream: Stream,
        entry_id: str,
        order: tuple[int, int],
        broker: str,
        before: str,
        route: Route,
        raw: bytes,
    ) -> None:
        self.seq = -1
        self.stream = stream
        self.id = entry_id
        self.order = order
        self.broker = broker
        self._before = before
        self.route = route
        self.keys = route.keys
        self.conflation_key = route.key
        self.raw = raw
        self._slots: tuple[Slot, ...] | None = None
        self.gap: Frame | None = None
        self.fault: str | None = None

    @property
    def position(self) -> Position:
        """The entry's own position."""
        return Position(self.id, self.broker)

    @property
    def offset(self) -> str:
        """What its frames carry.

        An event on several channels carries the position of the entry before it, so that a cut between its
        frames loses none (PROTOCOL §6).
        """
        entry_id = self.id if len(self.route.addresses) == 1 else self._before
        return f"{self.stream.topic}@{entry_id}~{self.broker}"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The frames that it can become, made when they are first asked for."""
        if self._slots is None:
            self._slots = tuple(Slot(channel, keys) for channel, keys in self.route.addresses)
        return self._slots

    @property
    def is_gap(self) -> bool:
        """Whether it tells of a loss."""
        return self.gap is not None

    @property
    def size(self) -> int:
        """Bytes that the record is charged with."""
        return RECORD_OVERHEAD_BYTES * len(self.route.addresses) + 3 * len(self.raw)

    def encoded(self, slot: Slot, encoding: Encoding) -> bytes:
        """Return the frame of one of its slots; nothing, and a `fault`, where the event breaks a rule."""
        if self.gap is not None:
            return encode_frame(self.gap, encoding)
        try:
            content = content_of(self.route, self.raw)
        except InvalidData as problem:
            self.fault = str(problem)
            return b""
        return encode_event_frame(content, slot.channel, self.offset, encoding)


@lru_cache(maxsize=1024)
def gap_key(partition: int) -> str:
    """Return the key on which every connection is that *partition* feeds; it is no channel."""
    return f"{_GAP}{partition}"


def is_gap_key(key: str) -> bool:
    """Tell whether a subscription key is that of gaps and not a channel."""
    return key.startswith(_GAP)


def is_resource_key(key: str) -> bool:
    """Tell whether a subscription key is a resource channel or pattern, which nobody is put on unasked."""
    return key.split(":")[2:3] == ["resource"]


def gap_record(loss: Loss, frame: Frame, partitions: int) -> Record:
    """Return the record of a gap, which *frame* tells of.

    The one partition of `system` feeds the connections of all partitions.
    """
    concerned = range(partitions) if loss.stream.topic == SYSTEM_TOPIC else (loss.stream.partition,)
    keys = tuple(map(gap_key, concerned))
    end = loss.end
    record = Record(loss.stream, end.id, end.key, end.broker, end.id, Route((("", keys),), keys), b"")
    record.gap = frame
    return record
