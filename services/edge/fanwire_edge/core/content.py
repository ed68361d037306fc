"""The content of an event: what its frames say of it, decoded when somebody is to get it (ADR 0010).

What routes it was decoded and checked when it was read; here the rest is.
"""

from __future__ import annotations

from fanwire_edge.core.route import TIME_BYTES, Route, body_of
from fanwire_protocol.codec import decode_msgpack
from fanwire_protocol.event import ID_FIELD, MAX_TIME_MS, decode_event
from fanwire_protocol.frames import Content

__all__ = ["content_of"]

# Fields behind the head of most records: `id`, `time` and `payload`.
_FEW = 3
_MAX_ID_CHARACTERS = 128


def content_of(route: Route, data: bytes) -> Content:
    """Return the content of the record *data*, which has this *route*; raises InvalidData."""
    found = _plain(route, data) if route.behind == _FEW else None
    if found is not None:
        return found
    event = decode_event(data)
    return Content(event.type, event.id, event.time, event.payload, event.correlation_id)


def _plain(route: Route, data: bytes) -> Content | None:
    """Decode a record that has nothing more; None where it has to be looked at as a whole."""
    body = body_of(data, data.find(ID_FIELD), _FEW)
    if body is None:
        return None
    start, end, payload_at = body
    time_ms = int.from_bytes(data[end + TIME_BYTES - 8 : end + TIME_BYTES], "big")
    try:
        event_id = data[start:end].decode()
    except UnicodeDecodeError:
        return None
    if not 1 <= len(event_id) <= _MAX_ID_CHARACTERS or time_ms > MAX_TIME_MS:
        return None
    # One level is around it, the record's own map.
    payload = decode_msgpack(data[payload_at:], "$.payload", 1)
    return Content(route.type, event_id, time_ms, payload)
