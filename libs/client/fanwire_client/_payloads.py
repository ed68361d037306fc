"""Payloads of the server's own frames, parsed at the border (PROTOCOL §3).

Everything here raises InvalidData for a payload that breaks the protocol; the text names the field and
never repeats its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fanwire_client._events import Gap
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.frames import Frame, parse_time
from fanwire_protocol.position import (
    InvalidPosition,
    Offset,
    Position,
    parse_offset,
    parse_position,
)

__all__ = [
    "Answered",
    "Connected",
    "Disconnect",
    "Heartbeat",
    "Left",
    "Places",
    "Refusal",
    "parse_answered",
    "parse_connected",
    "parse_disconnect",
    "parse_expiring",
    "parse_gap",
    "parse_left",
    "parse_refusal",
    "places_of",
    "read_offset",
    "skipped_of",
]

Places: TypeAlias = Mapping[str, Position]
# No server may send a client to sleep for longer than this.
_LONGEST_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How often the client pings, and after how much silence a connection counts as lost; seconds."""

    interval_seconds: float = 30.0
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Connected:
    """Payload of `connected` and `authenticated`."""

    client_id: str
    channels: tuple[str, ...]
    positions: Places
    recovered: bool | None
    heartbeat: Heartbeat
    jitter_ms: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Payload of `subscribed`."""

    channels: tuple[str, ...]
    recovered: bool | None
    positions: Places


@dataclass(frozen=True, slots=True)
class Left:
    """Payload of `unsubscribed`."""

    channels: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Payload of `error`; `channel` is the one that is refused, where it is one.

    After `retry_after_ms` the same command may be carried out.
    """

    code: str
    message: str
    channel: str | None
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Payload of `disconnect`."""

    code: int
    reason: str
    reconnect: bool
    retry_after_ms: int
    jitter_ms: int


def parse_connected(frame: Frame) -> Connected:
    """Read `connected` or `authenticated`."""
    fields = _map(frame.payload, "$.payload")
    heartbeat = _map(fields.get("heartbeat") or {}, "$.payload.heartbeat")
    reconnect = _map(fields.get("reconnect") or {}, "$.payload.reconnect")
    return Connected(
        client_id=_text(fields, "clientId"),
        channels=_names(fields.get("channels") or ()),
        positions=places_of(frame),
        recovered=_recovered(fields),
        heartbeat=Heartbeat(
            _seconds(heartbeat, "intervalSeconds", Heartbeat().interval_seconds),
            _seconds(heartbeat, "timeoutSeconds", Heartbeat().timeout_seconds),
        ),
        jitter_ms=_milliseconds(reconnect, "jitterMs") or 0,
    )


def parse_answered(frame: Frame) -> Answered:
    """Read `subscribed`."""
    fields = _map(frame.payload, "$.payload")
    return Answered(_names(fields.get("channels")), _recovered(fields), places_of(frame))


def parse_left(frame: Frame) -> Left:
    """Read `unsubscribed`."""
    fields = _map(frame.payload, "$.payload")
    return Left(_names(fields.get("channels")), _text(fields, "reason"))


def parse_gap(frame: Frame) -> tuple[Gap, Position]:
    """Read `gap`, and the new position that it gives its topic."""
    fields = _map(frame.payload, "$.payload")
    start = fields.get("from")
    gap = Gap(
        topic=_text(fields, "topic"),
        reason=_text(fields, "reason"),
        from_=None if start is None else _text(fields, "from"),
        to=_text(fields, "to"),
        channel=frame.channel,
        jitter_ms=_milliseconds(fields, "jitterMs"),
    )
    return gap, _position(gap.to, "$.payload.to")


def parse_refusal(frame: Frame) -> Refusal:
    """Read `error`."""
    fields = _map(frame.payload, "$.payload")
    retry_after_ms = _milliseconds(fields, "retryAfterMs") or 0
    return Refusal(_text(fields, "code"), _text(fields, "message"), frame.channel, retry_after_ms)


def parse_disconnect(frame: Frame) -> Disconnect:
    """Read `disconnect`."""
    fields = _map(frame.payload, "$.payload")
    code, reconnect = fields.get("code"), fields.get("reconnect")
    if type(code) is not int or type(reconnect) is not bool:
        raise InvalidData("has an integer `code` and a boolean `reconnect`", "$.payload")
    retry_after_ms = _milliseconds(fields, "retryAfterMs") or 0
    jitter_ms = _milliseconds(fields, "jitterMs") or 0
    return Disconnect(code, _text(fields, "reason"), reconnect, retry_after_ms, jitter_ms)


def parse_expiring(frame: Frame) -> float:
    """Read `token_expiring`: in how many seconds, by the server's clock."""
    ends_at = parse_time(_text(_map(frame.payload, "$.payload"), "expiresAt"))
    return min(max(0, ends_at - frame.time), _LONGEST_MS) / 1000


def places_of(frame: Frame) -> Places:
    """Read `positions`; empty where the payload names none."""
    places = _map(frame.payload, "$.payload").get("positions")
    found = _map({} if places is None else places, "$.payload.positions")
    return {topic: _position(text, "$.payload.positions") for topic, text in found.items()}


def skipped_of(frame: Frame) -> int:
    """Read `skipped` of a `pong`: how many events later ones stood for (policy `conflate`)."""
    skipped = _map(frame.payload, "$.payload").get("skipped")
    return skipped if type(skipped) is int and skipped > 0 else 0


def read_offset(frame: Frame) -> Offset | None:
    """Read `offset`; None where the frame did not come out of a log."""
    try:
        return None if frame.offset is None else parse_offset(frame.offset)
    except InvalidPosition as error:
        raise InvalidData(str(error), "$.offset") from error


def _position(text: object, path: str) -> Position:
    try:
        return parse_position(text if type(text) is str else "")
    except InvalidPosition as error:
        raise InvalidData(str(error), path) from error


def _map(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidData("is an object", path)
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or any(type(name) is not str for name in value):
        raise InvalidData("is a list of strings", "$.payload.channels")
    return tuple(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise InvalidData("is a string", f"$.payload.{name}")
    return value


def _recovered(fields: Mapping[str, Any]) -> bool | None:
    value: object = fields.get("recovered")
    if value is None or type(value) is bool:
        return value
    raise InvalidData("is true, false or null", "$.payload.recovered")


def _seconds(fields: Mapping[str, Any], name: str, default: float) -> float:
    value: object = fields.get(name, default)
    if (type(value) is int or type(value) is float) and 0 < value * 1000 <= _LONGEST_MS:
        return value
    raise InvalidData("is a number of seconds above 0 and at most 3600", f"$.payload.heartbeat.{name}")


def _milliseconds(fields: Mapping[str, Any], name: str) -> int | None:
    value: object = fields.get(name)
    if value is None:
        return None
    if (type(value) is int or type(value) is float) and value >= 0:
        return int(min(value, _LONGEST_MS))
    raise InvalidData("is a number of milliseconds, 0 or more", f"$.payload.{name}")
