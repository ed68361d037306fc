"""Frames as a server sends them, for the client's tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from fanwire_protocol.codec import JsonValue
from fanwire_protocol.frames import Frame

BROKER = "5f0c2a91"
A = "tenant:acme:resource:orders:1"
B = "tenant:acme:resource:orders:2"
ORDERS = "tenant:acme:resource:orders:*"
_ids = itertools.count(1)


def place(number: int) -> str:
    """Return the position of the entry *number* of a topic, 0 for the place before the first."""
    return f"{1000 + number if number else 0}-0~{BROKER}"


def offset(topic: str, number: int) -> str:
    """Return `<topic>@<position>`."""
    return f"{topic}@{place(number)}"


def places(**numbers: int) -> dict[str, str]:
    """Return `positions` by topic."""
    return {topic: place(number) for topic, number in numbers.items()}


def frame(
    type_: str,
    payload: JsonValue,
    *,
    channel: str | None = None,
    reply_to: int | str | None = None,
    at: str | None = None,
    event_id: str | None = None,
) -> Frame:
    """Return any frame."""
    return Frame(
        type=type_,
        payload=payload,
        time=1_772_143_200_000,
        event_id=event_id or f"f-{next(_ids)}",
        channel=channel,
        offset=at,
        reply_to=reply_to,
    )


def connected(
    positions: Mapping[str, str] | None = None,
    *,
    channels: Sequence[str] = (),
    recovered: bool | None = None,
    interval: float = 30,
    timeout: float = 60,
    jitter_ms: int = 0,
) -> Frame:
    """Return `connected`."""
    return frame(
        "connected",
        {
            "clientId": "c-1",
            "authenticated": True,
            "channels": list(channels),
            "positions": dict(positions or {}),
            "recovered": recovered,
            "heartbeat": {"intervalSeconds": interval, "timeoutSeconds": timeout},
            "reconnect": {"jitterMs": jitter_ms},
        },
    )


def subscribed(
    channels: Sequence[str],
    positions: Mapping[str, str] | None = None,
    *,
    recovered: bool | None = None,
    reply_to: int | None = None,
) -> Frame:
    """Return `subscribed`."""
    payload = {"channels": list(channels), "recovered": recovered, "positions": dict(positions or {})}
    return frame("subscribed", payload, reply_to=reply_to)


def event(channel: str | None, event_id: str, at: str | None = None, payload: JsonValue = None) -> Frame:
    """Return an event's frame."""
    return frame("order.updated", payload, channel=channel, at=at, event_id=event_id)


def gap(topic: str, start: int | None, end: int, channel: str | None = None) -> Frame:
    """Return `gap`."""
    payload: dict[str, JsonValue] = {"topic": topic, "reason": "trimmed", "to": place(end), "jitterMs": 250}
    if start is not None:
        payload["from"] = place(start)
    return frame("gap", payload, channel=channel)


def pong(**numbers: int) -> Frame:
    """Return `pong`."""
    return frame("pong", {"positions": places(**numbers)})


def error(
    code: str,
    channel: str | None = None,
    reply_to: int | None = None,
    message: str = "not permitted",
    retry_after_ms: int | None = None,
) -> Frame:
    """Return `error`."""
    payload: dict[str, JsonValue] = {"code": code, "message": message}
    if retry_after_ms is not None:
        payload["retryAfterMs"] = retry_after_ms
    return frame("error", payload, channel=channel, reply_to=reply_to)


def expired(*channels: str) -> Frame:
    """Return the `unsubscribed` of channels whose permission could not be renewed."""
    return frame("unsubscribed", {"channels": list(channels), "reason": "expired"})


def disconnect(
    code: int, *, reconnect: bool, reason: str = "draining", retry_after_ms: int = 0, jitter_ms: int = 0
) -> Frame:
    """Return `disconnect`."""
    return frame(
        "disconnect",
        {
            "code": code,
            "reason": reason,
            "reconnect": reconnect,
            "retryAfterMs": retry_after_ms,
            "jitterMs": jitter_ms,
        },
    )
