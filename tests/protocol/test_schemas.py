"""The machine-readable schemas agree with the code, by way of the golden vectors."""

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from fanwire_protocol.codec import InvalidData, decode_json
from fanwire_protocol.codes import ErrorCode, GapReason
from fanwire_protocol.frames import FRAME_TYPES
from tests.protocol.vectors import ROOT, joined, load

SCHEMAS = ROOT / "docs" / "schemas"
COMMANDS, EVENTS, FRAMES = load("commands"), load("events"), load("frames")

# What a schema cannot say: bytes of a name put together, bytes of a text, the calendar, nesting; and `$`
# of Python's regular expressions passes a last newline, 1.0 a whole number.
BEYOND_SCHEMAS = {
    "a channel beyond 255 bytes",
    "an addressee's channel beyond 255 bytes",
    "a type with a newline",
    "a version that is a fraction",
    "an id of 33 characters and 66 bytes",
    "a day that does not exist",
}


def validator(name: str) -> Draft202012Validator:
    """Return the validator of one schema."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))


def texts(name: str, part: str) -> list[Any]:
    """Return the rows of one part of a file of vectors as (why, value), those that are JSON at all."""
    rows = []
    for row in {"commands": COMMANDS, "frames": FRAMES}[name].get(part, []):
        text = joined(row["parts"]) if "parts" in row else row["text"]
        try:
            rows.append(pytest.param(decode_json(text), row.get("why"), id=row.get("why", text[:60])))
        except InvalidData:
            assert part.startswith("invalid")
    return rows


def records() -> list[Any]:
    """Return the invalid records that are JSON at all: their fault is a field's."""
    return [
        pytest.param(msgpack.unpackb(bytes.fromhex(row["hex"])), row["why"], id=row["why"])
        for row in EVENTS["invalid"]
        if not row["path"].startswith("$")
    ]


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.name)
def test_a_schema_is_one(path: Path) -> None:
    """Each file is itself valid under draft 2020-12."""
    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("value", "why"), texts("frames", "events") + texts("frames", "own"))
def test_frames_follow_their_schema(value: Any, why: str) -> None:
    """Every frame that the server sends is described."""
    validator("frame").validate(value)


@pytest.mark.parametrize(("value", "why"), texts("commands", "valid") + texts("commands", "validRepeated"))
def test_commands_follow_their_schema(value: Any, why: str) -> None:
    """Every command that is carried out is described."""
    validator("command").validate(value)


@pytest.mark.parametrize("row", EVENTS["valid"] + EVENTS["tolerated"], ids=lambda row: row["why"])
def test_records_follow_their_schema(row: dict[str, Any]) -> None:
    """Every record, also one with fields of a later version, is described."""
    validator("record").validate(row["record"])
    validator("record").validate(msgpack.unpackb(bytes.fromhex(row["hex"])))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [pytest.param("frame", *row.values, id=f"frame {row.id}") for row in texts("frames", "invalid")]
    + [pytest.param("command", *row.values, id=f"command {row.id}") for row in texts("commands", "invalid")]
    + [
        pytest.param("command", *row.values, id=f"command {row.id}")
        for row in texts("commands", "invalidRepeated")
    ]
    + [pytest.param("record", *row.values, id=f"record {row.id}") for row in records()],
)
def test_what_the_code_refuses_the_schemas_refuse(name: str, value: Any, why: str) -> None:
    """A schema is no weaker than the code but for what it cannot express."""
    assert validator(name).is_valid(value) is (why in BEYOND_SCHEMAS)


def test_the_lists_of_names_are_the_codes() -> None:
    """No code or type is added to the code without its schema."""
    frame, record = validator("frame").schema, validator("record").schema
    definitions = frame["$defs"]

    assert set(record["properties"]["type"]["not"]["anyOf"][1]["enum"]) == FRAME_TYPES
    assert set(definitions["error"]["properties"]["code"]["enum"]) == {code.value for code in ErrorCode}
    assert set(definitions["gap"]["properties"]["reason"]["enum"]) == {reason.value for reason in GapReason}
    described = [clause["if"]["properties"]["type"] for clause in frame["allOf"]]
    assert {name for type_ in described for name in type_.get("enum", [type_.get("const")])} == FRAME_TYPES
