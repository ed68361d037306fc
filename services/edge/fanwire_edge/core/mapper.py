"""The mapper: from an event to the channels that it is published on."""

from __future__ import annotations

from fanwire_protocol.channels import (
    SYSTEM_ALL,
    all_channel,
    connection_channel,
    resource_channel,
    role_channel,
    user_channel,
)
from fanwire_protocol.event import Event, InvalidEvent
from fanwire_protocol.keys import DIRECT_TOPIC, SYSTEM_TOPIC

__all__ = ["channels_of"]


def channels_of(topic: str, event: Event) -> tuple[str, ...]:
    """Return the channels of *event*: its resource's first, then the one it is addressed `to`.

    Empty where it names neither. Raises InvalidEvent for an event that may not stand in *topic*.
    """
    if event.tenant is None:
        return _channels_of_everyone(topic, event)
    channels = []
    if event.resource is not None and topic not in (DIRECT_TOPIC, SYSTEM_TOPIC):
        channels.append(resource_channel(event.tenant, *event.resource))
    if event.to is not None:
        channels.append(_addressed(event.tenant, event.to))
    return tuple(channels)


def _channels_of_everyone(topic: str, event: Event) -> tuple[str, ...]:
    if topic != SYSTEM_TOPIC:
        raise InvalidEvent(f"may be absent in the topic {SYSTEM_TOPIC!r} only", "tenant")
    if event.to not in (None, ("all",)):
        raise InvalidEvent("without a tenant an event goes to all or nowhere", "to")
    return () if event.to is None else (SYSTEM_ALL,)


def _addressed(tenant: str, to: tuple[str, ...]) -> str:
    match to:
        case ("user", user):
            return user_channel(tenant, user)
        case ("role", role):
            return role_channel(tenant, role)
        case ("connection", client_id):
            return connection_channel(tenant, client_id)
    return all_channel(tenant)
