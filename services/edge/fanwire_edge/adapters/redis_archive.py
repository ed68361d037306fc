"""The archive on Redis: pages of history over a connection of its own."""

from __future__ import annotations

import asyncio

from fanwire_edge.adapters.redis_wire import Command, RedisWire, checked, entry_of, identity_of, info_of
from fanwire_edge.core.page import Order, RawPage
from fanwire_edge.core.stream import Stream

__all__ = ["RedisArchive"]

REPLY_SECONDS = 5.0


class RedisArchive:
    """Reads the streams of the broker at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._wire = RedisWire(url, prefix)
        self._turn = asyncio.Lock()

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return at most *count* entries from *start* on, with what proves their continuity."""
        key = self._wire.key(stream)
        place = f"{start[0]}-{start[1]}"
        commands: list[Command] = [
            ("INFO", "replication"),
            ("XINFO", "STREAM", key),
            ("XREVRANGE", key, f"({place}", "-", "COUNT", 1),
            ("XRANGE", key, place, "+", "COUNT", count),
        ]
        async with self._turn:
            if not self._wire.is_connected:
                await self._wire.connect()
            identity, info, before, entries = await self._wire.exchange(commands, REPLY_SECONDS)
        earlier = checked(before) if start > (0, 0) else []
        return RawPage(
            stream=stream,
            broker=identity_of(identity)[:8],
            start=start,
            before_id=earlier[0][0].decode() if earlier else None,
            removed=info_of(info).removed,
            entries=tuple(entry_of(*entry) for entry in checked(entries)),
        )

    async def close(self) -> None:
        """Drop the connection."""
        await self._wire.close()
