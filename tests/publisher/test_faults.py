"""Publishing while connections break, replies are lost and brokers come and go: real server, real proxy."""

from __future__ import annotations

import asyncio
import re

import pytest

from fanwire_publisher import Outgoing, Publisher, PublishFailed, PublishRefused, Sources
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually
from tests.publisher.reading import announcements, delivered_ids, entries, events, replid

ORDERS = "fanwire:orders:0"


async def test_lost_reply_is_retried_with_the_same_id(proxy: FaultProxy, redis_server: RedisServer) -> None:
    """An entry whose reply is lost stands twice in the log with one id; publish() returns once."""
    async with Publisher.from_url(proxy.url()) as publisher, asyncio.TaskGroup() as group:
        await publisher.publish("orders", "x", 1, tenant="acme")
        proxy.down.swallow = True
        second = group.create_task(publisher.publish("orders", "x", 2, tenant="acme", event_id="e-2"))
        await eventually(lambda: len(entries(redis_server, ORDERS)) == 2)
        proxy.heal()
        proxy.reset()
        position = await second

    stream = entries(redis_server, ORDERS)
    assert [event.id for event in events(redis_server, ORDERS)][1:] == ["e-2", "e-2"]
    assert position.id == stream[2][0]


REPLIES = {
    b"HELLO": b"%1\r\n+proto\r\n:3\r\n",
    b"CLIENT": b"+OK\r\n",
    b"HSETNX": b":0\r\n",
    b"HGET": b"$1\r\n1\r\n",
    b"SADD": b":0\r\n",
    b"INFO": b"$22\r\nmaster_replid:5f0c2a91\r\n",
}


async def test_one_attempt_adds_once() -> None:
    """Only our own retry repeats: in 0.3 s, at the longest backoff, at most four entries, not eleven each."""
    added = 0

    async def hang_up_on_xadd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal added
        while data := await reader.read(65_536):
            commands = re.findall(rb"\*\d+\r\n\$\d+\r\n([A-Z]+)\r\n", data)
            if b"XADD" in commands:
                added += 1
                break
            writer.write(b"".join(REPLIES[command] for command in commands))
        writer.close()

    server = await asyncio.start_server(hang_up_on_xadd, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    longest_backoff = Sources(random=lambda size: b"\xff" * size)
    async with Publisher.from_url(url, retry_seconds=0.3, sources=longest_backoff) as publisher:
        with pytest.raises(PublishFailed):
            await publisher.publish("orders", "x", tenant="acme")
    server.close()

    assert 1 < added <= 4


async def test_lost_reply_of_many_keeps_their_order(proxy: FaultProxy, redis_server: RedisServer) -> None:
    """A batch cut in its replies is added once more as a whole: what edges deliver is in order."""
    outgoing = [Outgoing("orders", "x", tenant="acme", event_id=f"e-{number}") for number in range(300)]
    async with Publisher.from_url(proxy.url()) as publisher:
        await publisher.publish("orders", "x", tenant="acme", event_id="e-first")
        proxy.down.cut_after_bytes = 700
        positions = await publisher.publish_many(outgoing)

    assert len({position.id for position in positions}) == 300
    assert len(entries(redis_server, ORDERS)) > 301
    assert delivered_ids(redis_server, ORDERS) == ["e-first", *(event.event_id for event in outgoing)]


async def test_concurrent_calls_keep_their_order_while_connections_break(
    proxy: FaultProxy, redis_server: RedisServer
) -> None:
    """Calls for one topic and tenant land in the order in which they were made, whatever breaks meanwhile."""
    tenants = [f"t{number % 3}" for number in range(720)]
    async with Publisher.from_url(proxy.url(), partitions=2) as publisher, asyncio.TaskGroup() as group:
        for number, tenant in enumerate(tenants):
            group.create_task(publisher.publish("orders", "x", tenant=tenant, event_id=f"{tenant}/{number}"))
        for passed in range(2000, 14_000, 2000):
            await eventually(lambda passed=passed: proxy.down.passed_bytes > passed)  # type: ignore[misc]
            proxy.reset()

    assert proxy.accepted > 5
    delivered = delivered_ids(redis_server, ORDERS) + delivered_ids(redis_server, "fanwire:orders:1")
    for tenant in set(tenants):
        mine = [int(id_.partition("/")[2]) for id_ in delivered if id_.startswith(f"{tenant}/")]
        assert mine == [number for number, other in enumerate(tenants) if other == tenant]


async def test_after_a_failure_old_connections_are_not_tried(
    proxy: FaultProxy, redis_server: RedisServer
) -> None:
    """Idle connections of the time before a failure are dropped, so the next attempt dials anew."""
    async with Publisher.from_url(proxy.url()) as publisher:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(publisher.publish("orders", "x", tenant=f"t{number}"))
        assert proxy.connections > 1
        # The broker moves, as behind a name; the old one still takes connections, and refuses to write.
        async with RedisServer() as promoted:
            redis_server.execute("REPLICAOF", "127.0.0.1", 1)
            proxy.target = promoted.address
            dialled = proxy.accepted

            position = await publisher.publish("orders", "x", tenant="acme")

            assert position.broker == replid(promoted)
            assert proxy.accepted == dialled + 1


async def test_restarted_broker_is_waited_for_and_set_up_again(redis_server: RedisServer) -> None:
    """Events are taken up by a broker that came back empty: registered again, with its new identity."""
    async with Publisher.from_url(redis_server.url, partitions=2) as publisher:
        before = await publisher.publish("orders", "x", tenant="acme")
        redis_server.kill()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(publisher.publish("orders", "x", tenant="acme", event_id="e-2"))
            await redis_server.astart()
        after = waiting.result()

    assert after.broker == replid(redis_server) != before.broker
    assert redis_server.execute("SMEMBERS", "fanwire:topics") == {b"orders"}
    assert redis_server.execute("HGET", "fanwire:_config", "partitions") == b"2"


async def test_announcement_that_failed_is_made_up_for(proxy: FaultProxy, redis_server: RedisServer) -> None:
    """Where the connection breaks between registering a topic and announcing it, the retry announces it."""
    redis_server.execute("SET", "fanwire:control", "in the way")
    async with Publisher.from_url(proxy.url()) as publisher:
        with pytest.raises(PublishRefused, match="WRONGTYPE"):
            await publisher.publish("orders", "x", tenant="acme")
        redis_server.execute("DEL", "fanwire:control")

        await publisher.publish("orders", "x", tenant="acme")

    assert [entry["topic"] for entry in announcements(redis_server, "fanwire")] == ["orders"]


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("READONLY", ("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
        (
            "NOREPLICAS",
            ("CONFIG", "SET", "min-replicas-to-write", 1),
            ("CONFIG", "SET", "min-replicas-to-write", 0),
        ),
    ],
)
async def test_refusal_of_a_failover_is_waited_out(
    redis_server: RedisServer, code: str, before: tuple[str | int, ...], after: tuple[str | int, ...]
) -> None:
    """What a failover refuses is tried again until it is over, and then stands in the log once."""
    async with Publisher.from_url(redis_server.url) as publisher:
        await publisher.publish("orders", "x", tenant="acme", event_id="e-1")
        redis_server.execute(*before)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(publisher.publish("orders", "x", tenant="acme", event_id="e-2"))
            await eventually(lambda: f"errorstat_{code}" in redis_server.execute("INFO", "errorstats"))
            redis_server.execute(*after)
        position = waiting.result()

    assert [event.id for event in events(redis_server, ORDERS)] == ["e-1", "e-2"]
    assert position.broker == replid(redis_server)


async def test_cancelled_call_disturbs_no_other(proxy: FaultProxy, redis_server: RedisServer) -> None:
    """After calls were cancelled in mid-flight the others keep their order and get their own positions."""
    async with Publisher.from_url(proxy.url()) as publisher:
        await publisher.publish("orders", "x", tenant="acme", event_id="e-0")
        proxy.down.hold = True
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(publisher.publish("orders", "x", tenant="acme", event_id=f"e-{number}"))
                for number in range(1, 7)
            ]
            await eventually(lambda: len(entries(redis_server, ORDERS)) == 2)
            for number in (1, 3):
                tasks[number - 1].cancel()
            proxy.heal()
        kept = [task.result() for task in tasks if not task.cancelled()]

    stream = [
        (id_, event.id)
        for (id_, _), event in zip(entries(redis_server, ORDERS), events(redis_server, ORDERS), strict=True)
    ]
    assert [event_id for _, event_id in stream] == ["e-0", "e-1", "e-2", "e-4", "e-5", "e-6"]
    assert [position.id for position in kept] == [id_ for id_, _ in stream[2:]]


async def test_connections_are_bounded(shared_redis: SharedRedis) -> None:
    """However many tenants publish at once, only max_connections are opened."""
    async with FaultProxy(shared_redis.server.address) as proxy:
        async with (
            Publisher.from_url(proxy.url(), prefix=shared_redis.prefix, max_connections=3) as publisher,
            asyncio.TaskGroup() as group,
        ):
            for number in range(100):
                group.create_task(publisher.publish("orders", "x", tenant=f"t{number}"))

        assert proxy.accepted == 3
