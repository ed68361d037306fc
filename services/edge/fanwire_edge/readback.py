"""Reading back: what an edge has to know of the log from before it started (PROTOCOL §6 "Duplicates")."""

from __future__ import annotations

import asyncio

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.page import PAGE_ENTRIES
from fanwire_edge.core.stream import Entry, Stream, StreamInfo
from fanwire_edge.ports import Archive
from fanwire_protocol.codec import InvalidData, decode_msgpack

__all__ = ["remember_recent"]


async def remember_recent(archive: Archive, duplicates: Duplicates, stream: Stream, info: StreamInfo) -> None:
    """Let *duplicates* know the events of *stream* that are still in its window. Raises TailLost."""
    last = order_of(info.last_id)
    place = (max(0, last[0] - duplicates.seconds * 1000), 0)
    while place <= last:
        page = await archive.page(stream, place, PAGE_ENTRIES)
        for entry in page.entries:
            _remember(duplicates, stream, entry)
        if len(page.entries) < PAGE_ENTRIES:
            return
        time_ms, sequence = order_of(page.entries[-1].id)
        place = (time_ms, sequence + 1)
        await asyncio.sleep(0)


def _remember(duplicates: Duplicates, stream: Stream, entry: Entry) -> None:
    try:
        record = decode_msgpack(entry.data or b"")
    except InvalidData:
        return
    if isinstance(record, dict):
        tenant, event_id = record.get("tenant"), record.get("id")
        duplicates.is_repeated(stream.topic, tenant, str(event_id), order_of(entry.id)[0])
