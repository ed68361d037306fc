"""The archive on Redis: pages of history over a connection of its own."""

from __future__ import annotations

import asyncio

from fanwire_edge.adapters.redis_wire import Command, RedisWire, checked, entry_of, identity_of, info_of
from fanwire_edge.core.page import EARLIER_ENTRIES, Order, RawPage
from fanwire_edge.core.stream import Stream
from fanwire_edge.ports import TailLost

__all__ = ["RedisArchive"]

REPLY_SECONDS = 5.0
_MOST_ENTRIES = 1000


class RedisArchive:
    """Reads the streams of the broker at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._wire = RedisWire(url, prefix)
        self._turn = asyncio.Lock()
        self._most = _MOST_ENTRIES

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return at most *count* entries from *start* on, with what proves their continuity."""
        async with self._turn:
            try:
                page = await self._page(stream, start, min(count, self._most))
            except TailLost:
                # Also where it answers, a demoted broker for example: the next one may be another. The
                # entries may be too large for so many of them to come in time.
                await self._wire.close()
                self._most = max(1, min(count, self._most) // 2)
                raise
            self._most = min(_MOST_ENTRIES, 2 * self._most)
            return page

    async def _page(self, stream: Stream, start: Order, count: int) -> RawPage:
        key = self._wire.key(stream)
        place = f"{start[0]}-{start[1]}"
        # Entries may be added and trimmed between two commands. What proves that nothing was removed is asked
        # behind the read (ADR 0006), and which ids it is sure to have seen before it.
        commands: list[Command] = [
            ("INFO", "replication"),
            ("XINFO", "STREAM", key),
            ("XRANGE", key, place, "+", "COUNT", count),
            ("XREVRANGE", key, f"({place}", "-", "COUNT", min(count, EARLIER_ENTRIES)),
            ("XINFO", "STREAM", key),
        ]
        if not self._wire.is_connected:
            await self._wire.connect()
        identity, before, found, back, after = await self._wire.exchange(commands, REPLY_SECONDS)
        entries = tuple(entry_of(*entry) for entry in checked(found))
        # Redis refuses to look for what lies before the very first id.
        earlier = tuple(entry_of(*entry) for entry in reversed(checked(back))) if start > (0, 0) else ()
        return RawPage(
            stream=stream,
            broker=identity_of(identity)[:8],
            start=start,
            before_id=earlier[-1].id if earlier else None,
            removed=info_of(after).removed,
            entries=entries,
            is_cut=len(entries) == count,
            last_id=info_of(before).last_id,
            earlier=earlier,
        )

    async def close(self) -> None:
        """Drop the connection."""
        await self._wire.close()
