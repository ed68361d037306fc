"""The heartbeat: asks all peers for signs of life, and ends who gave none or whose credential is over.

One timer for all connections, and one frame. What is due in one tick may be a lot (those who came back
together, tokens that were issued together), so everything else has its turn in between.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fanwire_edge.core import answers
from fanwire_edge.core.websocket import PING
from fanwire_edge.edge import Edge
from fanwire_edge.turns import between_deliveries
from fanwire_protocol.codes import CloseCode

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.core.dialect import Dialect
    from fanwire_edge.core.standpoint import Standpoint

__all__ = ["Heartbeat", "tick_at"]


def tick_at(seconds: float, tick_seconds: float) -> int:
    """Return the number of the tick in which *seconds* of the monotonic clock lie."""
    return int(seconds / tick_seconds)


class Heartbeat:
    """Turns the wheel of *edge*, whose ticks are *tick_seconds* long.

    With *is_json* a `ping` frame with the connection's positions goes along with each PING, for clients
    that cannot see PINGs: browsers.
    """

    def __init__(self, edge: Edge, tick_seconds: float, *, is_json: bool) -> None:
        self._edge = edge
        self.tick_seconds = tick_seconds
        self._is_json = is_json
        self._frames: dict[tuple[Standpoint, Dialect], bytes] = {}

    async def next_tick(self) -> None:
        """Wait for the next tick to begin; several may have passed where the process was held up."""
        wheel = self._edge.wheel
        while self._now() <= wheel.time:
            due = (wheel.time + 1) * self.tick_seconds
            await asyncio.sleep(due - time.monotonic())

    async def beat(self) -> None:
        """Do what is due since the last time; nothing is written in the middle of a delivery."""
        edge = self._edge
        turn = edge.wheel.turn(self._now() - edge.wheel.time)
        # Whoever shows another token meanwhile neither has expired nor will.
        async for connection in between_deliveries(edge, turn.expired):
            if edge.wheel.is_expired(connection):
                self._end(connection)
        async for connection in between_deliveries(edge, turn.expiring):
            if edge.wheel.is_expiring(connection):
                self._warn(connection)
        async for connection in between_deliveries(edge, turn.silent):
            if connection.is_unread:
                # Its signs of life wait in its socket until we read again.
                connection.seen_tick = edge.wheel.tick
            elif edge.wheel.is_silent(connection):
                # It was not heard in the meantime either.
                connection.close(CloseCode.HEARTBEAT_TIMEOUT, "nothing was heard for too long")
        self._frames.clear()
        async for connection in between_deliveries(edge, turn.ping):
            # Who has not even read what was sent before is asked nothing.
            if connection.may_answer:
                connection.write(PING + self._told(connection) if self._is_json else PING)

    def _end(self, connection: Connection) -> None:
        if connection.session.is_authenticated:
            connection.close(CloseCode.TOKEN_EXPIRED, "the token has expired")
        else:
            connection.close(CloseCode.UNAUTHENTICATED, "no token came in time")

    def _warn(self, connection: Connection) -> None:
        expires_at = connection.session.principal.expires_at
        if expires_at is not None:
            connection.send(answers.token_expiring(expires_at))

    def _now(self) -> int:
        return tick_at(time.monotonic(), self.tick_seconds)

    def _told(self, connection: Connection) -> bytes:
        """Return the `ping` frame, made once in a tick for all that stand at the same place."""
        key = standpoint, dialect = self._edge.standpoint_of(connection), connection.dialect
        found = self._frames.get(key)
        if found is None:
            ping = self._edge.stamped(answers.ping(standpoint.shown))
            self._frames[key] = found = dialect.own(ping)
        return found
