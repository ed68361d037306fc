"""A publisher whose caller gives up, or whose connections break under the faster loop."""

from __future__ import annotations

import asyncio
import random

import pytest
import uvloop

from fanwire_publisher import Publisher
from tests.faults.rig import rounds, say, writing
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


async def test_cancelled_call_ends(redis_server: RedisServer) -> None:
    """Cancelling a call ends it, at whatever moment: it neither hangs nor goes on as if nothing were."""
    chance = random.Random(3)
    async with Publisher.from_url(redis_server.url) as publisher:
        await publisher.publish("orders", "changed", tenant="acme")
        for _ in range(rounds(60, 1000)):
            await _cancel_at_some_moment(publisher, chance.random() * 0.003)


async def _cancel_at_some_moment(publisher: Publisher, seconds: float) -> None:
    async def publish_for_ever() -> None:
        while True:
            await publisher.publish("orders", "changed", tenant="acme")

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(publish_for_ever())
        await asyncio.sleep(seconds)
        task.cancel()


def test_connections_that_break_under_uvloop_are_retried(redis_server: RedisServer) -> None:
    """Writing to a connection that was reset a moment ago is retried like any other break."""

    async def run() -> int:
        async with FaultProxy(redis_server.address) as proxy, writing(proxy.url()) as writer:
            await writer.write("orders")
            for _ in range(rounds(40, 500)):
                async with asyncio.TaskGroup() as tasks:
                    for topic in ("orders", "invoices", "projects"):
                        tasks.create_task(writer.write(topic, 2))
                    await asyncio.sleep(0.002)
                    proxy.reset()
            return len(writer.written)

    say(f"{uvloop.run(run())} events confirmed")
