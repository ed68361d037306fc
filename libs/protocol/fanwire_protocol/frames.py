"""Frames: what the server sends (PROTOCOL §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import Any, NamedTuple

from fanwire_protocol.codec import (
    Encoding,
    InvalidData,
    JsonValue,
    decode,
    encode_json,
    encode_msgpack,
    json_text,
)

__all__ = [
    "FRAME_TYPES",
    "Content",
    "Frame",
    "decode_frame",
    "encode_event_frame",
    "encode_frame",
    "format_time",
    "parse_time",
]

# Types of the server's own frames; no event may bear one of these names.
FRAME_TYPES = frozenset(
    {
        "connected",
        "authenticated",
        "subscribed",
        "unsubscribed",
        "gap",
        "state",
        "presence",
        "token_expiring",
        "ping",
        "pong",
        "error",
        "disconnect",
    }
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame in the nested style. `time` is in milliseconds since the epoch."""

    type: str
    payload: JsonValue
    time: int
    event_id: str
    channel: str | None = None
    offset: str | None = None
    correlation_id: str | None = None
    reply_to: int | str | None = None


class Content(NamedTuple):
    """What a frame says of an event. `time` is in milliseconds since the epoch."""

    type: str
    id: str
    time: int
    payload: JsonValue
    correlation_id: str | None = None


def encode_frame(frame: Frame, encoding: Encoding = "json") -> bytes:
    """Encode *frame*, its fields in the order of PROTOCOL §3."""
    fields: dict[str, JsonValue] = {"type": frame.type}
    if frame.channel is not None:
        fields["channel"] = frame.channel
    fields["timestamp"] = format_time(frame.time)
    fields["eventId"] = frame.event_id
    fields["encoding"] = encoding
    fields["payload"] = frame.payload
    if frame.offset is not None:
        fields["offset"] = frame.offset
    if frame.correlation_id is not None:
        fields["correlationId"] = frame.correlation_id
    if frame.reply_to is not None:
        fields["replyTo"] = frame.reply_to
    return encode_json(fields) if encoding == "json" else encode_msgpack(fields)


def encode_event_frame(content: Content, channel: str, offset: str, encoding: Encoding = "json") -> bytes:
    """Encode the frame of an event on *channel*, as `encode_frame` would, without a Frame in between.

    Type, channel and offset are taken for valid: none of them has a character that JSON writes otherwise.
    """
    moment = format_time(content.time)
    if encoding == "json":
        correlated = (
            "" if content.correlation_id is None else f',"correlationId":{_quoted(content.correlation_id)}'
        )
        return (
            f'{{"type":"{content.type}","channel":"{channel}","timestamp":"{moment}",'
            f'"eventId":{_quoted(content.id)},"encoding":"json","payload":{json_text(content.payload)},'
            f'"offset":"{offset}"{correlated}}}'
        ).encode()
    fields: dict[str, JsonValue] = {
        "type": content.type,
        "channel": channel,
        "timestamp": moment,
        "eventId": content.id,
        "encoding": encoding,
        "payload": content.payload,
        "offset": offset,
    }
    if content.correlation_id is not None:
        fields["correlationId"] = content.correlation_id
    return encode_msgpack(fields)


def decode_frame(data: str | bytes, encoding: Encoding = "json") -> Frame:
    """Decode a nested frame; unknown fields are ignored. Raises InvalidData."""
    fields = decode(data, encoding)
    if type(fields) is not dict:
        raise InvalidData("a frame is an object")
    return Frame(
        type=_text(fields, "type"),
        payload=fields.get("payload"),
        time=parse_time(_text(fields, "timestamp")),
        event_id=_text(fields, "eventId"),
        channel=_optional_text(fields, "channel"),
        offset=_optional_text(fields, "offset"),
        correlation_id=_optional_text(fields, "correlationId"),
        reply_to=_reply_to(fields),
    )


def format_time(time_ms: int) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{_format_second(seconds)}.{milliseconds:03d}Z"


def parse_time(text: str) -> int:
    """Return milliseconds since the epoch of an RFC 3339 time; raises InvalidData."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidData("is no RFC 3339 time", "$.timestamp") from error
    if moment.tzinfo is None:
        raise InvalidData("has no time zone", "$.timestamp")
    whole = moment.replace(microsecond=0)
    return round(whole.timestamp()) * 1000 + moment.microsecond // 1000


# Events come in the order of time, so a handful of seconds is formatted once each.
@lru_cache(maxsize=256)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise InvalidData("is a string", f"$.{name}")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _reply_to(fields: Mapping[str, Any]) -> int | str | None:
    value: int | str | None = fields.get("replyTo")
    if value is not None and type(value) is not int and type(value) is not str:
        raise InvalidData("is an integer or a string", "$.replyTo")
    return value
