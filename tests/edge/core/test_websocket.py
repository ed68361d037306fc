"""WebSocket frames, bytes by RFC 6455 section 5.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.websocket import (
    BINARY,
    DEFLATED,
    PING,
    TEXT,
    are_whole_messages,
    close_frame,
    message_frame,
    payload_of,
    pong_frame,
)
from tests.edge.core.pieces import texts_in


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_says_its_length_in_the_shortest_form(size: int, head: bytes) -> None:
    """One byte up to 125, two more up to 65,535, else eight more."""
    assert message_frame(b"x" * size) == head + b"x" * size
    assert payload_of(message_frame(b"x" * size)) == b"x" * size


@pytest.mark.parametrize(
    ("head", "first"), [(TEXT, 0x81), (BINARY, 0x82), (TEXT | DEFLATED, 0xC1), (BINARY | DEFLATED, 0xC2)]
)
def test_the_first_byte_says_what_a_message_is(head: int, first: int) -> None:
    """Whole, text or binary, compressed (RSV1) or not."""
    assert message_frame(b"x", head) == bytes((first, 1)) + b"x"


@given(st.lists(st.binary(max_size=300) | st.integers(65_500, 65_600).map(bytes), max_size=5))
def test_joined_frames_come_apart_again(payloads: list[bytes]) -> None:
    """A peer finds each frame of a write, whatever lies around it."""
    assert list(texts_in(b"".join(map(message_frame, payloads)))) == payloads


def test_control_frames_are_the_rfcs() -> None:
    """A PING is empty, a PONG carries the PING's payload back, neither is masked."""
    assert PING == b"\x89\x00"
    assert pong_frame(b"") == b"\x8a\x00"
    assert pong_frame(b"x" * 125) == b"\x8a\x7d" + b"x" * 125


def test_a_close_frame_carries_code_and_reason() -> None:
    """The code stands in network order before the text."""
    assert close_frame(1000, "") == b"\x88\x02\x03\xe8"
    assert close_frame(4008, "too slow") == b"\x88\x0a\x0f\xa8too slow"


@given(st.integers(1000, 4999), st.text(max_size=200))
def test_a_close_frame_is_a_valid_control_frame(code: int, reason: str) -> None:
    """At most 125 bytes, and a reason that is cut is still UTF-8 and the beginning of what was given."""
    frame = close_frame(code, reason)

    assert len(frame) == 2 + frame[1] <= 127
    assert int.from_bytes(frame[2:4], "big") == code
    assert reason.startswith(frame[4:].decode())
    assert len(frame[4:]) > 119 or frame[4:] == reason.encode()


def _masked(size: int, first: int = 0x81) -> bytes:
    """Return the frame of a client."""
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((first,)) + length + bytes(4) + bytes(size)


whole = st.builds(_masked, st.integers(0, 300), st.sampled_from([0x81, 0x82, 0x89, 0x8A, 0xC1]))


@given(st.lists(whole, min_size=1, max_size=4), st.integers(1, 300))
def test_whole_messages_are_told_from_pieces(frames: list[bytes], missing: int) -> None:
    """Frames one behind the other are whole, and are not where their end is missing."""
    data = b"".join(frames)

    assert are_whole_messages(data)
    assert not are_whole_messages(data + frames[0][: min(missing, len(frames[0]) - 1)])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_masked(3, first=0x01), id="a fragment"),
        pytest.param(b"\x81\x03abc", id="not masked"),
        pytest.param(b"\x81\xff" + bytes(12), id="a length of eight bytes"),
        pytest.param(_masked(3) + b"\x81", id="one byte of the next"),
        pytest.param(_masked(200)[:3], id="half a length"),
    ],
)
def test_what_a_reader_has_to_remember_is_not_whole(data: bytes) -> None:
    """The beginning of a frame or a message, and what is wrong in a way that it finds later."""
    assert not are_whole_messages(data)
