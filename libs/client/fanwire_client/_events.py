"""What a subscription yields."""

from __future__ import annotations

from dataclasses import dataclass

from fanwire_protocol.codec import JsonValue
from fanwire_protocol.frames import Frame

__all__ = ["Event", "Gap", "event_of"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a core service.

    `channel` is the name you subscribed to, for a pattern the concrete channel; it is None on
    entrypoints that name none. `time` is the event's own, in milliseconds since the epoch. `offset` is
    its place in the log, opaque beyond `<topic>@`; None for what never was in one.
    """

    type: str
    channel: str | None
    payload: JsonValue
    time: int
    event_id: str
    correlation_id: str | None = None
    offset: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of *topic* after `from_` up to `to` may be missing: read the current state anew.

    `channel` names the one channel concerned, None means every channel. Wait a random part of
    `jitter_ms` before reading, so that all clients of a hole do not read at once. `reason` is one of
    `trimmed`, `failover`, `overflow`, `unknown_position`.
    """

    topic: str
    reason: str
    from_: str | None
    to: str
    channel: str | None = None
    jitter_ms: int | None = None


def event_of(frame: Frame) -> Event:
    """Return what a frame says of an event."""
    return Event(
        type=frame.type,
        channel=frame.channel,
        payload=frame.payload,
        time=frame.time,
        event_id=frame.event_id,
        correlation_id=frame.correlation_id,
        offset=frame.offset,
    )
