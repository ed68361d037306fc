"""Outbound WebSocket frames, bytes by RFC 6455 section 5.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.websocket import PING, close_frame, pong_frame, text_frame
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
    assert text_frame(b"x" * size) == head + b"x" * size


@given(st.lists(st.binary(max_size=300) | st.integers(65_500, 65_600).map(bytes), max_size=5))
def test_joined_frames_come_apart_again(payloads: list[bytes]) -> None:
    """A peer finds each frame of a write, whatever lies around it."""
    assert list(texts_in(b"".join(map(text_frame, payloads)))) == payloads


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
