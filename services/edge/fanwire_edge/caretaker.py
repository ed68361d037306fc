"""The caretaker: everything that is due by time, for all connections in one task.

Heartbeats and expiry by the wheel, slow connections, closing handshakes that take too long, and requests
that never finish their headers (aiohttp sets them no deadline).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp.web_protocol import RequestHandler

from fanwire_edge.edge import Edge
from fanwire_protocol.codes import CloseCode

__all__ = ["Caretaker"]


class Caretaker:
    """Looks after the connections of *edge* every *tick_seconds*."""

    def __init__(
        self,
        edge: Edge,
        half_open: Callable[[], Iterable[RequestHandler]],
        tick_seconds: float,
        upgrade_seconds: float,
    ) -> None:
        self._edge = edge
        self._half_open = half_open
        self._tick_seconds = tick_seconds
        self._upgrade_seconds = upgrade_seconds
        self._first_seen: dict[RequestHandler, float] = {}

    async def run(self) -> None:
        """Work for ever; ends only by cancellation."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            due = max(due + self._tick_seconds, clock())
            await asyncio.sleep(due - clock())
            # A PING in the middle of a delivery could leave a connection's place in the log uncertain.
            await self._edge.settled()
            self._turn_wheel()
            self.sweep(clock())

    def _turn_wheel(self) -> None:
        turn = self._edge.wheel.turn()
        for connection in turn.expired:
            connection.close(CloseCode.TOKEN_EXPIRED, "the token has expired")
        for connection in turn.silent:
            connection.close(CloseCode.HEARTBEAT_TIMEOUT, "nothing was heard for too long")
        for connection in turn.ping:
            connection.ping()

    def sweep(self, now: float) -> None:
        """Cut who is too slow, abort who does not finish closing or opening."""
        edge = self._edge
        for connection in edge.slow_connections(now):
            connection.cut("it reads too slowly")
        for connection in [each for each, deadline in edge.closing.items() if now >= deadline]:
            connection.abort()
        # Their patience may be over.
        for connection in edge.undecided:
            edge.pump.schedule(connection)
        present = {handler: self._first_seen.get(handler, now) for handler in self._half_open()}
        self._first_seen = present
        for handler, since in present.items():
            if now - since >= self._upgrade_seconds and handler.transport is not None:
                handler.transport.abort()
