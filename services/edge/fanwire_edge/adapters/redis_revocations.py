"""The revocations in Redis: the hash that publishers write before they tell the edges (PROTOCOL §7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fanwire_edge.adapters.redis_client import REPLY_SECONDS, redis_client
from fanwire_edge.adapters.redis_wire import BROKEN, reason_of
from fanwire_edge.ports import TailLost
from fanwire_protocol.keys import revoked_key

__all__ = ["RedisRevocations"]

PAGE_FIELDS = 200


class RedisRevocations:
    """The hash of the broker at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._key = revoked_key(prefix)
        self._redis = redis_client(url)

    async def pages(self) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Yield all that was there when it began, over a connection that is closed behind it."""
        cursor = 0
        try:
            while True:
                cursor, found = await self._page(cursor)
                yield [(field.decode(errors="replace"), order) for field, order in found]
                if not cursor:
                    return
        finally:
            await self._redis.aclose()

    async def _page(self, cursor: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        try:
            async with asyncio.timeout(2 * REPLY_SECONDS):
                reply: Any = await self._redis.hscan(self._key, cursor, count=PAGE_FIELDS)
        except BROKEN as error:
            raise TailLost(reason_of(error)) from error
        place, found = reply
        return int(place), list(found.items())
