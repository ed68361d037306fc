"""From an event as it was handed over to the record that is written (PROTOCOL §7)."""

from __future__ import annotations

from dataclasses import dataclass

from fanwire_protocol import Event, InvalidEvent, encode_event
from fanwire_protocol.event import uuid7
from fanwire_protocol.keys import SYSTEM_TOPIC, is_topic
from fanwire_publisher._outgoing import Outgoing

__all__ = ["Record", "make_record"]


@dataclass(frozen=True, slots=True)
class Record:
    """One encoded event and where it goes."""

    topic: str
    tenant: str | None
    event_id: str
    data: bytes


def make_record(outgoing: Outgoing, now_ms: int, random: bytes, *, allow_system: bool) -> Record:
    """Encode *outgoing*, with a new id of *now_ms* and ten *random* bytes where it brings none.

    Raises InvalidEvent, naming the field, where a rule is broken.
    """
    _check_place(outgoing, allow_system)
    for name in ("resource", "to", "aggregate"):
        value = getattr(outgoing, name)
        # A string of two letters would pass for a pair.
        if value is not None and type(value) is not tuple and type(value) is not list:
            raise InvalidEvent("is a tuple of strings", name)
    event = Event(
        id=uuid7(now_ms, random) if outgoing.event_id is None else outgoing.event_id,
        type=outgoing.type,
        tenant=outgoing.tenant,
        time=now_ms if outgoing.time is None else outgoing.time,
        payload=outgoing.payload,
        resource=outgoing.resource,
        to=outgoing.to,
        correlation_id=outgoing.correlation_id,
        aggregate=outgoing.aggregate,
        key=outgoing.key,
        traceparent=outgoing.traceparent,
    )
    return Record(outgoing.topic, outgoing.tenant, event.id, encode_event(event))


def _check_place(outgoing: Outgoing, allow_system: bool) -> None:
    topic = outgoing.topic
    if type(topic) is not str or not is_topic(topic):
        raise InvalidEvent("is 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = - and begins with no `_`", "topic")
    if topic != SYSTEM_TOPIC:
        if outgoing.tenant is None:
            raise InvalidEvent("is missing; only the topic `system` has events without one", "tenant")
        return
    if not allow_system:
        raise InvalidEvent(
            "`system` reaches every tenant; it needs a publisher with allow_system=True", "topic"
        )
    if outgoing.tenant is not None:
        raise InvalidEvent("is None on `system`; another topic reaches one tenant", "tenant")
    if outgoing.to is not None and tuple(outgoing.to) != ("all",):
        raise InvalidEvent('is ["all"] on `system`; users, roles and connections have a tenant', "to")
