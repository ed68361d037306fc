"""From an event to its channels (PROTOCOL §1, §7)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.mapper import channels_of
from fanwire_protocol.event import InvalidEvent
from tests.edge.core.pieces import event


@pytest.mark.parametrize(
    ("topic", "resource", "to", "channels"),
    [
        ("orders", ("orders", "1"), None, ("tenant:acme:resource:orders:1",)),
        ("orders", None, None, ()),
        ("orders", None, ("user", "u-1"), ("tenant:acme:user:u-1",)),
        ("orders", None, ("role", "admin"), ("tenant:acme:role:admin",)),
        ("orders", None, ("connection", "c-1"), ("tenant:acme:connection:c-1",)),
        ("orders", None, ("all",), ("tenant:acme:all",)),
        ("orders", ("o", "1"), ("all",), ("tenant:acme:resource:o:1", "tenant:acme:all")),
        ("channels", ("orders", "1"), None, ("tenant:acme:resource:orders:1",)),
        ("direct", ("orders", "1"), ("user", "u-1"), ("tenant:acme:user:u-1",)),
        ("direct", ("orders", "1"), None, ()),
        ("system", ("orders", "1"), ("all",), ("tenant:acme:all",)),
    ],
)
def test_an_event_is_on_its_resources_channel_and_on_the_one_it_is_addressed_to(
    topic: str, resource: tuple[str, str] | None, to: tuple[str, ...] | None, channels: tuple[str, ...]
) -> None:
    """In this order; `direct` and `system` feed no resource channel."""
    assert channels_of(topic, event(1, resource=resource, to=to)) == channels


def test_an_event_without_a_tenant_reaches_everyone() -> None:
    """On `system`, addressed to all; without an address it is on no channel."""
    assert channels_of("system", event(1, tenant=None, to=("all",))) == ("system:all",)
    assert channels_of("system", event(1, tenant=None)) == ()


@pytest.mark.parametrize(
    ("topic", "to", "path"), [("orders", ("all",), "tenant"), ("system", ("user", "u-1"), "to")]
)
def test_an_event_without_a_tenant_may_stand_nowhere_else(topic: str, to: tuple[str, ...], path: str) -> None:
    """The error names the field, so that the publisher finds it."""
    with pytest.raises(InvalidEvent) as raised:
        channels_of(topic, event(1, tenant=None, to=to))

    assert raised.value.path == path
