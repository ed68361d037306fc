"""One edge: the state that its connections and its broadcaster share, on one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanwire_edge.core.answers import Answer, Greeting
from fanwire_edge.core.desk import Desk
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.log import Log
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_edge.core.tally import Tally
from fanwire_edge.core.websocket import text_frame
from fanwire_edge.core.wheel import Wheel
from fanwire_protocol.event import Event, uuid7
from fanwire_protocol.frames import Frame, encode_frame
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection

__all__ = ["DeliveryLimits", "Edge", "wire_of"]


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """When a connection is behind (bytes in its transport), and when it is cut (bytes due, seconds)."""

    high_water_bytes: int
    max_behind_bytes: int
    stall_seconds: float
    close_seconds: float = 2.0


class Edge:
    """Shared state. `write_seq` is the number behind the last record that was or is being written;
    `positions` is what every live connection has been given."""

    def __init__(
        self,
        log: Log,
        hub: Hub,
        desk: Desk,
        wheel: Wheel[Connection],
        limits: DeliveryLimits,
        greeting: Greeting,
    ) -> None:
        self.log = log
        self.hub = hub
        self.desk = desk
        self.wheel = wheel
        self.limits = limits
        self.tally = Tally()
        self.greeting = greeting
        self.partitions = 1
        self.positions: dict[Stream, Position] = {}
        self.write_seq = 0
        self.connections: set[Connection] = set()
        self.behind: set[Connection] = set()
        self.closing: dict[Connection, float] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_reading = False
        self.read_at = time.monotonic()
        self.is_draining = False
        self._deserted = asyncio.Event()
        self._deferred: list[Connection] = []

    @property
    def is_ready(self) -> bool:
        """Whether everything published from now on is delivered to those who connect now."""
        return self.is_reading and not self.is_draining

    def frame(self, answer: Answer) -> bytes:
        """Return the bytes of a frame of the server's own, stamped with the clock and a new id."""
        now_ms = time.time_ns() // 1_000_000
        frame = Frame(
            type=answer.type,
            payload=answer.payload,
            time=now_ms,
            event_id=uuid7(now_ms, os.urandom(10)),
            channel=answer.channel,
            offset=answer.offset,
            reply_to=answer.reply_to,
        )
        return text_frame(encode_frame(frame))

    def positions_of(self, connection: Connection) -> dict[str, str]:
        """Return, for every topic that can feed *connection*, what was put on its wire."""
        lag = connection.lag
        places = self.positions if lag is None else self.log.positions_at(lag.seq)
        tenant = connection.session.principal.tenant
        return {
            stream.topic: str(position)
            for stream, position in places.items()
            if stream != CONTROL and stream.feeds(tenant, self.partitions)
        }

    @property
    def tail_lag_seconds(self) -> float:
        """Seconds since the broker last answered a read (a quiet broker answers every two)."""
        return time.monotonic() - self.read_at

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.closing.pop(connection, None)
        self.connections.discard(connection)
        if self.is_draining and not self.connections:
            self._deserted.set()

    async def deserted(self) -> None:
        """Wait until the last connection of a draining edge is closed."""
        if self.connections:
            await self._deserted.wait()

    @property
    def is_delivering(self) -> bool:
        """Whether a batch is on its way, so that no connection's place in the log is certain."""
        return not self._idle.is_set()

    def begin_delivery(self) -> None:
        """Make everything else wait."""
        self._idle.clear()

    async def settled(self) -> None:
        """Wait until no delivery is under way. Until the next `await` none begins."""
        while self.is_delivering:
            await self._idle.wait()

    def defer(self, connection: Connection) -> None:
        """Let *connection* carry on after the delivery that is under way."""
        self._deferred.append(connection)

    def end_delivery(self) -> None:
        """Let everyone carry on who waited for the end of a delivery."""
        self._idle.set()
        waiting, self._deferred = self._deferred, []
        for connection in waiting:
            connection.carry_on()

    def slow_connections(self, now: float) -> list[Connection]:
        """Return those that are too far behind, or made no progress for too long."""
        slow = []
        for connection in self.behind:
            lag = connection.lag
            if lag is None:
                continue
            buffered = connection.buffered_bytes
            if buffered < lag.buffered_bytes:
                lag.progressed_at = now
            lag.buffered_bytes = buffered
            is_stalled = now - lag.progressed_at >= self.limits.stall_seconds
            if is_stalled or lag.size_bytes > self.limits.max_behind_bytes:
                slow.append(connection)
        return slow


def wire_of(record: Record, slot: Slot) -> bytes:
    """Return the bytes of one frame of *record*, encoded at most once."""
    return record.wire(slot, _event_frame)


def _event_frame(event: Event, channel: str, offset: str) -> bytes:
    """Return the bytes of the frame of *event* on *channel*."""
    frame = Frame(
        type=event.type,
        payload=event.payload,
        time=event.time,
        event_id=event.id,
        channel=channel,
        offset=offset,
        correlation_id=event.correlation_id,
    )
    return text_frame(encode_frame(frame))
