"""The drain: how an edge takes leave of its connections.

Not ready and closed to newcomers from the first moment; connections that are there go on getting events
until each is told to go. `core/drain.py` decides when that is.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random

from fanwire_edge.connection import Connection
from fanwire_edge.core.drain import DrainLimits, retry_after_ms
from fanwire_edge.edge import Edge
from fanwire_protocol.codes import CloseCode

__all__ = ["Drain", "say_goodbye"]

# How long connections may take to answer where somebody asked twice.
HURRY_SECONDS = 1.0
# The same where the time is over: without it the reset would overtake the goodbye.
LAST_CALL_SECONDS = 0.1
# Goodbyes said between two looks at the loop.
_AT_ONCE = 64

logger = logging.getLogger("fanwire.drain")


class Drain:
    """Empties *edge*, once."""

    def __init__(self, edge: Edge, limits: DrainLimits, random: Random) -> None:
        self._edge = edge
        self._limits = limits
        self._random = random
        self._patience: asyncio.Timeout | None = None
        self._is_hurried = False
        self._is_signalled = False
        self._told = asyncio.Event()

    def signal(self) -> None:
        """Begin, or hurry at the second signal.

        A supervisor's order is none: all of an edge's processes may get the same signal.
        """
        if self._is_signalled:
            self.hurry()
        self._is_signalled = True
        self.begin()

    def begin(self) -> None:
        """Begin, where it has not begun."""
        self._told.set()

    async def told(self) -> None:
        """Wait until it is to begin."""
        await self._told.wait()

    async def run(self) -> None:
        """Refuse who comes, send home who is here, wait for their answers, abort who gives none."""
        edge = self._edge
        edge.is_draining = True
        logger.info("edge_draining", extra={"connections": len(edge.connections)})
        try:
            async with asyncio.timeout(0 if self._is_hurried else self._limits.seconds) as self._patience:
                await self._take_leave()
        except TimeoutError:
            await self._cut_short()
        finally:
            self._patience = None

    def hurry(self) -> None:
        """Begin where that is not done, and say all goodbyes at once; after its end this does nothing."""
        self._is_hurried = True
        self.begin()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _take_leave(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.sleep(self._limits.first_at)
        waiting = self._waiting()
        for index, connection in enumerate(waiting):
            ahead = began + self._limits.goodbye_at(index) - clock()
            if ahead > 0 or index % _AT_ONCE == 0:
                await asyncio.sleep(max(0, ahead))
                # In the middle of a delivery it would miss the rest of a batch that others got.
                await self._edge.settled()
            say_goodbye(self._edge, connection, self._random)
        await self._edge.deserted()

    async def _cut_short(self) -> None:
        """End a drain that somebody is in a hurry for, or whose time is over."""
        edge, clock = self._edge, asyncio.get_running_loop().time
        deadline = clock() + HURRY_SECONDS
        waiting = self._waiting()
        for index, connection in enumerate(waiting):
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
                await edge.settled()
                if clock() > deadline:
                    break
            say_goodbye(edge, connection, self._random)
        if waiting and not self._is_hurried:
            deadline = clock() + LAST_CALL_SECONDS
        try:
            async with asyncio.timeout_at(deadline if waiting or self._is_hurried else clock()):
                await edge.deserted()
        except TimeoutError:
            logger.warning("drain_timeout", extra={"connections": len(edge.connections)})
        for connection in tuple(edge.connections):
            connection.abort()

    def _waiting(self) -> list[Connection]:
        """Return the connections that have not been told to go."""
        return [each for each in self._edge.connections if each.state.is_alive]


def say_goodbye(edge: Edge, connection: Connection, random: Random) -> None:
    """Tell *connection* to come back to another edge, at a random moment of the window it was told of."""
    delay_ms = retry_after_ms(edge.greeting.reconnect_jitter_ms, random.random)
    connection.close(CloseCode.DRAINING, "the edge is shutting down", retry_after_ms=delay_ms)
