"""Dialects: how frames are written for some of the connections, an encoding, compressed or not.

Every connection speaks one. The bytes of a record's frame are made at most once for each dialect, when
somebody who speaks it is due the frame, and kept with the record.
"""

from __future__ import annotations

from collections.abc import Iterable

from fanwire_edge.core.deflate import deflated, negotiate
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.websocket import BINARY, DEFLATED, TEXT, message_frame, payload_of
from fanwire_protocol.codec import Encoding
from fanwire_protocol.frames import Frame, encode_frame
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

__all__ = ["SUBPROTOCOLS", "DeflatedDialect", "Dialect", "Dialects"]

SUBPROTOCOLS = (JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL)


class Dialect:
    """An encoding, written as it is."""

    __slots__ = ("_faulty", "_head", "encoding")
    # Whether the peer, too, may compress.
    is_deflated = False

    def __init__(self, encoding: Encoding, faulty: list[Record] | None = None) -> None:
        self.encoding: Encoding = encoding
        # Where those are put whose event turns out to break a rule.
        self._faulty = [] if faulty is None else faulty
        self._head = TEXT if encoding == "json" else BINARY

    def own(self, frame: Frame) -> bytes:
        """Return the bytes of a frame for one connection, which is not worth compressing."""
        return message_frame(encode_frame(frame, self.encoding), self._head)

    def wire(self, record: Record, slot: Slot) -> bytes:
        """Return the bytes of one frame of *record*, made at most once; none where it has a fault."""
        data = slot.data(self)
        if data is None:
            data = self._made(record, slot)
            slot.keep(self, data)
        return data

    def _made(self, record: Record, slot: Slot) -> bytes:
        if record.fault is None:
            payload = record.encoded(slot, self.encoding)
            if record.fault is None:
                return message_frame(payload, self._head)
            self._faulty.append(record)
        return b""


class DeflatedDialect(Dialect):
    """What *plain* writes, compressed where a frame's payload has at least *from_bytes*."""

    __slots__ = ("_from_bytes", "_plain")
    is_deflated = True

    def __init__(self, plain: Dialect, from_bytes: int) -> None:
        super().__init__(plain.encoding)
        self._plain = plain
        self._from_bytes = from_bytes

    def _made(self, record: Record, slot: Slot) -> bytes:
        plain = self._plain.wire(record, slot)
        payload = payload_of(plain) if plain else plain
        if len(payload) < self._from_bytes:
            return plain
        packed = deflated(payload)
        # What does not shrink is sent as it is, which the peer can tell from the frame.
        return message_frame(packed, self._head | DEFLATED) if len(packed) < len(payload) else plain


class Dialects:
    """The dialects of one edge; without *deflate_from_bytes* it compresses nothing.

    Into *faulty* are put, once each, the records whose event turned out to break a rule.
    """

    def __init__(self, deflate_from_bytes: int | None = None, faulty: list[Record] | None = None) -> None:
        self.faulty = [] if faulty is None else faulty
        self.json = Dialect("json", self.faulty)
        self.msgpack = Dialect("msgpack", self.faulty)
        self._deflated = (
            {}
            if deflate_from_bytes is None
            else {plain: DeflatedDialect(plain, deflate_from_bytes) for plain in (self.json, self.msgpack)}
        )

    def extension(self, lines: Iterable[str]) -> str | None:
        """Return what answers the lines of `Sec-WebSocket-Extensions`, None for nothing."""
        return negotiate(lines) if self._deflated else None

    def of(self, subprotocol: str | None, extension: str | None) -> Dialect:
        """Return the dialect of a connection by what its handshake answered."""
        plain = self.msgpack if subprotocol == MSGPACK_SUBPROTOCOL else self.json
        return plain if extension is None else self._deflated[plain]
