"""Events and their records (PROTOCOL §7)."""

import dataclasses
import json
import uuid
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.codec import ENVELOPE_DEPTH, MAX_DEPTH, InvalidData, decode_json
from fanwire_protocol.event import (
    ID_FIELD,
    MAX_HEAD_BYTES,
    MAX_TIME_MS,
    RECORD_VERSION,
    Event,
    InvalidEvent,
    check_event,
    decode_event,
    decode_head,
    encode_event,
    refuse_payload,
    uuid7,
)
from fanwire_protocol.frames import FRAME_TYPES, Frame, decode_frame, encode_frame
from tests.protocol.vectors import event_of, load

VECTORS = load("events")
PLAIN = Event("e-1", "order.updated", "acme", 1772143200000, {"status": "shipped"})

segments = st.text("ABCabc012_.@+|~=-", min_size=1, max_size=20)
labels = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300) | labels,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(labels, inner, max_size=3),
    max_leaves=10,
)
targets = st.one_of(st.just(("all",)), st.tuples(st.sampled_from(["user", "role", "connection"]), segments))
events = st.builds(
    Event,
    id=labels,
    type=st.text("ABCabc012_.:-", min_size=1, max_size=20).filter(
        lambda text: text not in FRAME_TYPES and not text.startswith("fanwire.")
    ),
    tenant=segments,
    time=st.integers(0, MAX_TIME_MS),
    payload=payloads,
    resource=st.none() | st.tuples(segments, segments),
    to=st.none() | targets,
    correlation_id=st.none() | labels,
    aggregate=st.none() | st.tuples(labels, labels),
    key=st.none() | labels,
    traceparent=st.none() | labels,
)


@pytest.mark.parametrize("row", VECTORS["valid"], ids=lambda row: row["why"])
def test_an_event_has_one_record(row: dict[str, Any]) -> None:
    """The encoder writes exactly the vector's bytes, and they decode to the event."""
    event = event_of(row["record"])

    assert encode_event(event).hex() == row["hex"]
    assert decode_event(bytes.fromhex(row["hex"])) == event


@pytest.mark.parametrize("row", VECTORS["tolerated"], ids=lambda row: row["why"])
def test_records_of_other_programs_are_understood(row: dict[str, Any]) -> None:
    """What msgpack leaves free, and fields of later versions, do not matter."""
    assert decode_event(bytes.fromhex(row["hex"])) == event_of(row["record"])


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: row["why"])
def test_a_record_that_breaks_a_rule_is_refused_at_its_place(row: dict[str, Any]) -> None:
    """The error names the field, or the place in the bytes."""
    with pytest.raises(InvalidData) as caught:
        decode_event(bytes.fromhex(row["hex"]))
    assert caught.value.path == row["path"]


@given(events)
def test_every_event_comes_back(event: Event) -> None:
    """Encoding and decoding are inverse."""
    assert decode_event(encode_event(event)) == event


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_invalid_data(data: bytes) -> None:
    """Decoding is total."""
    try:
        decode_event(data)
    except InvalidData:
        pass


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Event)]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-9, 9)
            | st.floats()
            | st.binary(max_size=2)
            | st.text(max_size=2),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    )
)
def test_any_map_is_an_event_or_invalid_data(fields: dict[str, Any]) -> None:
    """Whatever stands in the known fields, nothing but InvalidData comes out."""
    record = {"v": 1, "id": "e", "type": "a", "tenant": "acme", "time": 1, "payload": None, **fields}
    try:
        decode_event(msgpack.packb(record))
    except InvalidData:
        pass


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": "\ud800"}, "id"),
        ({"id": 7}, "id"),
        ({"type": 7}, "type"),
        ({"tenant": "ac me"}, "tenant"),
        ({"time": 1.5}, "time"),
        ({"time": True}, "time"),
        ({"resource": "ab"}, "resource"),
        ({"resource": 7}, "resource"),
        ({"resource": {"orders": 1, "42": 2}}, "resource"),
        ({"resource": ("orders", "*")}, "resource"),
        ({"to": "all"}, "to"),
        ({"to": ()}, "to"),
        ({"to": ("user", "a b")}, "to"),
        ({"to": ("all", "all")}, "to"),
        ({"tenant": None, "to": ("role", "admin")}, "to"),
        ({"aggregate": "ab"}, "aggregate"),
        ({"aggregate": ("order", "")}, "aggregate"),
        ({"key": ""}, "key"),
        ({"correlation_id": "c" * 129}, "correlation_id"),
        ({"traceparent": "\ud800"}, "traceparent"),
        ({"payload": {"a": [float("nan")]}}, "payload.a[0]"),
        ({"payload": {1: 2}}, "payload"),
        ({"payload": b"x"}, "payload"),
    ],
    ids=lambda given: ascii(given)[:60],
)
def test_a_publisher_is_told_which_field_is_wrong(change: dict[str, Any], path: str) -> None:
    """Nothing that an edge would skip is ever written."""
    with pytest.raises(InvalidEvent) as caught:
        encode_event(dataclasses.replace(PLAIN, **change))
    assert caught.value.path == path


@pytest.mark.parametrize("type_", sorted(FRAME_TYPES))
def test_frame_types_are_reserved(type_: str) -> None:
    """No event can pass for a frame of the server's own."""
    with pytest.raises(InvalidEvent, match="reserved"):
        check_event(dataclasses.replace(PLAIN, type=type_))


def test_whatever_can_be_published_can_be_read_by_all() -> None:
    """The deepest payload passes the record, the frame and a snapshot's frame; one level more is refused."""
    payload: Any = 1
    for _ in range(MAX_DEPTH - ENVELOPE_DEPTH):
        payload = [payload]
    event = decode_event(encode_event(dataclasses.replace(PLAIN, payload=payload)))

    frame = Frame("state", {"state": event.payload}, event.time, event.id)
    assert decode_frame(encode_frame(frame)) == frame
    with pytest.raises(InvalidEvent, match=r"^payload\[0\]"):
        refuse_payload([payload])


def test_lists_do_for_pairs() -> None:
    """A publisher that read its pairs from JSON need not convert them."""
    fields: dict[str, Any] = {"resource": ["orders", "42"], "to": ["all"], "aggregate": ["order", "42"]}
    pairs: dict[str, Any] = {name: tuple(value) for name, value in fields.items()}

    encoded = encode_event(dataclasses.replace(PLAIN, **fields))

    assert decode_event(encoded) == dataclasses.replace(PLAIN, **pairs)


def test_a_record_is_a_map_of_its_version() -> None:
    """The version is the first key, so that a later one can be told by its first bytes."""
    assert msgpack.unpackb(encode_event(PLAIN))["v"] == RECORD_VERSION == 1
    assert encode_event(PLAIN)[1:4] == b"\xa1v\x01"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=12))
def test_event_ids_are_uuids_of_version_7(time_ms: int, random: bytes) -> None:
    """The first 48 bits are the time, the rest is random but for version and variant."""
    made = uuid.UUID(uuid7(time_ms, random))

    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == time_ms
    assert made.int & (1 << 62) - 1 == int.from_bytes(random[2:10], "big") & (1 << 62) - 1
    assert made.int >> 64 & 0xFFF == int.from_bytes(random[:2], "big") & 0xFFF


def test_event_ids_sort_by_time() -> None:
    """Later ids are greater as text too."""
    assert uuid7(1, b"\xff" * 10) < uuid7(2, b"\x00" * 10)


def test_a_record_in_json_form_is_json() -> None:
    """The vectors' records pass the strict decoder, so any JSON reader can use them."""
    for row in VECTORS["valid"] + VECTORS["tolerated"]:
        decode_json(json.dumps(row["record"]))


@given(events)
def test_a_head_says_what_the_record_says(happened: Event) -> None:
    """All that routes it, and how many fields are behind it; a publisher of this release writes it so."""
    data = encode_event(happened)
    fields = msgpack.unpackb(data)
    head = data[: data.find(ID_FIELD)]

    found = decode_head(head)

    assert found is not None
    said, behind = found
    assert said == dataclasses.replace(
        happened, id="-", time=0, payload=None, correlation_id=None, aggregate=None, traceparent=None
    )
    assert behind == len(fields) - list(fields).index("id")


HEAD = {"v": 1, "type": "c", "tenant": "acme"}


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 1, "tenant": "acme"},
        {"v": 1, "type": "c"},
        {"type": "c", "tenant": "acme"},
        {**HEAD, "v": 2},
        {**HEAD, "v": True},
        {**HEAD, "v": 1.0},
        {**HEAD, "time": 1},
        {**HEAD, "key": "x" * MAX_HEAD_BYTES},
    ],
    ids=["type", "tenant", "version", "another", "a boolean", "a float", "more than routes", "long"],
)
def test_what_may_be_said_further_on_is_no_head(fields: dict[str, Any]) -> None:
    """The whole record decides then."""
    assert decode_head(msgpack.packb(fields)) is None


def test_bytes_that_are_no_fields_are_no_head() -> None:
    """Nothing raises."""
    assert decode_head(b"\x81\xa1") is None


@pytest.mark.parametrize("wrong", [{"type": 1}, {"tenant": "a b"}, {"resource": "orders"}, {"key": ""}])
def test_a_head_that_breaks_a_rule_is_refused(wrong: dict[str, Any]) -> None:
    """So the record would be."""
    with pytest.raises(InvalidEvent):
        decode_head(msgpack.packb({**HEAD, **wrong}))
