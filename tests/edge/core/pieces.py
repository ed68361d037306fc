"""The pieces that tests of the core are put together from: places, events, records and a member."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from fanwire_edge.core.dialect import Dialect
from fanwire_edge.core.hub import NO_NUMBER, Hub, Lag, Members, Sink
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.route import route_on
from fanwire_edge.core.stream import Stream
from fanwire_protocol.event import Event, encode_event
from fanwire_protocol.frames import Frame
from fanwire_protocol.position import BEGINNING, Position

BROKER = "5f0c2a91"
IDENTITY = BROKER + "0" * 32
ORDERS = Stream("orders", 0)
JOBS = Stream("jobs", 0)
A = "tenant:acme:resource:orders:1"
B = "tenant:acme:resource:orders:2"
ALL = "tenant:acme:all"


def entry_id(number: int) -> str:
    """Return the id of the entry *number* of a stream, 0 for the place before the first."""
    return f"{1000 + number}-0" if number else BEGINNING


def place(number: int) -> Position:
    """Return the position of the entry *number*."""
    return Position(entry_id(number), BROKER)


def event(number: int, **fields: Any) -> Event:
    """Return an event of the tenant acme."""
    return Event(**{"id": f"e-{number}", "type": "changed", "tenant": "acme", "time": 1000, **fields})


def event_record(
    stream: Stream, position: Position, before: Position, channels: tuple[str, ...], event: Event, raw: bytes
) -> Record:
    """Return the record of *event* as if it were mapped to *channels*."""
    route = route_on(channels, event)
    return Record(stream, position.id, position.key, position.broker, before.id, route, raw)


def record(number: int, *channels: str, stream: Stream = ORDERS, payload: Any = None) -> Record:
    """Return the record of the entry *number* on *channels*, A alone where none is named."""
    happened = event(number, payload=payload)
    raw = encode_event(happened)
    return event_record(stream, place(number), place(number - 1), channels or (A,), happened, raw)


def gap_frame() -> Frame:
    """Return a frame that tells of a loss."""
    return Frame("gap", {}, 1000, "g-1")


def text_of(record: Record, slot: Slot) -> bytes:
    """Return a frame that is easy to read: which entry, on which channel."""
    return f"<{record.position.id} {slot.channel}>".encode()


class Readable(Dialect):
    """A dialect whose frames are easy to read."""

    __slots__ = ()

    def wire(self, record: Record, slot: Slot) -> bytes:
        """Return `text_of`."""
        return text_of(record, slot)


READABLE = Readable("json")


def by_key(hub: Hub, dialect: Dialect = READABLE) -> Members:
    """Return the members of one dialect under each key."""
    return hub.by_dialect.get(dialect, {})


class Recorder:
    """A member that notes what is written to it, one item for each write."""

    def __init__(
        self, hub: Hub | None = None, keys: Collection[str] = (), dialect: Dialect = READABLE
    ) -> None:
        self.dialect = dialect
        self.mask = 0
        self.lag: Lag | None = None
        self.keys: Collection[str] = ()
        self.writes: list[bytes] = []
        self.write: Sink = self.writes.append
        self.number = NO_NUMBER
        self.spilled: list[bytes] = []
        if hub is not None:
            for key in keys:
                hub.subscribe(self, key)

    def spill(self, data: bytes, taken: int) -> None:
        """Take note of what was left."""
        self.spilled.append(data[taken:])


def texts_in(data: bytes) -> Iterator[bytes]:
    """Yield the payload of every whole text frame at the beginning of a server's bytes (RFC 6455 5.2)."""
    at = 0
    while len(data) >= at + 2:
        assert data[at] == 0x81, "one unfragmented text frame after the other"
        size, at = data[at + 1], at + 2
        assert size < 128, "a server does not mask"
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(data) < at + width:
                return
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        if len(data) < at + size:
            return
        yield data[at : at + size]
        at += size
