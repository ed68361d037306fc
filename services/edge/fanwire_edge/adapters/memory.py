"""The ports over a small broker in this process, for development and tests (DESIGN "Shape")."""

from __future__ import annotations

import asyncio
import secrets
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.page import EARLIER_ENTRIES, Order, RawPage
from fanwire_edge.core.stream import Entry, Stream, StreamInfo
from fanwire_edge.ports import TailLost
from fanwire_protocol.position import BEGINNING

__all__ = ["MemoryArchive", "MemoryBroker", "MemoryRegistry", "MemoryRevocations", "MemoryTail"]

# How long an announcement holds.
READER_SECONDS = 15


@dataclass(slots=True)
class _Log:
    """One stream; `added` counts the entries ever added."""

    entries: list[Entry] = field(default_factory=list)
    added: int = 0
    last_id: str = BEGINNING

    def place(self, order: Order) -> int:
        return bisect_left(self.entries, order, key=lambda entry: order_of(entry.id))

    def after(self, entry_id: str, count: int) -> Sequence[Entry]:
        time_ms, sequence = order_of(entry_id)
        return self.entries[(start := self.place((time_ms, sequence + 1))) : start + count]

    def holds(self, entry_id: str) -> bool:
        index = self.place(order_of(entry_id))
        return index < len(self.entries) and self.entries[index].id == entry_id

    def info(self) -> StreamInfo:
        first = self.entries[0].id if self.entries else None
        return StreamInfo(len(self.entries), self.added, first, self.last_id)


class MemoryBroker:
    """Streams, topics and settings; for one event loop."""

    def __init__(self) -> None:
        self.identity = secrets.token_hex(20)
        self.is_running = True
        self.topics: set[str] = set()
        self.partitions: int | None = None
        self.announced: dict[str, float] = {}
        self.revoked: dict[str, bytes] = {}
        self._logs: dict[Stream, _Log] = {}
        self.readers: set[asyncio.Event] = set()

    def add(self, stream: Stream, data: bytes | None) -> str:
        """Append an entry, wake who waits for it and return its id; None stands for a missing field."""
        log = self._logs.setdefault(stream, _Log())
        last_ms, last_sequence = order_of(log.last_id)
        now_ms = time.time_ns() // 1_000_000
        log.last_id = f"{now_ms}-0" if now_ms > last_ms else f"{last_ms}-{last_sequence + 1}"
        log.entries.append(Entry(log.last_id, data))
        log.added += 1
        self._wake()
        return log.last_id

    def trim(self, stream: Stream, length: int) -> None:
        """Keep the youngest *length* entries of *stream*."""
        del self.log(stream).entries[: -length or None]

    def remove(self, stream: Stream, entry_id: str) -> None:
        """Delete one entry."""
        log = self.log(stream)
        log.entries = [entry for entry in log.entries if entry.id != entry_id]

    def drop(self, stream: Stream) -> None:
        """Delete a whole stream, as if it had never been."""
        self._logs.pop(stream, None)

    def stop(self) -> None:
        """Go away: everyone's connection is lost."""
        self.is_running = False
        self._wake()

    def restart(self) -> None:
        """Come back as another one, with nothing of what was there."""
        self.stop()
        self._logs.clear()
        self.topics.clear()
        self.announced.clear()
        self.revoked.clear()
        self.identity, self.partitions, self.is_running = secrets.token_hex(20), None, True

    def log(self, stream: Stream) -> _Log:
        """Return a stream's log, empty where there is none."""
        return self._logs.get(stream, _Log())

    async def news(self, seconds: float) -> None:
        """Wait until something is added, or the broker goes away, or *seconds* are over."""
        news = asyncio.Event()
        self.readers.add(news)
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass  # No news either.
        finally:
            self.readers.discard(news)

    def _wake(self) -> None:
        for reader in self.readers:
            reader.set()


class _Connected:
    """What has a connection to a broker, which lasts as long as the broker's identity."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._connected_to: str | None = None

    async def close(self) -> None:
        """Let go of the connection."""
        self._connected_to = None

    def _connect(self) -> str:
        if not self._broker.is_running:
            raise TailLost("the broker is away")
        self._connected_to = self._broker.identity
        return self._connected_to

    def _check(self) -> None:
        if self._connected_to is None:
            raise TailLost("not connected")
        if not self._broker.is_running or self._broker.identity != self._connected_to:
            self._connected_to = None
            raise TailLost("the connection was lost")


class MemoryTail(_Connected):
    """The port `Tail`."""

    async def connect(self) -> str:
        """Connect anew and return the broker's identity."""
        return self._connect()

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return what the broker says of each of *streams*."""
        self._check()
        return {stream: self._broker.log(stream).info() for stream in streams}

    async def read(self, request: ReadRequest) -> ReadReply:
        """Read, then prove where it was read from; cancelling it drops the connection."""
        self._check()
        deadline = time.monotonic() + (request.block_ms or 0) / 1000
        entries = self._entries(request)
        try:
            while not entries and (left := deadline - time.monotonic()) > 0:
                await self._broker.news(left)
                self._check()
                entries = self._entries(request)
        except asyncio.CancelledError:
            await self.close()
            raise
        log, cursors = self._broker.log, request.cursors
        unproven = frozenset(each for each in request.prove if not log(each).holds(cursors[each]))
        return ReadReply(self._connected_to if request.identify else None, unproven, entries)

    def _entries(self, request: ReadRequest) -> Mapping[Stream, Sequence[Entry]]:
        log, count = self._broker.log, request.count
        found = {stream: log(stream).after(place, count) for stream, place in request.cursors.items()}
        return {stream: entries for stream, entries in found.items() if entries}


class MemoryArchive(_Connected):
    """The port `Archive`."""

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return at most *count* entries from *start* on, with what proves their continuity."""
        identity, log = self._connect(), self._broker.log(stream)
        index = log.place(start)
        before, found = log.entries[:index], log.entries[index : index + count]
        return RawPage(
            stream=stream,
            broker=identity[:8],
            start=start,
            before_id=before[-1].id if before else None,
            removed=log.info().removed,
            entries=tuple(found),
            is_cut=len(found) == count,
            last_id=log.last_id,
            earlier=tuple(before[-EARLIER_ENTRIES:]),
        )


class MemoryRevocations(_Connected):
    """The port `RevocationSource`."""

    async def pages(self) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Yield what was revoked, all at once."""
        self._connect()
        yield tuple(self._broker.revoked.items())


class MemoryRegistry(_Connected):
    """The port `Registry`."""

    async def partitions(self, wanted: int | None) -> int:
        """Return the agreed number of partitions; the first to ask decides (1 by default)."""
        self._connect()
        self._broker.partitions = self._broker.partitions or wanted or 1
        return self._broker.partitions

    async def topics(self) -> frozenset[str]:
        """Return the registered topics."""
        self._connect()
        return frozenset(self._broker.topics)

    async def announce(self, reader: str) -> int:
        """Return the number of readers that announced themselves of late, *reader* among them."""
        self._connect()
        announced, now = self._broker.announced, time.monotonic()
        announced[reader] = now
        return sum(now - at <= READER_SECONDS for at in announced.values())
