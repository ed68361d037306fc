"""The caretaker: everything that is due by time, for all connections in one task.

Heartbeats and expiry by the wheel, slow connections, closing handshakes that take too long, and requests
that never finish their headers (aiohttp sets them no deadline).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp.web_protocol import RequestHandler

from fanwire_edge.core.budget import Waiting, over_budget
from fanwire_edge.edge import Edge
from fanwire_edge.faults import report_faulty
from fanwire_edge.heartbeat import Heartbeat

__all__ = ["Caretaker"]

# Sockets aborted between two looks at everything else.
AT_ONCE = 32


class Caretaker:
    """Looks after the connections of *edge* at every tick of *heartbeat*."""

    def __init__(
        self,
        edge: Edge,
        heartbeat: Heartbeat,
        half_open: Callable[[], Iterable[RequestHandler]],
        upgrade_seconds: float,
    ) -> None:
        self._edge = edge
        self._heartbeat = heartbeat
        self._half_open = half_open
        self._upgrade_seconds = upgrade_seconds
        self._first_seen: dict[RequestHandler, float] = {}

    async def run(self) -> None:
        """Work for ever; ends only by cancellation."""
        while True:
            await self._heartbeat.next_tick()
            await self._heartbeat.beat()
            await self._edge.settled()
            now = asyncio.get_running_loop().time()
            self.sweep(now)
            report_faulty(self._edge)
            await self._cut_off_dawdlers(now)

    def _keep_to_budget(self) -> None:
        """Cut the furthest behind while transports hold too much; nobody may come until that is gone."""
        edge, budget_bytes = self._edge, self._edge.limits.max_buffered_bytes
        waiting = [
            Waiting(connection, connection.buffered_bytes, connection.lag.size_bytes)
            for connection in edge.behind
            if connection.lag is not None
        ]
        for connection in over_budget(waiting, budget_bytes):
            edge.tally.cuts["budget"] += 1
            connection.cut("too much waits for clients that do not read")
        # Those that were cut hold it until they are gone.
        edge.is_overdrawn = edge.buffered_bytes > budget_bytes

    def sweep(self, now: float) -> None:
        """Cut who is too slow, abort who does not finish closing."""
        edge = self._edge
        for connection in edge.slow_connections(now):
            edge.tally.cuts["slow"] += 1
            connection.cut("it reads too slowly")
        self._keep_to_budget()
        edge.throttle.sweep(now)
        for connection in [each for each, deadline in edge.closing.items() if now >= deadline]:
            connection.abort()
        # Their patience may be over.
        for connection in edge.undecided:
            edge.pump.schedule(connection)

    async def _cut_off_dawdlers(self, now: float) -> None:
        """Abort who does not finish its request: thousands may have come together, and others want a turn."""
        present = {handler: self._first_seen.get(handler, now) for handler in self._half_open()}
        self._first_seen = present
        late = [handler for handler, since in present.items() if now - since >= self._upgrade_seconds]
        for index, handler in enumerate(late):
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
            if handler.transport is not None:
                handler.transport.abort()
