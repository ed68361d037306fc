"""What stands in Redis after publishing (PROTOCOL §7), on a real server."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import pytest

from fanwire_protocol.codec import decode_msgpack
from fanwire_publisher import (
    InvalidEvent,
    Outgoing,
    PartitionsConflict,
    Publisher,
    PublisherClosed,
    PublisherOptions,
    PublishRefused,
    Sources,
)
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.publisher.reading import announcements, entries, events, replid


@pytest.fixture
async def publisher(shared_redis: SharedRedis) -> AsyncIterator[Publisher]:
    async with Publisher.from_url(
        shared_redis.url, prefix=shared_redis.prefix, allow_system=True
    ) as publisher:
        yield publisher


async def test_event_is_one_field_of_one_entry(publisher: Publisher, shared_redis: SharedRedis) -> None:
    """An event is a msgpack map in the field `e`, under the returned position's id."""
    position = await publisher.publish(
        "orders",
        "order.updated",
        {"status": "shipped"},
        tenant="acme",
        resource=("orders", "42"),
        event_id="e-1",
    )

    [(id_, fields)] = entries(shared_redis.server, f"{shared_redis.prefix}:orders:0")
    record = decode_msgpack(fields.pop(b"e"))
    assert fields == {}
    assert (position.id, position.broker) == (id_, replid(shared_redis.server))
    assert record.pop("time") == pytest.approx(position.time_ms, abs=5000)
    assert record == {
        "v": 1,
        "id": "e-1",
        "type": "order.updated",
        "tenant": "acme",
        "resource": ["orders", "42"],
        "payload": {"status": "shipped"},
    }


async def test_short_forms_write_where_edges_look(publisher: Publisher, shared_redis: SharedRedis) -> None:
    """Every method writes on its topic with its addressee."""
    await publisher.publish_channel("tenant:acme:resource:orders:42", "a", 1)
    await publisher.send_to_user("acme", "u-1", "b", 2)
    await publisher.send_to_role("acme", "admin", "c", 3)
    await publisher.send_to_connection("acme", "c-1", "d", 4)
    await publisher.broadcast("acme", "e", 5)
    await publisher.broadcast(None, "f", 6, key="k")

    def written(topic: str) -> list[tuple[object, ...]]:
        stream = events(shared_redis.server, f"{shared_redis.prefix}:{topic}:0")
        return [(event.type, event.tenant, event.resource, event.to, event.payload) for event in stream]

    assert written("channels") == [("a", "acme", ("orders", "42"), None, 1)]
    assert written("direct") == [
        ("b", "acme", None, ("user", "u-1"), 2),
        ("c", "acme", None, ("role", "admin"), 3),
        ("d", "acme", None, ("connection", "c-1"), 4),
        ("e", "acme", None, ("all",), 5),
    ]
    assert written("system") == [("f", None, None, ("all",), 6)]


async def test_invalid_event_sends_nothing(publisher: Publisher, shared_redis: SharedRedis) -> None:
    """A bad event among several is refused before the first is sent."""
    good = Outgoing("orders", "x", 1, tenant="acme")
    bad = Outgoing("orders", "x", {"a": {1, 2}}, tenant="acme")  # type: ignore[dict-item]

    with pytest.raises(InvalidEvent, match=r"payload\.a"):
        await publisher.publish_many([good, bad])

    assert shared_redis.server.execute("KEYS", f"{shared_redis.prefix}:*") == []


async def test_topic_is_registered_and_announced_once(shared_redis: SharedRedis) -> None:
    """The first event of a topic adds it to the set and tells the edges; nobody tells them twice."""
    server, prefix = shared_redis.server, shared_redis.prefix
    sources = Sources(clock=lambda: 1_732_096_800.123, random=bytes)
    for _ in range(2):
        async with Publisher(server.client(), PublisherOptions(prefix=prefix), sources=sources) as publisher:
            await publisher.publish("orders", "x", tenant="acme")
            await publisher.publish("orders", "x", tenant="acme")

    assert server.execute("SMEMBERS", f"{prefix}:topics") == {b"orders"}
    assert announcements(server, prefix) == [
        {
            "v": 1,
            "op": "topic",
            "id": "01934903-b57b-7000-8000-000000000000",
            "at": 1_732_096_800_123,
            "topic": "orders",
        }
    ]


async def test_many_events_keep_their_order_and_get_their_positions(
    publisher: Publisher, shared_redis: SharedRedis
) -> None:
    """Positions come in the order of the events, also across topics and batches."""
    outgoing = [
        Outgoing("orders" if number % 3 else "invoices", "x", number, tenant=f"t{number % 5}")
        for number in range(500)
    ]

    positions = await publisher.publish_many(outgoing)

    for topic in ("orders", "invoices"):
        stream = entries(shared_redis.server, f"{shared_redis.prefix}:{topic}:0")
        expected = [
            position.id for position, event in zip(positions, outgoing, strict=True) if event.topic == topic
        ]
        payloads = [
            event.payload for event in events(shared_redis.server, f"{shared_redis.prefix}:{topic}:0")
        ]
        assert [id_ for id_, _ in stream] == expected
        assert payloads == [event.payload for event in outgoing if event.topic == topic]


async def test_large_events_travel_in_bounded_batches(publisher: Publisher) -> None:
    """Events of 100 KB each arrive, however many are handed over at once."""
    assert (
        len(
            await publisher.publish_many(
                Outgoing("big", "x", "y" * 100_000, tenant="acme") for _ in range(10)
            )
        )
        == 10
    )


async def test_nothing_to_publish_needs_no_broker() -> None:
    """An empty list returns an empty list."""
    async with Publisher.from_url("redis://127.0.0.1:1") as publisher:
        assert await publisher.publish_many([]) == []


async def test_tenant_decides_the_partition(shared_redis: SharedRedis) -> None:
    """With 4 partitions an event lies in crc32(tenant) mod 4, and `system` in 0."""
    server, prefix = shared_redis.server, shared_redis.prefix
    tenants = [f"tenant-{number}" for number in range(12)]
    async with Publisher.from_url(server.url, prefix=prefix, partitions=4, allow_system=True) as publisher:
        await publisher.publish_many([Outgoing("orders", "x", tenant=tenant) for tenant in tenants])
        await publisher.broadcast(None, "x")

    for partition in range(4):
        found = [event.tenant for event in events(server, f"{prefix}:orders:{partition}")]
        assert found == [tenant for tenant in tenants if zlib.crc32(tenant.encode()) % 4 == partition]
    assert len(events(server, f"{prefix}:system:0")) == 1


async def test_first_process_decides_the_number_of_partitions(shared_redis: SharedRedis) -> None:
    """The first one's number is stored, one without a setting takes it, one with another stops."""
    server, prefix = shared_redis.server, shared_redis.prefix
    for partitions in (3, None, 3):
        async with Publisher.from_url(server.url, prefix=prefix, partitions=partitions) as publisher:
            await publisher.publish("orders", "x", tenant="acme")
    async with Publisher.from_url(server.url, prefix=prefix, partitions=5) as publisher:
        with pytest.raises(PartitionsConflict, match=f"{prefix}:_config is 3 .* partitions=5"):
            await publisher.publish("orders", "x", tenant="acme")

    assert server.execute("HGET", f"{prefix}:_config", "partitions") == b"3"
    assert len(events(server, f"{prefix}:orders:{zlib.crc32(b'acme') % 3}")) == 3


async def test_without_a_setting_the_number_is_one(publisher: Publisher, shared_redis: SharedRedis) -> None:
    """Who finds no number and has none writes 1."""
    await publisher.publish("orders", "x", tenant="acme")

    assert shared_redis.server.execute("HGET", f"{shared_redis.prefix}:_config", "partitions") == b"1"


async def test_stream_is_bounded_by_count(redis_server: RedisServer) -> None:
    """A stream stays near max_entries, whole nodes at a time."""
    redis_server.execute("CONFIG", "SET", "stream-node-max-entries", 10)
    async with Publisher.from_url(redis_server.url, max_entries=50) as publisher:
        await publisher.publish_many([Outgoing("orders", "x", tenant="acme") for _ in range(1000)])

    assert 50 <= redis_server.execute("XLEN", "fanwire:orders:0") <= 50 + 128


async def test_stream_is_bounded_by_age_of_the_brokers_clock(redis_server: RedisServer) -> None:
    """Entries older than the retention go with a later one, by the broker's ids and not by our clock."""
    redis_server.execute("CONFIG", "SET", "stream-node-max-entries", 1)
    redis_server.execute("XADD", "fanwire:orders:0", "1000-0", "e", "old")
    wrong_clock = Sources(clock=lambda: 4_000_000_000.0)
    async with Publisher(redis_server.client(), sources=wrong_clock) as publisher:
        for _ in range(3):
            await publisher.publish("orders", "x", tenant="acme")

    assert len(events(redis_server, "fanwire:orders:0")) == 3


async def test_url_cannot_change_what_replies_are(shared_redis: SharedRedis) -> None:
    """A URL that asks for text replies, as some applications' do, works as any other."""
    async with Publisher.from_url(
        shared_redis.url + "?decode_responses=true", prefix=shared_redis.prefix
    ) as publisher:
        position = await publisher.publish("orders", "x", tenant="acme")

    assert position.broker == replid(shared_redis.server)


async def test_closed_publisher_sends_nothing(shared_redis: SharedRedis) -> None:
    """After aclose() publishing raises at once."""
    publisher = Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix)
    await publisher.aclose()

    with pytest.raises(PublisherClosed):
        await publisher.publish("orders", "x", tenant="acme")


async def test_emptied_broker_gets_the_topic_again(redis_server: RedisServer) -> None:
    """After FLUSHALL, which breaks no connection, topic and partitions are back within a second of use."""
    now = [0.0]
    async with Publisher(redis_server.client(), sources=Sources(monotonic=lambda: now[0])) as publisher:
        await publisher.publish("orders", "x", tenant="acme")
        redis_server.execute("FLUSHALL")
        for now[0] in (2.0, 2.1):
            await publisher.publish("orders", "x", tenant="acme")

    assert redis_server.execute("SMEMBERS", "fanwire:topics") == {b"orders"}
    assert redis_server.execute("HGET", "fanwire:_config", "partitions") == b"1"
    assert [entry["topic"] for entry in announcements(redis_server, "fanwire")] == ["orders"]


@pytest.mark.parametrize(
    ("setting", "word"),
    [(("maxmemory", "1"), "maxmemory"), (None, "WRONGTYPE"), (("acl",), "NoPermission")],
    ids=["out of memory", "wrong type", "not permitted"],
)
async def test_refusal_that_will_not_pass_is_told_at_once(
    redis_server: RedisServer, setting: tuple[str, ...] | None, word: str
) -> None:
    """What no retry helps raises PublishRefused with Redis' reason; the event is not in the log."""
    async with Publisher.from_url(redis_server.url, retry_seconds=30) as publisher:
        await publisher.publish("other", "x", tenant="acme")
        if setting is None:
            redis_server.execute("SET", "fanwire:orders:0", "text")
        elif setting[0] == "acl":
            redis_server.execute("ACL", "SETUSER", "default", "-xadd")
        else:
            redis_server.execute("CONFIG", "SET", *setting)

        for count in (1, 2):
            events_ = [
                Outgoing("orders", "secret-type", tenant="acme", event_id=f"e-{n}") for n in range(count)
            ]
            with pytest.raises(PublishRefused, match=word) as caught:
                await publisher.publish_many(events_)

            assert caught.value.unconfirmed == tuple(event.event_id for event in events_)
            assert "secret-type" not in str(caught.value)
