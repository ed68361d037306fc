"""Every example of docs/PROTOCOL.md is what the page says it is."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from fanwire_protocol.channels import InvalidChannel, parse_channel
from fanwire_protocol.codec import decode_json
from fanwire_protocol.codes import CloseCode, ErrorCode, GapReason, HandshakeError, may_reconnect
from fanwire_protocol.commands import decode_command
from fanwire_protocol.event import decode_event, encode_event
from fanwire_protocol.frames import FRAME_TYPES, Frame, decode_frame, encode_frame
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, parse_offer
from fanwire_protocol.position import parse_offset, parse_position
from tests.protocol.vectors import ROOT, event_of

PAGE = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
JSON_BLOCKS = [text for language, text in BLOCKS if language == "json"]


def check_schema(name: str, value: Any) -> None:
    """Fail unless *value* follows one of the schemas."""
    path = ROOT / "docs" / "schemas" / f"{name}.schema.json"
    Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).validate(value)


def section(number: int) -> str:
    """Return the text of one numbered section."""
    start = PAGE.index(f"\n## {number}. ")
    return PAGE[start : PAGE.find("\n## ", start + 1) % (len(PAGE) + 1)]


@pytest.mark.parametrize("text", JSON_BLOCKS, ids=lambda text: " ".join(text.split())[:60])
def test_every_json_example_is_a_message(text: str) -> None:
    """An example parses under the strict codec, and is a frame, a record or a command by schema and code."""
    value = decode_json(text)

    if "encoding" in value:
        check_schema("frame", value)
        decode_frame(text)
    elif "v" in value:
        check_schema("record", value)
        encode_event(event_of(value))
    elif "type" in value:
        check_schema("command", value)
        decode_command(text)
    elif "error" in value:
        HandshakeError(value["error"]["code"])
    else:
        assert {"sub", "exp"} <= value.keys()


def test_there_are_examples_of_every_kind() -> None:
    """The page shows frames, commands, a record, a refusal, claims, a handshake and bytes."""
    values = [json.loads(text) for text in JSON_BLOCKS]
    assert sum("encoding" in value for value in values) >= 6
    assert sum("type" in value and "encoding" not in value for value in values) >= 4
    assert {language for language, _ in BLOCKS} == {"json", "http", "hex", "sh", "python"}


def test_the_record_in_hex_is_the_record_in_json_and_gives_the_frame() -> None:
    """The bytes, their meaning and what a subscriber receives belong together."""
    position = next(index for index, (language, _) in enumerate(BLOCKS) if language == "hex")
    data = bytes.fromhex(BLOCKS[position][1])
    record = json.loads(BLOCKS[position + 1][1])
    text = BLOCKS[position + 3][1].strip()
    event = decode_event(data)

    assert event == event_of(record)
    assert encode_event(event) == data
    shown = decode_frame(text)
    frame = Frame(event.type, event.payload, event.time, event.id, shown.channel, shown.offset)
    assert encode_frame(frame) == text.encode()


def test_the_handshake_works_as_shown() -> None:
    """The offered token is found, and the echo is the one in the answer."""
    text = next(text for language, text in BLOCKS if language == "http")
    offered, echoed = re.findall(r"^Sec-WebSocket-Protocol: (.*)$", text, re.MULTILINE)

    offer = parse_offer([offered])
    assert offer.token == offered.split(", ")[2]
    assert offer.choose([JSON_SUBPROTOCOL]) == echoed


def test_the_channel_forms_are_channels() -> None:
    """Filled in, each form of section 1 parses, and the marks of the table are right."""
    forms = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]*) ?\|$", section(1), re.MULTILINE)
    assert len(forms) == 8
    for form, mark in forms:
        channel = parse_channel(re.sub(r"\{[^}]+\}", "x", form))
        assert channel.is_pattern is (mark.strip() == "pattern")
        assert channel.is_server_joined is (mark.strip() == "joined by the server")


def test_codes_and_types_are_the_codes() -> None:
    """Every code and frame type of the code stands in its section, and its table decides alike."""
    closes = re.findall(r"^\| (\d{4}) \| .* \| (stop|come back|refresh)[^|]*\|$", section(5), re.MULTILINE)
    assert {int(code) for code, _ in closes} == {int(code) for code in CloseCode}
    assert all(may_reconnect(int(code)) is (then != "stop") for code, then in closes)
    types = re.findall(r"^\| `(\w+)` \| ", section(3).split("Style `flat`")[1], re.MULTILINE)
    assert set(types) == FRAME_TYPES
    for code in [*ErrorCode, *GapReason]:
        assert f"`{code.value}`" in section(3)
    for refusal in HandshakeError:
        assert re.search(rf"^\| {refusal.status} \|.*`{refusal.value}`", section(2), re.MULTILINE)


def test_positions_and_channels_in_the_text_are_valid() -> None:
    """Whatever looks like a position, an offset or a concrete channel is one."""
    for text in re.findall(r"(?<![\w@-])\d+-\d+~[0-9a-f]+", PAGE):
        parse_position(text)
    for text in re.findall(r"\b[a-z]+@\d+-\d+~[0-9a-f]+", PAGE):
        parse_offset(text)
    for text in re.findall(r"\btenant:acme:[\w:*.-]+", PAGE):
        try:
            parse_channel(text)
        except InvalidChannel as problem:
            pytest.fail(f"{text}: {problem}")


def test_links_lead_somewhere() -> None:
    """Files that the page points to exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
