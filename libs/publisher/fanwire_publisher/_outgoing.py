"""Events as applications hand them over, and where the short forms send them (PROTOCOL §1, §7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from fanwire_protocol import ChannelKind, InvalidChannel, InvalidEvent, JsonValue, parse_channel
from fanwire_protocol.keys import CHANNELS_TOPIC, DIRECT_TOPIC, SYSTEM_TOPIC

__all__ = ["Details", "Outgoing", "for_channel", "for_everyone", "for_target"]


class Details(TypedDict, total=False):
    """What every event may carry besides its payload.

    `time` is in milliseconds since the epoch (default: now), `event_id` a new UUIDv7 by default, `key`
    what conflation compares.
    """

    aggregate: tuple[str, str] | None
    time: int | None
    correlation_id: str | None
    event_id: str | None
    key: str | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event for `publish_many`; the fields are the arguments of `publish`."""

    topic: str
    type: str
    payload: JsonValue = None
    tenant: str | None = field(default=None, kw_only=True)
    resource: tuple[str, str] | None = field(default=None, kw_only=True)
    to: tuple[str, ...] | None = field(default=None, kw_only=True)
    aggregate: tuple[str, str] | None = field(default=None, kw_only=True)
    time: int | None = field(default=None, kw_only=True)
    correlation_id: str | None = field(default=None, kw_only=True)
    event_id: str | None = field(default=None, kw_only=True)
    key: str | None = field(default=None, kw_only=True)
    traceparent: str | None = field(default=None, kw_only=True)


def for_channel(channel: str, type: str, payload: JsonValue, **details: Unpack[Details]) -> Outgoing:
    """Return the event that reaches *channel*; raises InvalidEvent for a pattern or a name that is none."""
    try:
        parsed = parse_channel(channel)
    except InvalidChannel as error:
        raise InvalidEvent(str(error), "channel") from error
    match parsed.kind, parsed.type, parsed.id:
        case ChannelKind.SYSTEM, _, _:
            return for_everyone(None, type, payload, **details)
        case ChannelKind.RESOURCE, str(type_), str(id_):
            resource = (type_, id_)
            return Outgoing(CHANNELS_TOPIC, type, payload, tenant=parsed.tenant, resource=resource, **details)
        case ChannelKind.RESOURCE, _, _:
            raise InvalidEvent(
                "is a pattern, which can be subscribed to; an event goes to one channel, such as "
                f"tenant:{parsed.tenant}:resource:{parsed.type or 'orders'}:42",
                "channel",
            )
        case kind, _, id_:
            to = (kind.value,) if id_ is None else (kind.value, id_)
            return Outgoing(CHANNELS_TOPIC, type, payload, tenant=parsed.tenant, to=to, **details)


def for_target(
    tenant: str, to: tuple[str, ...], type: str, payload: JsonValue, **details: Unpack[Details]
) -> Outgoing:
    """Return the event that reaches the connections of *to* and nobody else."""
    return Outgoing(DIRECT_TOPIC, type, payload, tenant=tenant, to=to, **details)


def for_everyone(tenant: str | None, type: str, payload: JsonValue, **details: Unpack[Details]) -> Outgoing:
    """Return the event that reaches everyone of *tenant*, or every tenant where it is None."""
    if tenant is None:
        return Outgoing(SYSTEM_TOPIC, type, payload, to=("all",), **details)
    return for_target(tenant, ("all",), type, payload, **details)
