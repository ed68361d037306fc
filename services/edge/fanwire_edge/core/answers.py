"""The server's own frames, without the clock and ids that the shell adds (PROTOCOL §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanwire_edge.core.follower import Loss
from fanwire_protocol.codec import JsonValue
from fanwire_protocol.codes import CloseCode, ErrorCode, GapReason
from fanwire_protocol.commands import ReplyTo
from fanwire_protocol.frames import format_time

__all__ = [
    "Answer",
    "Greeting",
    "Identity",
    "authenticated",
    "connected",
    "disconnect",
    "error",
    "gap",
    "lost",
    "ping",
    "pong",
    "subscribed",
    "token_expiring",
    "unsubscribed",
]

_STATUS = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One frame of the server's own."""

    type: str
    payload: Mapping[str, JsonValue]
    channel: str | None = None
    offset: str | None = None
    reply_to: ReplyTo = None

    @property
    def mistake(self) -> bool:
        """Whether it answers a mistake in the protocol (ten in a row close the connection)."""
        return self.type == "error" and ErrorCode(str(self.payload["code"])).is_protocol_mistake


@dataclass(frozen=True, slots=True)
class Greeting:
    """What every `connected` frame of an edge says: intervals in seconds, the window in milliseconds."""

    heartbeat_interval: float
    heartbeat_timeout: float
    reconnect_jitter_ms: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is greeted; without a user, that is not known yet."""

    client_id: str
    user: str | None = None
    tenant: str | None = None


def connected(
    greeting: Greeting,
    who: Identity,
    channels: Sequence[str],
    positions: Mapping[str, str],
    recovered: bool | None,
) -> Answer:
    """Greet a connection, whose delivery begins after *positions*."""
    known: dict[str, JsonValue] = {} if who.user is None else {"user": who.user, "tenant": who.tenant}
    payload: dict[str, JsonValue] = {
        "clientId": who.client_id,
        **known,
        "authenticated": bool(known),
        "channels": channels,
        "positions": positions,
        "recovered": recovered,
        "heartbeat": {
            "intervalSeconds": _number(greeting.heartbeat_interval),
            "timeoutSeconds": _number(greeting.heartbeat_timeout),
        },
        "reconnect": {"jitterMs": greeting.reconnect_jitter_ms},
    }
    return Answer("connected", payload)


def authenticated(greeting: Answer, reply_to: ReplyTo) -> Answer:
    """Answer `authenticate` with what a *greeting* of this moment says."""
    return Answer("authenticated", greeting.payload, reply_to=reply_to)


def token_expiring(expires_at: float) -> Answer:
    """Tell when the credential ends, which is in seconds since the epoch."""
    return Answer("token_expiring", {"expiresAt": format_time(int(expires_at * 1000))})


def subscribed(
    channels: Sequence[str], recovered: bool | None, positions: Mapping[str, str], reply_to: ReplyTo
) -> Answer:
    """Confirm *channels*, whose delivery begins after *positions*."""
    payload: dict[str, JsonValue] = {
        "channels": channels,
        "recovered": recovered,
        "positions": positions,
    }
    return Answer("subscribed", payload, reply_to=reply_to)


def unsubscribed(channels: Sequence[str], reason: str, reply_to: ReplyTo) -> Answer:
    """Confirm the end of the subscriptions to *channels*."""
    return Answer("unsubscribed", {"channels": channels, "reason": reason}, reply_to=reply_to)


def ping(positions: Mapping[str, str]) -> Answer:
    """Ask for a sign of life where it can be seen, and tell what was put on this connection's wire."""
    return Answer("ping", {"positions": positions})


def pong(positions: Mapping[str, str], reply_to: ReplyTo, skipped: int = 0) -> Answer:
    """Answer a ping with what was put on this connection's wire, and how much was left out of it because
    later events stand for it."""
    payload: dict[str, JsonValue] = {"positions": positions}
    if skipped:
        payload["skipped"] = skipped
    return Answer("pong", payload, reply_to=reply_to)


def error(
    code: ErrorCode,
    message: str,
    *,
    channel: str | None = None,
    channels: Sequence[str] | None = None,
    retry_after_ms: int | None = None,
    reply_to: ReplyTo = None,
) -> Answer:
    """Refuse a command; *channels* tells what the connection is on, *retry_after_ms* when to try again."""
    payload: dict[str, JsonValue] = {"code": code.value, "message": message}
    if code in _STATUS:
        payload["status"] = _STATUS[code]
    if channels is not None:
        payload["channels"] = channels
    if retry_after_ms is not None:
        payload["retryAfterMs"] = retry_after_ms
    return Answer("error", payload, channel=channel, reply_to=reply_to)


def gap(topic: str, reason: GapReason, start: str | None, end: str, jitter_ms: int) -> Answer:
    """Tell that events of *topic* after *start* and up to *end* may be missing."""
    payload: dict[str, JsonValue] = {"topic": topic, "reason": reason.value}
    if start is not None:
        payload["from"] = start
    payload["to"] = end
    payload["jitterMs"] = jitter_ms
    return Answer("gap", payload, offset=f"{topic}@{end}")


def lost(loss: Loss, jitter_ms: int) -> Answer:
    """Tell of a loss that the tail found."""
    return gap(loss.stream.topic, loss.reason, str(loss.start), str(loss.end), jitter_ms)


def disconnect(
    code: CloseCode, reason: str, *, reconnect: bool, retry_after_ms: int = 0, jitter_ms: int = 0
) -> Answer:
    """Announce that the server is about to close."""
    payload: dict[str, JsonValue] = {
        "code": int(code),
        "reason": reason,
        "reconnect": reconnect,
        "retryAfterMs": retry_after_ms,
        "jitterMs": jitter_ms,
    }
    return Answer("disconnect", payload)


def _number(value: float) -> float:
    """Return whole numbers as such, so that JSON shows 30 and not 30.0."""
    return int(value) if value == int(value) else value
