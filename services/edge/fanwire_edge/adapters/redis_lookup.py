"""Looking up in Redis whose a credential is: a few at a time, briefly, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanwire_edge.adapters.redis_client import REPLY_SECONDS, redis_client
from fanwire_edge.adapters.redis_wire import BROKEN, reason_of
from fanwire_edge.ports import VerifierUnavailable

__all__ = ["RedisLookup"]

# Connections at most; as many look-ups as there are clients wait for one of them.
MAX_CONNECTIONS = 8


class RedisLookup:
    """Reads single keys of the Redis at *url*, over connections of its own. A `ports.Companion`."""

    def __init__(self, url: str) -> None:
        self._redis = redis_client(url)
        # A URL's options win over arguments; who waits for a connection waits here.
        self._redis.connection_pool.max_connections = MAX_CONNECTIONS
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def field(self, key: str, name: str) -> bytes | None:
        """Return a field of a hash; raises VerifierUnavailable."""
        async with self._asking():
            value = await self._redis.hget(key, name)
        return value if isinstance(value, bytes) else None

    async def value(self, key: str) -> tuple[bytes, float | None] | None:
        """Return a text and how many seconds it has to live, None for ever; raises VerifierUnavailable."""
        async with self._asking(), self._redis.pipeline(transaction=False) as pipeline:
            await pipeline.execute_command("GET", key)
            await pipeline.execute_command("PTTL", key)
            value, left = await pipeline.execute()
        # It may have ended between the two.
        if value is None or left == -2:
            return None
        return value, None if left == -1 else left / 1000

    async def start(self) -> None:
        """Connect when somebody asks, not before."""

    async def run(self) -> None:
        """Return at once: there is nothing to be done meanwhile."""

    async def close(self) -> None:
        """Drop the connections."""
        await self._redis.aclose()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(REPLY_SECONDS), self._places:
                yield
        except BROKEN as error:
            raise VerifierUnavailable(f"Redis does not tell whose it is: {reason_of(error)}") from None
