"""What the edge makes of what stands in the log (PROTOCOL §3, §7)."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import pytest

from fanwire_protocol.event import encode_event
from fanwire_protocol.keys import topics_key
from tests.edge.running import CANARY, RunningEdge, order

RECORD: dict[str, Any] = {
    "v": 1,
    "id": "e-1",
    "type": "order.updated",
    "tenant": "acme",
    "time": 1,
    "payload": {"canary": CANARY},
    "resource": ["orders", "1"],
}


def changed(**fields: Any) -> bytes:
    """Return a record with other fields; None leaves one out."""
    values = RECORD | fields
    packed: bytes = msgpack.packb({name: value for name, value in values.items() if value is not None})
    return packed


BROKEN: list[tuple[str, dict[bytes, bytes] | bytes]] = [
    ("no msgpack", b"\xc1"),
    ("empty", b""),
    ("cut short", changed()[:-1]),
    ("something behind it", changed() + b"\x00"),
    ("a list", msgpack.packb([1, 2])),
    ("a promise of 4 GB", b"\xdd\xff\xff\xff\xff"),
    ("a map with number keys", msgpack.packb({1: 2})),
    ("version 2", changed(v=2)),
    ("version true", changed(v=True)),
    ("no version", changed(v=None)),
    ("no field e", {b"x": b"1"}),
    ("no id", changed(id=None)),
    ("no time", changed(time=None)),
    ("no type", changed(type=None)),
    ("a reserved type", changed(type="connected")),
    ("a type of ours", changed(type="fanwire.thing")),
    ("tenant nil", msgpack.packb(RECORD | {"tenant": None})),
    ("a tenant that is no segment", changed(tenant="a:b")),
    ("a resource of three", changed(resource=["orders", "1", "2"])),
    ("a resource that is a pattern", changed(resource=["orders", "*"])),
    ("to nobody known", changed(to=["group", "x"])),
    ("bytes in the payload", changed(payload={"x": b"\x00"})),
    ("infinity in the payload", changed(payload={"x": float("inf")})),
]


@pytest.mark.parametrize(("what", "entry"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_a_broken_entry_is_counted_told_of_and_skipped_and_the_topic_flows_on(
    edge: RunningEdge, tenant: str, what: str, entry: dict[bytes, bytes] | bytes
) -> None:
    """What stands before and behind it is delivered; the line names the entry and not its content."""
    before = await edge.metric("events_invalid_total")
    async with edge.client(tenant) as client:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed"
        )
        edge.add_event("orders", tenant, 1)
        broken_id = edge.add("orders", entry)
        last_id = edge.add_event("orders", tenant, 2)
        frames = await client.messages(2)

        assert [frame["payload"]["number"] for frame in frames] == [1, 2]
        assert (await client.positions())["orders"].startswith(f"{last_id}~")
    assert await edge.metric("events_invalid_total") == before + 1
    lines = [line for line in edge.process.output.splitlines() if f'entry="{broken_id}"' in line]
    assert len(lines) == 1
    assert "event_invalid" in lines[0]
    assert 'topic="orders"' in lines[0]


async def test_further_fields_of_an_entry_are_ignored(edge: RunningEdge, tenant: str) -> None:
    """Beside `e`, and inside the record: newer publishers may say more."""
    record = msgpack.unpackb(encode_event(order(tenant, 1))) | {"colour": "blue"}
    async with edge.client(tenant) as client:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:1"}, "subscribed"
        )
        edge.add("orders", {b"x": b"1", b"e": msgpack.packb(record), b"y": b"2"})

        assert (await client.message())["payload"]["number"] == 1


async def test_a_frame_carries_all_that_the_event_said(edge: RunningEdge, tenant: str) -> None:
    """The envelope of PROTOCOL §3: the event's own id and time, and where it stands."""
    async with edge.client(tenant) as client:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:1"}, "subscribed"
        )
        payload = {"text": "ä€😀", "number": -1.5, "list": [None, True, {}], "big": 2**63}
        entry_id = edge.add_event(
            "orders", tenant, 1, id="e-1", payload=payload, time=1_772_143_200_123, correlation_id="req-7"
        )
        frame = await client.message()

        broker = (await client.positions())["orders"].partition("~")[2]
        assert frame == {
            "type": "order.updated",
            "channel": f"tenant:{tenant}:resource:orders:1",
            "timestamp": "2026-02-26T22:00:00.123Z",
            "eventId": "e-1",
            "encoding": "json",
            "payload": payload,
            "offset": f"orders@{entry_id}~{broker}",
            "correlationId": "req-7",
        }


TARGETS: list[tuple[tuple[str, ...], str]] = [
    (("user", "u-1"), "tenant:{t}:user:u-1"),
    (("role", "admin"), "tenant:{t}:role:admin"),
    (("connection", "{c}"), "tenant:{t}:connection:{c}"),
    (("all",), "tenant:{t}:all"),
]


@pytest.mark.parametrize(("target", "channel"), TARGETS, ids=[row[0][0] for row in TARGETS])
@pytest.mark.parametrize("topic", ["direct", "orders"])
async def test_an_event_reaches_whom_it_is_addressed_to_and_nobody_else(
    edge: RunningEdge, tenant: str, topic: str, target: tuple[str, ...], channel: str
) -> None:
    """Another user of the tenant gets it where all are meant; another tenant never."""
    async with (
        edge.client(tenant, roles=["admin"]) as client,
        edge.client(tenant, sub="u-2") as colleague,
        edge.client(f"{tenant}-2", roles=["admin"]) as stranger,
    ):
        to = tuple(part.replace("{c}", client.client_id) for part in target)
        edge.add_event(topic, tenant, to=to, resource=None)
        for last in (tenant, f"{tenant}-2"):
            edge.add_event(topic, last, to=("all",), resource=None, type="last")

        frame = await client.message("order.updated")
        assert frame["channel"] == channel.replace("{t}", tenant).replace("{c}", client.client_id)
        await client.message("last")
        expected = ["order.updated", "last"] if target == ("all",) else ["last"]
        assert [(await colleague.message())["type"] for _ in expected] == expected
        await stranger.message("last")


async def test_an_event_on_two_channels_gives_a_frame_for_each_with_the_position_before(
    edge: RunningEdge, tenant: str
) -> None:
    """So that a cut between the two loses none; one `eventId`, the resource's frame first."""
    async with edge.client(tenant) as client:
        channel = f"tenant:{tenant}:resource:orders:1"
        await client.call({"type": "subscribe", "channel": channel}, "subscribed")
        before = edge.add_event("orders", tenant, 1)
        after = edge.add_event("orders", tenant, 1, to=("user", "u-1"), type="both")
        await client.message("order.updated")
        frames = await client.messages(2)

        assert [frame["channel"] for frame in frames] == [channel, f"tenant:{tenant}:user:u-1"]
        assert len({frame["eventId"] for frame in frames}) == 1
        assert {frame["offset"].partition("~")[0] for frame in frames} == {f"orders@{before}"}
        assert (await client.positions())["orders"].startswith(after)


async def test_everyone_is_reached_through_the_system_topic(edge: RunningEdge, tenant: str) -> None:
    """The only topic for events without a tenant; every tenant has its position."""
    async with edge.client(tenant) as one, edge.client(f"{tenant}-2") as two:
        async with edge.publisher() as publisher:
            at = await publisher.broadcast(None, "announcement", {"text": CANARY})
        for client in (one, two):
            frame = await client.message("announcement")
            assert (frame["channel"], frame["offset"]) == ("system:all", f"system@{at}")


@pytest.mark.parametrize("topic", ["direct", "system"])
async def test_reserved_topics_feed_no_resource_channel(edge: RunningEdge, tenant: str, topic: str) -> None:
    """An event with a resource there is counted and goes nowhere."""
    before = await edge.metric("events_unroutable_total")
    async with edge.client(tenant) as client:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed"
        )
        edge.add_event(topic, tenant, 1)
        edge.add_event(topic, tenant, to=("user", "u-1"), resource=None, type="last")
        await client.message("last")
    assert await edge.metric("events_unroutable_total") == before + 1


async def test_order_holds_across_the_channels_of_a_topic(edge: RunningEdge, tenant: str) -> None:
    """Two hundred events over many channels arrive in the order of the log."""
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        channels = [f"tenant:{tenant}:resource:orders:{number}" for number in range(7)]
        await client.call({"type": "subscribe", "channels": channels}, "subscribed")
        positions = [
            await publisher.publish(
                "orders", "order.updated", number, tenant=tenant, resource=("orders", str(number % 7))
            )
            for number in range(200)
        ]
        frames = await client.messages(200)

    assert [frame["payload"] for frame in frames] == list(range(200))
    assert [frame["offset"] for frame in frames] == [f"orders@{position}" for position in positions]


async def test_a_new_topic_is_found_at_once_when_its_publisher_tells(edge: RunningEdge, tenant: str) -> None:
    """Through the control stream, and read from its first entry."""
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed"
        )
        began = time.monotonic()
        topic = f"new-{tenant}"
        at = await publisher.publish(topic, "first", None, tenant=tenant, resource=("orders", "1"))
        frame = await client.message("first")

        assert time.monotonic() - began < 4
        assert frame["offset"] == f"{topic}@{at}"
        assert (await client.positions())[topic] == str(at)


async def test_a_new_topic_is_found_by_the_set_alone(edge: RunningEdge, tenant: str) -> None:
    """Any program that can XADD and SADD is a publisher; nothing of the topic is missed."""
    async with edge.client(tenant) as client:
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed"
        )
        topic = f"quiet-{tenant}"
        for number in range(3):
            edge.add_event(topic, tenant, number)
        began = time.monotonic()
        edge.redis.server.execute("SADD", topics_key(edge.redis.prefix), topic)
        frames = [await client.message("order.updated", 8.0) for _ in range(3)]

        # The set is asked every five seconds; the read that is under way may take two more.
        assert time.monotonic() - began < 8
        assert [frame["payload"]["number"] for frame in frames] == [0, 1, 2]


BROKEN_ORDERS: list[bytes] = [b"\xc1", msgpack.packb([1]), msgpack.packb({"v": 1, "op": "dance"}), b""]


@pytest.mark.parametrize("entry", BROKEN_ORDERS, ids=["no msgpack", "a list", "unknown", "empty"])
async def test_a_broken_control_entry_stops_nothing(edge: RunningEdge, tenant: str, entry: bytes) -> None:
    """Neither the control stream, nor the topics."""
    key = f"{edge.redis.prefix}:control"
    async with edge.client(tenant) as client, edge.publisher() as publisher:
        edge.redis.server.execute("XADD", key, "*", "e", entry)
        edge.redis.server.execute("XADD", key, "*", "other", "field")
        await client.call(
            {"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed"
        )
        topic = f"after-{tenant}"
        await publisher.publish(topic, "first", None, tenant=tenant, resource=("orders", "1"))
        assert (await client.message())["offset"].startswith(f"{topic}@")
