"""What `fanwire tail` prints: an event or a gap as one line of JSON, named as frames name it. Pure."""

from __future__ import annotations

from fanwire_cli.terminal import visible
from fanwire_client import Event, Gap
from fanwire_protocol import JsonValue
from fanwire_protocol.codec import encode_json
from fanwire_protocol.frames import format_time

__all__ = ["json_line"]


def json_line(item: Event | Gap) -> str:
    """Return *item* as JSON without a line break or control character; absent fields are left out."""
    fields = _event_fields(item) if isinstance(item, Event) else _gap_fields(item)
    kept = {name: value for name, value in fields.items() if value is not None or name == "payload"}
    return visible(encode_json(kept).decode())


def _event_fields(event: Event) -> dict[str, JsonValue]:
    return {
        "type": event.type,
        "channel": event.channel,
        "timestamp": format_time(event.time),
        "eventId": event.event_id,
        "payload": event.payload,
        "offset": event.offset,
        "correlationId": event.correlation_id,
    }


def _gap_fields(gap: Gap) -> dict[str, JsonValue]:
    return {
        "type": "gap",
        "channel": gap.channel,
        "topic": gap.topic,
        "reason": gap.reason,
        "from": gap.from_,
        "to": gap.to,
        "jitterMs": gap.jitter_ms,
    }
