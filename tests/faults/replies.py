"""Publishers whose replies are lost or who pause, and clients that stay away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.load import TOPICS
from tests.faults.rig import key_of
from tests.faults.scene import Scene
from tests.kit.proxy import FaultProxy
from tests.kit.recording_client import Timing
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

__all__ = ["Away", "dropping_replies", "idle"]


@asynccontextmanager
async def idle(run: Scene) -> AsyncIterator[None]:
    """Let every publisher have its answers, and pause them all."""
    for load in run.loads:
        load.hold()
    await eventually(lambda: all(load.is_idle for load in run.loads), 20, "publishers that pause")
    yield
    for load in run.loads:
        load.go()


@asynccontextmanager
async def dropping_replies(run: Scene, redis: RedisServer, door: FaultProxy) -> AsyncIterator[None]:
    """Lose replies from now on, with events in the log whose publishers wait; break their connections at the
    end."""
    while not await _replies_were_lost(redis, door):
        await run.more(0.5)
    yield
    door.heal()
    door.reset()


async def _replies_were_lost(redis: RedisServer, door: FaultProxy) -> bool:
    """Lose replies, and take it back where publishers were only about to agree on partitions."""
    door.down.swallow = True
    before = _length(redis)
    try:
        await eventually(lambda: _length(redis) > before, 1)
    except AssertionError:
        door.heal()
        door.reset()
        return False
    return True


def _length(redis: RedisServer) -> int:
    return sum(redis.execute("XLEN", key_of(topic)) for topic in (*TOPICS, "channels", "direct"))


class Away:
    """Keeps clients that lost their connection from coming back until they are released."""

    def __init__(self) -> None:
        self._may_return = asyncio.Event()
        self.timing = Timing(0.5, 60, sleep=self._sleep)

    def release(self) -> None:
        """Let all come back."""
        self._may_return.set()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._may_return.wait()
