"""Reading back: what an edge has to know of the log from before it started (PROTOCOL §6 "Duplicates")."""

from __future__ import annotations

import asyncio

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.decoding import remember_entries
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.stream import CONTROL, Stream, StreamInfo
from fanwire_edge.ports import Archive, TailLost

__all__ = ["remember_recent"]

# Only ids are looked at, so more of them at a time than for pages.
_ENTRIES = 1000


async def remember_recent(
    archive: Archive, duplicates: Duplicates, broker: str, stream: Stream, info: StreamInfo
) -> None:
    """Let *duplicates* know the events of *stream* that are still in its window. Raises TailLost."""
    if stream == CONTROL:
        return
    last = order_of(info.last_id)
    place = (max(0, last[0] - duplicates.window_ms), 0)
    while place <= last:
        page = await archive.page(stream, place, _ENTRIES)
        if page.broker != broker:
            await archive.close()
            raise TailLost("history comes from another broker than the one that is followed")
        remember_entries(stream, page.entries, duplicates.is_repeated)
        if not page.is_cut:
            return
        time_ms, sequence = order_of(page.entries[-1].id)
        place = (time_ms, sequence + 1)
        await asyncio.sleep(0)
