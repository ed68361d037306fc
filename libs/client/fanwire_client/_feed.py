"""What one subscription has not read yet.

Putting never waits and never drops, so that no cancelled wait can lose what a position already vouches
for. The bound is kept one frame later: a full feed stands in `full`, and while anything stands there the
client reads nothing more from its socket.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque

from fanwire_client._errors import ClientClosed, FanwireError
from fanwire_client._events import Event, Gap
from fanwire_client._limits import Limits

__all__ = ["Feed", "Gauge"]


class Gauge:
    """The feeds that are full, and a wait until none is."""

    def __init__(self) -> None:
        self._full: set[Feed] = set()
        self._changed = asyncio.Event()

    def note(self, feed: Feed) -> None:
        """Note whether *feed* is full now."""
        if feed.is_full:
            self._full.add(feed)
        elif feed in self._full:
            self._full.remove(feed)
            self._changed.set()

    async def room(self) -> None:
        """Wait until no feed is full. Cancelling is safe."""
        while self._full:
            self._changed.clear()
            await self._changed.wait()


class Feed:
    """Items on their way to one iterator, and how the iteration ends."""

    def __init__(self, limits: Limits, gauge: Gauge) -> None:
        self._limits = limits
        self._gauge = gauge
        self._items: deque[tuple[Event | Gap, int]] = deque()
        self._size_bytes = 0
        self._error: FanwireError | None = None
        self._is_over = False
        self._changed = asyncio.Event()
        self._is_ready = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether the reader must catch up before more is read from the socket."""
        if self._is_over:
            return False
        return len(self._items) >= self._limits.buffer_events or self._size_bytes >= self._limits.buffer_bytes

    def put(self, item: Event | Gap, size_bytes: int) -> None:
        """Add *item*, also to a full feed."""
        self._items.append((item, size_bytes))
        self._size_bytes += size_bytes
        self._change()

    def ready(self) -> None:
        """Note that the server has answered."""
        self._is_ready = True
        self._change()

    def end(self, error: FanwireError | None = None) -> None:
        """End the iteration after what is held, with *error* where there is one; the first end counts."""
        if not self._is_over:
            self._is_over = True
            self._error = error
            self._change()

    def clear(self) -> None:
        """Forget what is held."""
        self._items.clear()
        self._size_bytes = 0
        self._gauge.note(self)

    async def take(self) -> Event | Gap:
        """Return the next item. Cancelling is safe: an item is removed only when it is returned.

        Raises the error that ended the feed, StopAsyncIteration where there was none.
        """
        while not self._items:
            if self._is_over:
                raise self._ending() or StopAsyncIteration
            await self._next_change()
        item, size_bytes = self._items.popleft()
        self._size_bytes -= size_bytes
        self._gauge.note(self)
        return item

    async def wait_ready(self) -> None:
        """Wait until the server has answered. Cancelling is safe.

        Raises the error that ended the feed, ClientClosed where there was none.
        """
        while not self._is_ready:
            if self._is_over:
                raise self._ending() or ClientClosed()
            await self._next_change()

    def _change(self) -> None:
        self._changed.set()
        self._gauge.note(self)

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _ending(self) -> FanwireError | None:
        # One cause ends many feeds, and an exception that two tasks raise mixes their tracebacks.
        return copy.copy(self._error)
