"""Commands: what a client sends (PROTOCOL §4)."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.codec import Encoding, decode_json
from fanwire_protocol.codes import ErrorCode
from fanwire_protocol.commands import (
    MAX_COMMAND_BYTES,
    Authenticate,
    Command,
    InvalidCommand,
    Ping,
    Pong,
    Presence,
    RequestState,
    Subscribe,
    Unsubscribe,
    decode_command,
    encode_command,
)
from fanwire_protocol.position import Position
from tests.protocol.vectors import joined, load

VECTORS = load("commands")
VALID = VECTORS["valid"] + [
    {"text": joined(row["parts"]), "command": row["command"]} for row in VECTORS["validRepeated"]
]
INVALID = VECTORS["invalid"] + [{**row, "text": joined(row["parts"])} for row in VECTORS["invalidRepeated"]]

texts = st.text(st.characters(codec="utf-8"), max_size=20)
reply_tos = st.none() | st.integers(-(2**63), 2**64 - 1) | texts.filter(lambda text: len(text.encode()) <= 64)
encodings: st.SearchStrategy[Encoding] = st.sampled_from(("json", "msgpack"))
names = st.lists(texts, min_size=1, max_size=4, unique=True).map(tuple)
positions = st.builds(
    lambda time_ms, sequence: Position(f"{time_ms}-{sequence}", "5f0c2a91"),
    st.integers(0, 2**64 - 1),
    st.integers(0, 9),
)
sinces = st.none() | st.dictionaries(st.text("Aa0_.@-", min_size=1, max_size=9), positions, max_size=3)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Subscribe, names, sinces, reply_tos),
    st.builds(Unsubscribe, names, reply_tos),
    st.builds(Ping, reply_tos),
    st.builds(Pong, reply_tos),
    st.builds(Authenticate, texts, reply_tos),
    st.builds(RequestState, st.none() | texts, reply_tos),
    st.builds(Presence, texts, reply_tos),
)


@pytest.mark.parametrize("row", VALID, ids=lambda row: row["text"][:60])
def test_a_command_means_the_same_in_every_form(row: dict[str, Any]) -> None:
    """A text decodes to the command whose canonical form the vector gives."""
    command = decode_command(row["text"])

    assert decode_command(row["text"].encode()) == command
    assert decode_json(encode_command(command)) == row["command"]
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row["why"])
def test_a_bad_command_has_its_code_and_the_id_it_came_with(row: dict[str, Any]) -> None:
    """The answer says what was wrong, to the command it belongs to."""
    with pytest.raises(InvalidCommand) as caught:
        decode_command(row["text"])

    error = caught.value
    assert (error.code, error.reply_to) == (ErrorCode(row["code"]), row["replyTo"])
    assert error.message == str(error)
    assert 0 < len(error.message) < 300


@pytest.mark.parametrize("row", VECTORS["msgpack"], ids=lambda row: row["hex"][:60])
def test_a_command_means_the_same_in_msgpack(row: dict[str, Any]) -> None:
    """The same fields."""
    command = decode_command(bytes.fromhex(row["hex"]), "msgpack")

    assert decode_json(encode_command(command)) == row["command"]
    assert decode_command(encode_command(command, "msgpack"), "msgpack") == command


@pytest.mark.parametrize("row", VECTORS["msgpackInvalid"], ids=lambda row: row["why"])
def test_a_bad_command_in_msgpack_has_its_code(row: dict[str, Any]) -> None:
    """What does not decode is `invalid_json` here too."""
    with pytest.raises(InvalidCommand) as caught:
        decode_command(bytes.fromhex(row["hex"]), "msgpack")

    assert (caught.value.code, caught.value.reply_to) == (ErrorCode(row["code"]), row["replyTo"])


@pytest.mark.parametrize("row", VECTORS["invalidBytes"], ids=lambda row: row["why"])
def test_bytes_that_are_no_text_are_invalid_json(row: dict[str, Any]) -> None:
    """UTF-8 is the only encoding."""
    with pytest.raises(InvalidCommand) as caught:
        decode_command(bytes.fromhex(row["hex"]))
    assert caught.value.code is ErrorCode.INVALID_JSON


@given(commands, encodings)
def test_every_command_comes_back(command: Command, encoding: Encoding) -> None:
    """Encoding and decoding are inverse."""
    assert decode_command(encode_command(command, encoding), encoding) == command


@given(st.binary(max_size=200), encodings)
def test_any_bytes_are_a_command_or_invalid(data: bytes, encoding: Encoding) -> None:
    """Decoding is total."""
    try:
        decode_command(data, encoding)
    except InvalidCommand:
        pass


@given(
    st.dictionaries(
        st.sampled_from(["type", "id", "channel", "channels", "since", "token", "x"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.sampled_from(
                ["subscribe", "unsubscribe", "authenticate", "presence", "request.state", "a@1-0~0"]
            ),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    )
)
def test_any_object_is_a_command_or_invalid(fields: dict[str, Any]) -> None:
    """Whatever stands in the known fields, the answer is a command or InvalidCommand."""
    try:
        decode_command(json.dumps(fields))
    except InvalidCommand:
        pass


@pytest.mark.parametrize(
    "unit", ["[", '{"a":', '"', "\\", "9", "-", "[[],", '{"":[', "\u2028", " ", "\x00", "1e"], ids=ascii
)
def test_the_worst_command_costs_little(unit: str) -> None:
    """4,096 bytes of any shape are refused within milliseconds."""
    text = '{"type":"subscribe","channel":' + unit * (4000 // len(unit.encode()))
    start = time.perf_counter()
    for _ in range(10):
        with pytest.raises(InvalidCommand):
            decode_command(text)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"authenticate","token":"s3cret"',
        '{"type":"authenticate","token":["s3cret"]}',
        '{"type":"authenticate","token":"s3cret","id":true}',
        '{"type":"authenticat","token":"s3cret"}',
        '{"type":"authenticate","token":"s3cret\\ud800"}',
        '{"type":"authenticate","token":"s3cret","x":NaN}',
    ],
)
def test_no_error_repeats_a_token(text: str) -> None:
    """A command that carries a token is refused without showing it."""
    with pytest.raises(InvalidCommand) as caught:
        decode_command(text)
    assert "s3cret" not in f"{caught.value} {caught.value!r} {caught.value.message}"


def test_no_representation_shows_a_token() -> None:
    """A command can be logged."""
    assert repr(Authenticate("s3cret", 7)) == "Authenticate(reply_to=7)"


def test_the_limit_is_4096_bytes() -> None:
    """The number that servers and clients split by."""
    assert MAX_COMMAND_BYTES == 4096
