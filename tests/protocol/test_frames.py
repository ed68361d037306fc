"""Frames: what the server sends (PROTOCOL §3)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.codec import Encoding, InvalidData, decode_json, decode_msgpack
from fanwire_protocol.event import MAX_TIME_MS
from fanwire_protocol.frames import (
    FRAME_TYPES,
    Content,
    Frame,
    decode_frame,
    encode_event_frame,
    encode_frame,
    format_time,
    parse_time,
)
from tests.protocol.vectors import event_of, load

VECTORS = load("frames")
texts = st.text(st.characters(codec="utf-8"), max_size=20)
encodings: st.SearchStrategy[Encoding] = st.sampled_from(("json", "msgpack"))


def frame_of(fields: dict[str, Any]) -> Frame:
    """Return the frame that a vector describes."""
    return Frame(
        fields["type"],
        fields["payload"],
        fields["time"],
        fields["eventId"],
        fields.get("channel"),
        reply_to=fields.get("replyTo"),
    )


@pytest.mark.parametrize("row", VECTORS["events"], ids=lambda row: row["why"])
def test_an_event_on_a_channel_has_one_text(row: dict[str, Any]) -> None:
    """Event, channel and offset give the vector's text to the byte."""
    event = event_of(row["record"])
    frame = Frame(
        event.type,
        event.payload,
        event.time,
        event.id,
        row["channel"],
        row["offset"],
        event.correlation_id,
    )

    assert encode_frame(frame) == row["text"].encode()
    assert decode_frame(row["text"]) == decode_frame(row["text"].encode()) == frame
    for encoding in ("json", "msgpack"):
        content = Content(event.type, event.id, event.time, event.payload, event.correlation_id)
        encoded = encode_event_frame(content, row["channel"], row["offset"], encoding)
        assert encoded == encode_frame(frame, encoding)


@pytest.mark.parametrize("row", VECTORS["own"], ids=lambda row: row["why"])
def test_the_servers_own_frames_have_one_text(row: dict[str, Any]) -> None:
    """Its envelope is the same, its fields in the same order."""
    frame = frame_of(row["frame"])

    assert encode_frame(frame) == row["text"].encode()
    assert decode_frame(row["text"]) == frame


@pytest.mark.parametrize("row", VECTORS["msgpack"], ids=lambda row: row["why"])
def test_a_frame_is_the_same_in_msgpack(row: dict[str, Any]) -> None:
    """The same fields in the same order, to the byte; only `encoding` says something else."""
    frame, data = decode_frame(row["text"]), bytes.fromhex(row["hex"])

    assert encode_frame(frame, "msgpack") == data
    assert decode_frame(data, "msgpack") == frame
    assert list(decode_msgpack(data).items()) == [
        (name, "msgpack" if name == "encoding" else value) for name, value in decode_json(row["text"]).items()
    ]


@pytest.mark.parametrize("row", VECTORS["msgpackInvalid"], ids=lambda row: row["why"])
def test_what_is_no_frame_in_msgpack_is_invalid_data(row: dict[str, Any]) -> None:
    """Nothing that JSON could not say is taken."""
    with pytest.raises(InvalidData):
        decode_frame(bytes.fromhex(row["hex"]), "msgpack")


def test_every_frame_type_has_a_vector() -> None:
    """No type is added without an example."""
    assert {row["frame"]["type"] for row in VECTORS["own"]} == FRAME_TYPES


@pytest.mark.parametrize("row", VECTORS["lenient"], ids=lambda row: row["why"])
def test_a_client_ignores_what_it_does_not_know(row: dict[str, Any]) -> None:
    """Later servers may add fields and types."""
    assert decode_frame(row["text"]) == frame_of(row["frame"])


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: row["why"])
def test_what_is_no_frame_is_invalid_data(row: dict[str, Any]) -> None:
    """A broken envelope is told from an unknown one."""
    with pytest.raises(InvalidData):
        decode_frame(row["text"])


@given(st.binary(max_size=200) | texts, encodings)
def test_any_input_is_a_frame_or_invalid_data(data: str | bytes, encoding: Encoding) -> None:
    """Decoding is total."""
    try:
        decode_frame(data, encoding)
    except InvalidData:
        pass


@given(
    st.builds(
        Frame,
        texts,
        st.none() | st.integers(-(2**63), 2**64 - 1) | texts | st.lists(texts, max_size=3),
        st.integers(0, MAX_TIME_MS),
        texts,
        st.none() | texts,
        st.none() | texts,
        st.none() | texts,
        st.none() | texts | st.integers(-9, 9),
    ),
    encodings,
)
def test_every_frame_comes_back(frame: Frame, encoding: Encoding) -> None:
    """Encoding and decoding are inverse."""
    assert decode_frame(encode_frame(frame, encoding), encoding) == frame


@given(st.integers(0, MAX_TIME_MS))
def test_times_come_back_to_the_millisecond(time_ms: int) -> None:
    """RFC 3339 in UTC, always with three digits after the second."""
    text = format_time(time_ms)

    assert len(text) == 24
    assert parse_time(text) == time_ms
    assert datetime.fromisoformat(text).tzinfo == UTC


@given(st.text("0123456789-:.TZ+W ", max_size=36) | st.text(max_size=36) | st.datetimes().map(str))
def test_any_text_is_a_time_or_invalid_data(text: str) -> None:
    """Parsing is total, to the edges of the calendar."""
    try:
        parse_time(text)
    except InvalidData:
        pass


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-02-26T22:00:00.5Z", 1772143200500),
        ("2026-02-26T22:00:00.123999Z", 1772143200123),
        ("2026-02-26T14:00:00-08:00", 1772143200000),
        ("0001-01-01T00:00:00+23:59", -62135683140000),
        ("9999-12-31T23:59:59.999-23:59", 253402387139999),
    ],
)
def test_times_of_other_programs_are_understood(text: str, time_ms: int) -> None:
    """Any number of digits after the second and any zone; finer than a millisecond is cut off."""
    assert parse_time(text) == time_ms
