"""What is asked of Redis now and then can be called off at any moment."""

from __future__ import annotations

import asyncio

from fanwire_edge.adapters.redis_registry import RedisRegistry
from tests.kit.redis_server import SharedRedis

# More turns of the loop than an exchange takes.
TURNS = 60
DEADLINE_SECONDS = 5.0


async def test_a_cancellation_is_never_lost(shared_redis: SharedRedis) -> None:
    """At whatever turn of the loop it comes: an edge that is told to stop would go on for ever."""
    registry = RedisRegistry(shared_redis.url, shared_redis.prefix)
    never = asyncio.Event()

    async def ask_and_wait() -> None:
        await registry.topics()
        await never.wait()

    try:
        for turns in range(TURNS):
            async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
                task = tasks.create_task(ask_and_wait())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            assert task.cancelled(), turns
    finally:
        await registry.close()
