"""Positions and offsets (PROTOCOL §6)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.position import (
    BEGINNING,
    InvalidPosition,
    Offset,
    Position,
    parse_offset,
    parse_position,
)
from tests.protocol.vectors import load

VECTORS = load("positions")
numbers = st.integers(0, 2**64 - 1)
brokers = st.text("0123456789abcdef", min_size=8, max_size=8)
topics = st.text("Aa0_.@+|~=-", min_size=1, max_size=20)


@pytest.mark.parametrize("row", VECTORS["positions"]["valid"], ids=lambda row: row["text"])
def test_a_position_is_an_id_and_a_broker(row: dict[str, Any]) -> None:
    """The parts are what the text says, and the text comes back."""
    position = parse_position(row["text"])

    assert position == Position(row["id"], row["broker"])
    assert position.key == (int(row["milliseconds"]), int(row["sequence"]))
    assert position.time_ms == int(row["milliseconds"])
    assert str(position) == row["text"]


@pytest.mark.parametrize("text", VECTORS["positions"]["invalid"], ids=ascii)
def test_what_is_no_position_is_refused(text: str) -> None:
    """Only the one form that the server writes is accepted."""
    with pytest.raises(InvalidPosition, match="1732096800123-0~5f0c2a91"):
        parse_position(text)


@pytest.mark.parametrize("row", VECTORS["offsets"]["valid"], ids=lambda row: row["text"])
def test_an_offset_is_a_topic_and_a_position(row: dict[str, Any]) -> None:
    """The last `@` separates, since a topic may have one."""
    offset = parse_offset(row["text"])

    assert (offset.topic, str(offset.position)) == (row["topic"], row["position"])
    assert str(offset) == row["text"]


@pytest.mark.parametrize("text", VECTORS["offsets"]["invalid"], ids=ascii)
def test_what_is_no_offset_is_refused(text: str) -> None:
    """A topic that is no segment, or a position that is none, is refused."""
    with pytest.raises(InvalidPosition):
        parse_offset(text)


@given(topics, numbers, numbers, brokers)
def test_every_offset_comes_back(topic: str, time_ms: int, sequence: int, broker: str) -> None:
    """Writing and parsing are inverse for every id that Redis can give."""
    offset = Offset(topic, Position(f"{time_ms}-{sequence}", broker))

    assert parse_offset(str(offset)) == offset
    assert offset.position.key == (time_ms, sequence)


@given(st.text(max_size=60) | st.text("0123456789-~@af", max_size=60))
def test_parsing_is_total(text: str) -> None:
    """Any text is an offset or InvalidPosition."""
    try:
        assert str(parse_offset(text)) == text
    except InvalidPosition:
        pass


@given(numbers, numbers, numbers, numbers)
def test_keys_order_as_the_log_does(ms_a: int, seq_a: int, ms_b: int, seq_b: int) -> None:
    """Of two entries of one broker the later one has the greater key, and none is before the beginning."""
    a, b = Position(f"{ms_a}-{seq_a}", "5f0c2a91"), Position(f"{ms_b}-{seq_b}", "5f0c2a91")

    assert (a.key < b.key) is ((ms_a, seq_a) < (ms_b, seq_b))
    assert Position(BEGINNING, "5f0c2a91").key <= a.key
