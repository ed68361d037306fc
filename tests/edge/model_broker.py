"""A broker in memory whose clock, trimming and identity a test moves, for edges that live in the test.

It satisfies the ports `Tail` and `Archive`, and remembers every entry that was ever added, which the real
one does not; that is what the promises are checked against.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.page import Order, RawPage
from fanwire_edge.core.stream import Entry, Stream, StreamInfo
from fanwire_edge.ports import TailLost
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import decode_event
from fanwire_protocol.position import BEGINNING

__all__ = ["Happened", "Life", "ModelArchive", "ModelBroker", "ModelTail"]


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry as the publisher knows it: its event, none where it is broken, and the channels it is due on.

    `head` is the number of the first of the copies that it belongs to, its own where it is none.
    """

    entry_id: str
    number: int
    event_id: str | None
    channels: tuple[str, ...]
    head: int

    @property
    def is_copy(self) -> bool:
        """Whether the event stands in the log before it, within the window."""
        return self.head != self.number


@dataclass(slots=True)
class Life:
    """One stream of one broker: every entry that it ever had, and how many of the first were removed."""

    ever: list[Happened] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    removed: int = 0

    @property
    def last_id(self) -> str:
        """The last id that was given out."""
        return self.ever[-1].entry_id if self.ever else BEGINNING

    @property
    def left(self) -> Sequence[Entry]:
        """What the stream still holds."""
        return self.entries[self.removed :]

    @property
    def info(self) -> StreamInfo:
        """What `XINFO STREAM` says."""
        left = self.left
        return StreamInfo(len(left), len(self.ever), left[0].id if left else None, self.last_id)

    def number_at(self, entry_id: str) -> int:
        """Return how many entries there were up to *entry_id*."""
        order = order_of(entry_id)
        return sum(1 for each in self.ever if order_of(each.entry_id) <= order)


class ModelBroker:
    """Streams of a broker, and of those that it was before (`lives`, by the identity's first digits)."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.now_ms = 1_000_000
        self.generation = 0
        self.lives: dict[str, dict[Stream, Life]] = {self.short: {}}
        self.news = asyncio.Event()

    @property
    def identity(self) -> str:
        """The `master_replid`."""
        return f"{self.generation:08x}" + "0" * 32

    @property
    def short(self) -> str:
        """What positions carry of it."""
        return self.identity[:8]

    def life(self, stream: Stream) -> Life:
        """Return a stream of the present broker."""
        return self.lives[self.short].setdefault(stream, Life())

    def add(self, stream: Stream, data: bytes | None) -> Happened:
        """`XADD *`."""
        life = self.life(stream)
        time_ms, sequence = order_of(life.last_id)
        entry_id = f"{self.now_ms}-0" if self.now_ms > time_ms else f"{time_ms}-{sequence + 1}"
        happened = self._happened(stream, life, entry_id, data)
        life.ever.append(happened)
        life.entries.append(Entry(entry_id, data))
        self.wake()
        return happened

    def _happened(self, stream: Stream, life: Life, entry_id: str, data: bytes | None) -> Happened:
        number = len(life.ever)
        try:
            event = decode_event(data or b"")
            channels = channels_of(stream.topic, event)
        except InvalidData:
            return Happened(entry_id, number, None, (), number)
        happened = Happened(entry_id, number, event.id, channels, number)
        before = next((each for each in reversed(life.ever) if self.is_copy_of(happened, each)), happened)
        return replace(happened, head=before.head)

    def is_copy_of(self, entry: Happened, before: Happened) -> bool:
        """Tell whether both are of one event, and *before* stands within the window before *entry*."""
        since = order_of(entry.entry_id)[0] - self.window_ms
        is_of_it = entry.event_id is not None and before.event_id == entry.event_id
        return is_of_it and before.number < entry.number and order_of(before.entry_id)[0] >= since

    def trim(self, stream: Stream, keep: int) -> None:
        """`XTRIM MAXLEN`."""
        life = self.life(stream)
        life.removed = max(life.removed, len(life.ever) - keep)

    def fail_over(self, lost: int | None) -> None:
        """Become another broker, whose log lacks the last *lost* entries of each stream, or all (None)."""
        before = self.lives[self.short]
        self.generation += 1
        lives = self.lives[self.short] = {}
        for stream, life in before.items():
            kept = 0 if lost is None else max(0, len(life.ever) - lost)
            lives[stream] = Life(life.ever[:kept], life.entries[:kept], min(life.removed, kept))
        # Ids of a new log are younger than those of the old one.
        self.now_ms += 1
        self.wake()

    def wake(self) -> None:
        """Let readers look again."""
        self.news.set()
        self.news = asyncio.Event()


class _Gate:
    """Holds up what goes through it while it is shut."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        await self._open.wait()


class ModelTail:
    """The port `Tail`; while its `gate` is shut nothing is read."""

    def __init__(self, broker: ModelBroker) -> None:
        self._broker = broker
        self._identity: str | None = None
        self.gate = _Gate()

    async def connect(self) -> str:
        """Return the identity."""
        await self.gate.passed()
        self._identity = self._broker.identity
        return self._identity

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return what the broker says of *streams*."""
        self._check()
        return {stream: self._broker.life(stream).info for stream in streams}

    async def read(self, request: ReadRequest) -> ReadReply:
        """Read, then prove."""
        news = self._broker.news
        await self.gate.passed()
        self._check()
        entries = self._entries(request)
        if not entries and request.block_ms is not None:
            # Woken up it may find nothing too, as where the time is over.
            await news.wait()
            await self.gate.passed()
            self._check()
            entries = self._entries(request)
        unproven = {each for each in request.prove if not self._holds(each, request.cursors[each])}
        identity = self._identity if request.identify else None
        return ReadReply(identity, frozenset(unproven), entries)

    def _entries(self, request: ReadRequest) -> dict[Stream, Sequence[Entry]]:
        found: dict[Stream, Sequence[Entry]] = {}
        for stream, cursor in request.cursors.items():
            left = self._broker.life(stream).left
            later = [entry for entry in left if order_of(entry.id) > order_of(cursor)]
            if later:
                found[stream] = later[: request.count]
        return found

    def _holds(self, stream: Stream, entry_id: str) -> bool:
        return entry_id in [entry.id for entry in self._broker.life(stream).left]

    def _check(self) -> None:
        if self._identity != self._broker.identity:
            raise TailLost("the connection was lost")

    async def close(self) -> None:
        """Nothing is held."""


class ModelArchive:
    """The port `Archive`, with pages of at most *page_entries*; silent while its `gate` is shut."""

    def __init__(self, broker: ModelBroker, page_entries: int, earlier_entries: int) -> None:
        self._broker = broker
        self._page_entries = page_entries
        self._earlier_entries = earlier_entries
        self.gate = _Gate()

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return a page."""
        await self.gate.passed()
        count = min(count, self._page_entries)
        life = self._broker.life(stream)
        before = [entry for entry in life.left if order_of(entry.id) < start]
        found = [entry for entry in life.left if order_of(entry.id) >= start][:count]
        page = RawPage(
            stream,
            self._broker.short,
            start,
            before[-1].id if before else None,
            life.info.removed,
            tuple(found),
            len(found) == count,
            life.last_id,
            tuple(before[len(before) - min(len(before), self._earlier_entries) :]),
        )
        # The answer is under way while other things happen.
        await asyncio.sleep(0)
        return page

    async def close(self) -> None:
        """Nothing is held."""
