"""What may be published, and what becomes of it before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fanwire_protocol import InvalidEvent, decode_event
from fanwire_publisher import Outgoing
from fanwire_publisher._outgoing import for_channel, for_everyone, for_target
from fanwire_publisher._record import make_record

NOW = 1_732_096_800_123
RANDOM = bytes(range(10))
PLAIN = Outgoing("orders", "order.updated", {"status": "shipped"}, tenant="acme")


def changed(**fields: Any) -> Outgoing:
    """The plain event with other fields."""
    return dataclasses.replace(PLAIN, **fields)


def test_event_gets_id_and_time_of_now() -> None:
    """Without an id and a time of its own an event gets a UUIDv7 of now, and now."""
    record = make_record(PLAIN, NOW, RANDOM, allow_system=False)
    event = decode_event(record.data)

    assert event.id == record.event_id == "01934903-b57b-7001-8203-040506070809"
    assert event.time == NOW
    assert (record.topic, record.tenant) == ("orders", "acme")


def test_event_keeps_all_that_it_brings() -> None:
    """Every optional field arrives in the record as it was given."""
    fields: dict[str, Any] = {
        "resource": ("orders", "42"),
        "to": ("user", "u-1"),
        "aggregate": ("order", "42"),
        "correlation_id": "req-7",
        "key": "42",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    outgoing = changed(event_id="mine", time=5, **fields)

    event = decode_event(make_record(outgoing, NOW, RANDOM, allow_system=False).data)

    assert (event.id, event.time) == ("mine", 5)
    assert {name: getattr(event, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"topic": "_config"}, "topic"),
        ({"topic": "a:b"}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": 5}, "topic"),
        ({"tenant": None}, "tenant"),
        ({"tenant": "a:b"}, "tenant"),
        ({"topic": "system"}, "tenant"),
        ({"topic": "system", "tenant": None, "to": ("user", "u-1")}, "to"),
        ({"type": "connected"}, "type"),
        ({"type": "fanwire.x"}, "type"),
        ({"type": "a b"}, "type"),
        ({"resource": "ab"}, "resource"),
        ({"resource": ("orders", "*")}, "resource"),
        ({"to": ("group", "x")}, "to"),
        ({"to": "all"}, "to"),
        ({"aggregate": "ab"}, "aggregate"),
        ({"event_id": ""}, "id"),
        ({"time": 1.5}, "time"),
        ({"correlation_id": "x" * 129}, "correlation_id"),
        ({"payload": {"items": [{"price": float("nan")}]}}, "payload.items[0].price"),
        ({"payload": {"when": object()}}, "payload.when"),
        ({"payload": {1: "a"}}, "payload"),
        ({"payload": 2**64}, "payload"),
    ],
)
def test_event_that_breaks_a_rule_is_refused_with_the_place(fields: dict[str, Any], path: str) -> None:
    """InvalidEvent names the field, and the path inside a payload."""
    with pytest.raises(InvalidEvent) as caught:
        make_record(changed(**fields), NOW, RANDOM, allow_system=True)

    assert caught.value.path == path


def test_system_needs_permission() -> None:
    """What reaches every tenant is refused unless the publisher was made for it."""
    with pytest.raises(InvalidEvent, match="allow_system=True"):
        make_record(for_everyone(None, "announcement", {}), NOW, RANDOM, allow_system=False)


@pytest.mark.parametrize(
    ("channel", "topic", "tenant", "resource", "to"),
    [
        ("tenant:acme:resource:orders:42", "channels", "acme", ("orders", "42"), None),
        ("tenant:acme:user:u-1", "channels", "acme", None, ("user", "u-1")),
        ("tenant:acme:role:admin", "channels", "acme", None, ("role", "admin")),
        ("tenant:acme:connection:c-1", "channels", "acme", None, ("connection", "c-1")),
        ("tenant:acme:all", "channels", "acme", None, ("all",)),
        ("system:all", "system", None, None, ("all",)),
    ],
)
def test_channel_says_where_its_events_go(
    channel: str,
    topic: str,
    tenant: str | None,
    resource: tuple[str, str] | None,
    to: tuple[str, ...] | None,
) -> None:
    """Every kind of channel becomes a tenant and a resource or an addressee."""
    outgoing = for_channel(channel, "x", None, key="k")

    assert outgoing == Outgoing(topic, "x", tenant=tenant, resource=resource, to=to, key="k")


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("tenant:acme:resource:orders:*", "pattern.*tenant:acme:resource:orders:42"),
        ("tenant:acme:resource:*", "pattern"),
        ("orders", "begins with"),
    ],
)
def test_only_a_channel_can_be_published_to(channel: str, words: str) -> None:
    """A pattern, or a name that is no channel, is refused with what would work."""
    with pytest.raises(InvalidEvent, match=words) as caught:
        for_channel(channel, "x", None)

    assert caught.value.path == "channel"


def test_short_forms_use_the_reserved_topics() -> None:
    """What goes to people goes over `direct`, what goes to all tenants over `system`."""
    assert for_target("acme", ("user", "u-1"), "x", None).topic == "direct"
    assert for_everyone("acme", "x", None) == for_target("acme", ("all",), "x", None)
    assert for_everyone(None, "x", None).topic == "system"
