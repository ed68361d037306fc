"""The iterator that a user holds."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fanwire_client._events import Event, Gap
from fanwire_client._feed import Feed

__all__ = ["Subscription"]


class Subscription:
    """Events of some channels, and gaps between them, in the order of the log.

    Leaving it unread stops the client's connection, so close what you no longer read: leave its
    `async with`, call `aclose`, or drop the last reference to it, as `break` in `async for event in
    client.subscribe(…)` does.
    """

    def __init__(self, channels: tuple[str, ...], feed: Feed, release: Callable[[], None]) -> None:
        self.channels = channels
        self._feed = feed
        self._release = release
        # Garbage may be collected in the middle of anything, so the work is left to the loop.
        self._finalizer = weakref.finalize(self, _release_later, asyncio.get_running_loop(), release)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"Subscription({', '.join(map(repr, self.channels))})"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Gap:
        """Return the next Event or Gap. Cancelling loses nothing.

        Raises SubscriptionRefused or SubscriptionEnded for one of its channels, ConnectionRefused or
        Disconnected where the client cannot come back.
        """
        return await self._feed.take()

    async def ready(self) -> None:
        """Wait until the server has answered: what is published from then on arrives.

        Raises what iterating would raise, ClientClosed where it was closed before. Give it a deadline
        with `asyncio.timeout`.
        """
        await self._feed.wait_ready()

    async def aclose(self) -> None:
        """Stop the iteration, forget what was not read, and unsubscribe."""
        if self._finalizer.detach() is not None:
            self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _release_later(loop: asyncio.AbstractEventLoop, release: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(release)
    except RuntimeError:
        pass  # the loop is closed, and the client with it
