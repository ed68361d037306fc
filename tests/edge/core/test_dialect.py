"""Dialects: the same frames, written in different ways."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.deflate import inflated
from fanwire_edge.core.dialect import SUBPROTOCOLS, DeflatedDialect, Dialect, Dialects
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.record import Record, Slot, gap_record
from fanwire_edge.core.websocket import BINARY, DEFLATED, TEXT, message_frame, payload_of
from fanwire_protocol.codec import Encoding
from fanwire_protocol.codes import GapReason
from fanwire_protocol.event import encode_event
from fanwire_protocol.frames import Frame, decode_frame
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from tests.edge.core.pieces import ALL, ORDERS, A, event, event_record, gap_frame, place, record

JSON, MSGPACK = Dialect("json"), Dialect("msgpack")
PLAIN: list[tuple[Dialect, Encoding, int]] = [(JSON, "json", TEXT), (MSGPACK, "msgpack", BINARY)]
ALL_OFFERS = ["permessage-deflate; client_max_window_bits"]


def shown(dialect: Dialect, data: bytes) -> Frame:
    """The frame that a peer who speaks *dialect* makes of the bytes."""
    payload = payload_of(data)
    if data[0] & DEFLATED:
        payload = inflated(payload, 1_000_000)
    return decode_frame(payload, dialect.encoding)


@pytest.mark.parametrize(("dialect", "encoding", "head"), PLAIN, ids=["json", "msgpack"])
def test_a_dialect_is_an_encoding_and_a_kind_of_frame(
    dialect: Dialect, encoding: Encoding, head: int
) -> None:
    """Text or binary; the frame itself says how it is encoded."""
    data = dialect.own(frame := gap_frame())

    assert (dialect.encoding, dialect.is_deflated, data[0]) == (encoding, False, head)
    assert decode_frame(payload_of(data), encoding) == frame
    assert encoding.encode() in data


payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(payloads, st.integers(1, 400))
def test_every_dialect_says_the_same(payload: Any, from_bytes: int) -> None:
    """A frame of an event decodes to equal values, whichever of the four it was written in."""
    made = record(1, A, ALL, payload=payload)
    dialects = [JSON, MSGPACK, *(DeflatedDialect(plain, from_bytes) for plain in (JSON, MSGPACK))]

    for slot in made.slots:
        frames = [shown(dialect, dialect.wire(made, slot)) for dialect in dialects]
        assert frames == [decode_frame(made.encoded(slot, "json"))] * 4


class Counting(Dialect):
    """Counts what it encodes."""

    __slots__ = ("encoded",)

    def __init__(self) -> None:
        super().__init__("json")
        self.encoded = 0

    def _made(self, record: Record, slot: Slot) -> bytes:
        self.encoded += 1
        return super()._made(record, slot)


def test_a_frame_is_encoded_once_for_all_who_speak_the_encoding() -> None:
    """Compressed or not, in whatever order they ask; the same bytes go to everyone of a dialect."""
    made, plain = record(1, payload="x" * 2000), Counting()
    [slot] = made.slots
    packed = DeflatedDialect(plain, 1024)

    first = packed.wire(made, slot)
    assert packed.wire(made, slot) is first
    assert plain.wire(made, slot) is plain.wire(made, slot)
    assert plain.encoded == 1
    assert len(first) < 250 < len(plain.wire(made, slot))


@pytest.mark.parametrize(
    ("payload", "head"),
    [("x" * 900, TEXT | DEFLATED), ("x" * 500, TEXT), ("".join(map(chr, range(256, 1256))), TEXT | DEFLATED)],
    ids=["long", "short", "beyond ASCII"],
)
def test_only_what_is_long_enough_is_compressed(payload: str, head: int) -> None:
    """Shorter frames are the very ones that go to those who did not ask for compression."""
    made = record(1, payload=payload)
    [slot] = made.slots
    packed = DeflatedDialect(JSON, 1000)

    data = packed.wire(made, slot)

    assert (packed.is_deflated, packed.encoding, data[0]) == (True, "json", head)
    assert (data is JSON.wire(made, slot)) is (head == TEXT)
    assert shown(packed, data).payload == payload


class Noise(Dialect):
    """Writes what nothing can be compressed of."""

    __slots__ = ()

    def wire(self, record: Record, slot: Slot) -> bytes:
        return message_frame(bytes(range(256)), BINARY)


def test_what_does_not_shrink_is_sent_as_it_is() -> None:
    """The receiver can tell; the sender need not pay for nothing."""
    made = record(1)

    data = DeflatedDialect(Noise("msgpack"), 10).wire(made, made.slots[0])

    assert data == message_frame(bytes(range(256)), BINARY)


def test_a_frame_for_one_connection_is_never_compressed() -> None:
    """An answer may hold what the client sent, beside what it may not guess."""
    packed = DeflatedDialect(JSON, 10)

    assert packed.own(gap_frame()) == JSON.own(gap_frame())


def test_a_gap_is_the_same_for_everyone() -> None:
    """One id and one time, in every dialect."""
    made = gap_record(Loss(ORDERS, GapReason.TRIMMED, place(1), place(4)), told := gap_frame(), 1)

    assert [shown(each, each.wire(made, made.slots[0])) for each in (JSON, MSGPACK)] == [told, told]


@pytest.mark.parametrize(
    ("subprotocol", "encoding"),
    [(None, "json"), ("bearer", "json"), (JSON_SUBPROTOCOL, "json"), (MSGPACK_SUBPROTOCOL, "msgpack")],
)
def test_the_handshake_decides_the_dialect(subprotocol: str | None, encoding: Encoding) -> None:
    """What was echoed, and what was agreed on; connections of one dialect share one object."""
    dialects = Dialects(deflate_from_bytes=1000)
    extension = dialects.extension(ALL_OFFERS)
    plain, packed = dialects.of(subprotocol, None), dialects.of(subprotocol, extension)

    assert extension is not None
    assert (plain.encoding, plain.is_deflated) == (encoding, False)
    assert (packed.encoding, packed.is_deflated) == (encoding, True)
    assert (dialects.of(subprotocol, None), dialects.of(subprotocol, extension)) == (plain, packed)
    assert set(SUBPROTOCOLS) == {JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL}


def test_an_edge_that_does_not_compress_agrees_to_nothing() -> None:
    """Which is the default."""
    assert Dialects().extension(ALL_OFFERS) is None
    assert msgpack.unpackb(payload_of(Dialects().msgpack.own(gap_frame())))["encoding"] == "msgpack"


def test_an_event_that_breaks_a_rule_is_no_frame_in_any_dialect_and_is_reported_once() -> None:
    """What is wrong with it stands with the record."""
    dialects = Dialects(1)
    data = encode_event(event(1, payload={"n": 1}))
    made = event_record(ORDERS, place(1), place(0), (A,), event(1), data.replace(b"\xa1n\x01", b"\xa1n\xc1"))
    spoken = [dialects.json, dialects.msgpack, dialects.of(JSON_SUBPROTOCOL, "permessage-deflate")]

    assert [each.wire(made, made.slots[0]) for each in spoken] == [b""] * 3
    assert dialects.faulty == [made]
    assert made.fault == "$: not valid msgpack"
