"""The registry in Redis: the set of topics and the hash of shared settings (PROTOCOL §7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanwire_edge.adapters.redis_client import REPLY_SECONDS, redis_client
from fanwire_edge.adapters.redis_wire import BROKEN, reason_of
from fanwire_edge.ports import TailLost
from fanwire_protocol.keys import config_key, readers_key, topics_key
from fanwire_protocol.settings import SettingError

__all__ = ["RedisRegistry"]

_PARTITIONS = "partitions"
MAX_PARTITIONS = 1024
# Readers announce themselves every five seconds; who missed three in a row is gone.
READER_SECONDS = 15


class RedisRegistry:
    """The registry at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._redis = redis_client(url)

    async def partitions(self, wanted: int | None) -> int:
        """Return the stored number; the first process that finds none writes its own (1 by default)."""
        key = config_key(self._prefix)
        async with _mapped_errors():
            stored = await self._redis.hget(key, _PARTITIONS)
            if stored is None:
                await self._redis.hsetnx(key, _PARTITIONS, str(wanted or 1))
                stored = await self._redis.hget(key, _PARTITIONS)
        text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PARTITIONS:
            raise SettingError(
                f"broker.prefix: the number of partitions under {key} is {text[:20]!r}, "
                f"not one from 1 to {MAX_PARTITIONS}; take another prefix, for example fanwire2"
            )
        return int(text)

    async def topics(self) -> frozenset[str]:
        """Return the registered topics."""
        async with _mapped_errors():
            names = await self._redis.smembers(topics_key(self._prefix))
        return frozenset(name.decode(errors="replace") for name in names if isinstance(name, bytes))

    async def announce(self, reader: str) -> int:
        """Return the number of readers that announced themselves of late, *reader* among them."""
        key = readers_key(self._prefix)
        async with _mapped_errors():
            # By the broker's clock, which is the same for all.
            now, _ = await self._redis.time()
            await self._redis.zadd(key, {reader: now})
            await self._redis.expire(key, 2 * READER_SECONDS)
            await self._redis.zremrangebyscore(key, "-inf", now - READER_SECONDS)
            return int(await self._redis.zcard(key))

    async def close(self) -> None:
        """Drop the connection."""
        await self._redis.aclose()


@asynccontextmanager
async def _mapped_errors() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(2 * REPLY_SECONDS):
            yield
    except BROKEN as error:
        raise TailLost(reason_of(error)) from error
