"""Events: what happened in a core service, and its record in the log (PROTOCOL §7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanwire_protocol.channels import MAX_NAME_BYTES, is_segment
from fanwire_protocol.codec import (
    ENVELOPE_DEPTH,
    InvalidData,
    JsonValue,
    decode_msgpack,
    decode_msgpack_beginning,
    encode_msgpack,
    refuse_unsendable,
)
from fanwire_protocol.frames import FRAME_TYPES

__all__ = [
    "ID_FIELD",
    "MAX_HEAD_BYTES",
    "RECORD_VERSION",
    "Event",
    "InvalidEvent",
    "check_event",
    "decode_event",
    "decode_head",
    "encode_event",
    "refuse_payload",
    "uuid7",
]

RECORD_VERSION = 1
# The field `id` as it stands behind the head of a record. It may stand in a text, too, but what is before
# it is no head then: it ends inside of a field.
ID_FIELD = b"\xa2id"
MAX_TIME_MS = 253_402_300_799_999  # the last millisecond of the year 9999, RFC 3339's last
_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_TARGETS = {"user": 2, "role": 2, "connection": 2, "all": 1}
_TARGET_FORM = 'is ["user", id], ["role", name], ["connection", id] or ["all"]'
_OPTIONAL_TEXT = ("correlation_id", "key", "traceparent")
# What says where an event goes stands first in a record, so that an edge need not read the rest.
_HEAD = ("type", "tenant", "to", "resource", "key")
_ROUTING = frozenset(("type", "tenant"))
_BODY = ("id", "time", "aggregate", "correlation_id", "traceparent")
# What stands before the `id` of nearly every record that keeps the rules.
MAX_HEAD_BYTES = 1024


class InvalidEvent(InvalidData):
    """The event breaks a rule of PROTOCOL §7; *path* names the field."""


@dataclass(frozen=True, slots=True)
class Event:
    """One domain event. `time` is in milliseconds since the epoch; `tenant` is None on `system` only."""

    id: str
    type: str
    tenant: str | None
    time: int
    payload: JsonValue = None
    resource: tuple[str, str] | None = None
    to: tuple[str, ...] | None = None
    correlation_id: str | None = None
    aggregate: tuple[str, str] | None = None
    key: str | None = None
    traceparent: str | None = None


def encode_event(event: Event) -> bytes:
    """Encode *event* as the record that stands in the log; raises InvalidEvent."""
    check_event(event)
    refuse_payload(event.payload)
    head = {name: value for name in _HEAD if (value := getattr(event, name)) is not None or name == "tenant"}
    body = {name: value for name in _BODY if (value := getattr(event, name)) is not None}
    return encode_msgpack({"v": RECORD_VERSION, **head, **body, "payload": event.payload})


def decode_head(data: bytes) -> tuple[Event, int] | None:
    """Decode the beginning of a record up to its `id`: an event with no more than that says of it, and how
    many fields the record has besides.

    None where the record does not begin with these fields. Raises InvalidEvent.
    """
    begun = decode_msgpack_beginning(data) if len(data) <= MAX_HEAD_BYTES else None
    if begun is None:
        return None
    fields, count = begun
    version = fields.pop("v", None)
    if type(version) is not int or version != RECORD_VERSION or not _ROUTING <= fields.keys() <= set(_HEAD):
        return None
    event = Event(
        id="-",
        type=fields["type"],
        tenant=fields["tenant"],
        time=0,
        resource=_as_tuple(fields, "resource"),
        to=_as_tuple(fields, "to"),
        key=fields.get("key"),
    )
    check_event(event)
    return event, count - len(fields) - 1


def decode_event(data: bytes) -> Event:
    """Decode a record of the log; raises InvalidEvent or InvalidData. Unknown fields are ignored."""
    record = decode_msgpack(data)
    if type(record) is not dict:
        raise InvalidEvent("a record is a map")
    if record.get("v") != RECORD_VERSION or type(record["v"]) is not int:
        raise InvalidEvent(f"this edge reads records of version {RECORD_VERSION}", "v")
    for name in ("id", "type", "tenant", "time", "payload"):
        if name not in record:
            raise InvalidEvent("is missing", name)
    event = Event(
        id=record["id"],
        type=record["type"],
        tenant=record["tenant"],
        time=record["time"],
        payload=record["payload"],
        resource=_as_tuple(record, "resource"),
        to=_as_tuple(record, "to"),
        correlation_id=record.get("correlation_id"),
        aggregate=_as_tuple(record, "aggregate"),
        key=record.get("key"),
        traceparent=record.get("traceparent"),
    )
    check_event(event)
    return event


def check_event(event: Event) -> None:
    """Raise InvalidEvent, naming the field, unless *event* keeps the rules (its payload aside)."""
    _check_text(event.id, "id")
    if type(event.type) is not str or _TYPE.fullmatch(event.type) is None:
        raise InvalidEvent("is 1 to 128 of A-Z a-z 0-9 _ . : -", "type")
    if event.type in FRAME_TYPES or event.type.startswith("fanwire."):
        raise InvalidEvent(f"{event.type!r} is reserved; take another name", "type")
    if type(event.time) is not int or not 0 <= event.time <= MAX_TIME_MS:
        raise InvalidEvent("is milliseconds since the epoch, an integer", "time")
    if event.tenant is not None and not _is_segment(event.tenant):
        raise InvalidEvent("is a channel segment", "tenant")
    if event.resource is not None:
        _check_pair(event.resource, "resource")
        _check_name(("tenant", event.tenant or "", "resource", *event.resource), "resource")
    if event.to is not None:
        _check_target(event.to)
        _check_name(("tenant", event.tenant or "", *event.to), "to")
        if event.tenant is None and tuple(event.to) != ("all",):
            raise InvalidEvent("names no one without a tenant; give one, or address all", "to")
    _check_optional(event)


def _check_optional(event: Event) -> None:
    if event.aggregate is not None:
        _check_aggregate(event.aggregate)
    for name in _OPTIONAL_TEXT:
        value = getattr(event, name)
        if value is not None:
            _check_text(value, name)


def refuse_payload(payload: object) -> None:
    """Raise InvalidEvent, naming the place, unless *payload* can be sent as JSON and as msgpack."""
    try:
        refuse_unsendable(payload, "payload", ENVELOPE_DEPTH)
    except InvalidData as error:
        raise InvalidEvent(error.reason, error.path) from error


def uuid7(time_ms: int, random: bytes) -> str:
    """Return the UUIDv7 (RFC 9562 section 5.7) of a time and ten random bytes."""
    value = int.from_bytes(time_ms.to_bytes(6, "big") + random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _as_tuple(record: Mapping[str, Any], name: str) -> Any:
    value = record.get(name)
    if value is None:
        return None
    if type(value) is not list:
        raise InvalidEvent("is a list", name)
    return tuple(value)


def _is_segment(value: object) -> bool:
    return type(value) is str and is_segment(value)


def _check_text(value: object, name: str) -> None:
    if type(value) is not str or not 1 <= len(value) <= 128:
        raise InvalidEvent("is a string of 1 to 128 characters", name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent("a string has a lone surrogate", name) from error


def _check_pair(value: object, name: str) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_segment, value)):
        raise InvalidEvent("is [type, id], both channel segments", name)


def _check_aggregate(value: object) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InvalidEvent("is [type, id]", "aggregate")
    for part in value:
        _check_text(part, "aggregate")


def _check_target(to: object) -> None:
    if not isinstance(to, tuple | list) or not all(map(_is_segment, to)) or not to:
        raise InvalidEvent(_TARGET_FORM, "to")
    if _TARGETS.get(to[0]) != len(to):
        raise InvalidEvent(_TARGET_FORM, "to")


def _check_name(parts: tuple[str, ...], name: str) -> None:
    """Refuse an event whose channel nobody could name, instead of never delivering it."""
    if len(":".join(parts)) > MAX_NAME_BYTES:
        raise InvalidEvent(f"its channel has more than {MAX_NAME_BYTES} bytes; take shorter names", name)
