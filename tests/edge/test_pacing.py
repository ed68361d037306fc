"""Reader pacing: many tails on one broker read less often, and deliver the same (`tail.min_interval_ms`)."""

from __future__ import annotations

import asyncio
from typing import Any

from fanwire_protocol.keys import readers_key
from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import Wire
from tests.kit.redis_server import SharedRedis

EVENTS = 150


async def batches_of_a_stream(edge: RunningEdge, client: Wire) -> tuple[float, float]:
    """Add events one after the other, check that all arrive, and return the batches and the seconds."""
    clock = asyncio.get_running_loop().time
    began, before = clock(), await edge.metric("batches_total")
    for number in range(EVENTS):
        edge.add_event("orders", "acme", number)
    numbers = [each["payload"]["number"] for each in await client.messages(EVENTS)]
    assert numbers == list(range(EVENTS))
    elapsed = clock() - began
    return await edge.metric("batches_total") - before, elapsed


async def test_a_crowd_of_readers_reads_at_most_every_five_milliseconds(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """Each counts those who announced themselves, and what comes meanwhile comes at once."""
    now = int(shared_redis.server.execute("TIME")[0])
    for number in range(99):
        shared_redis.server.execute("ZADD", readers_key(shared_redis.prefix), now, f"reader-{number}")
    async with running_edge(shared_redis, EDGE__LOOP=loop_name) as edge, edge.client() as client:
        await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}, "subscribed")
        assert await edge.metric("tail_readers") == 100
        batches, seconds = await batches_of_a_stream(edge, client)

    assert batches <= seconds / 0.005 + 2


async def test_the_setting_holds_for_one_reader_too(shared_redis: SharedRedis) -> None:
    """Twenty milliseconds between two reads, and nothing is lost or out of order."""
    settings: dict[str, Any] = {"TAIL__MIN_INTERVAL_MS": "20"}
    async with running_edge(shared_redis, **settings) as edge, edge.client() as client:
        await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}, "subscribed")
        batches, seconds = await batches_of_a_stream(edge, client)

    assert batches <= seconds / 0.020 + 2
