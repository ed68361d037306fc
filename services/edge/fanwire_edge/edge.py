"""One edge: the state that its connections and its broadcaster share, on one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanwire_edge.audit import Audit
from fanwire_edge.core.answers import Answer, Greeting
from fanwire_edge.core.delivery import DeliveryLimits
from fanwire_edge.core.desk import Desk, Place
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.log import Log
from fanwire_edge.core.pacing import Pacing
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.policy import Policies, Policy
from fanwire_edge.core.record import Record
from fanwire_edge.core.resume import Resumption, resume
from fanwire_edge.core.revocations import Revocations
from fanwire_edge.core.standpoint import NOWHERE, Standpoint, Standpoints
from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_edge.core.tally import Gauges, Tally
from fanwire_edge.core.throttle import Throttle
from fanwire_edge.core.wheel import Wheel
from fanwire_edge.errands import Errands
from fanwire_edge.guard import Guard
from fanwire_edge.history import History
from fanwire_edge.intake import Intake
from fanwire_edge.permissions import PermissionLimits, Permissions
from fanwire_edge.pump import Pump
from fanwire_protocol.commands import Since
from fanwire_protocol.event import uuid7
from fanwire_protocol.frames import Frame
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from fanwire_edge.anteroom import Anteroom
    from fanwire_edge.connection import Connection
    from fanwire_edge.refresh import Refresher

__all__ = ["DeliveryLimits", "Edge", "Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """What an edge remembers of the log: recent records, pages of history, and who stands in it twice."""

    log: Log
    pages: Pages
    duplicates: Duplicates


class Edge:
    """Shared state.

    `write_seq` is the number behind the last record that was or is being written; `positions` is what
    every live connection has been given (another mapping after each delivery, so that it may be kept).
    `faulty` are records whose event was found to break a rule when somebody was to get it.
    """

    partitions = 1
    write_seq = 0
    is_reading = False
    is_draining = False
    # Whether clients are refused because too much waits for those that do not read.
    is_overdrawn = False
    # Who answers `authenticate`; nobody where clients are not to be authenticated here.
    anteroom: Anteroom | None = None
    refresher: Refresher | None = None

    def __init__(
        self,
        store: Store,
        desk: Desk,
        hub: Hub,
        wheel: Wheel[Connection],
        limits: DeliveryLimits,
        policies: Policies,
        greeting: Greeting,
    ) -> None:
        self.log, self.duplicates = store.log, store.duplicates
        self.hub, self.desk, self.wheel = hub, desk, wheel
        self.limits = limits
        self.policies = policies
        self.tally = Tally()
        self.audit = Audit(None, self.tally)
        self.throttle: Throttle[Connection] = Throttle()
        self.guard = Guard(self)
        self.greeting = greeting
        self.pacing = Pacing(0)
        self.revocations = Revocations(86_400)
        self.permissions = Permissions(self, PermissionLimits())
        self.positions: Mapping[Stream, Position] = {}
        self._standpoints = Standpoints()
        self.faulty: list[Record] = []
        self.intake = Intake()
        self.connections: set[Connection] = set()
        self.behind: set[Connection] = set()
        self.closing: dict[Connection, float] = {}
        # Those whose positions are being looked up, and among them those that are ahead of this edge.
        self.undecided: set[Connection] = set()
        self.ahead: set[Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.pump = Pump(lambda: self.is_delivering)
        self.errands = Errands(self.pump)
        self.history = History(store.pages, self.pump, self._broker)
        self.read_at = time.monotonic()
        self._deserted = asyncio.Event()

    def _broker(self) -> str:
        return next((position.broker for position in self.positions.values()), "")

    @property
    def is_ready(self) -> bool:
        """Whether everything published from now on is delivered to those who connect now."""
        return self.is_reading and self.revocations.is_known and not self.is_draining

    def stamped(self, answer: Answer) -> Frame:
        """Return a frame of the server's own, stamped with the clock and a new id."""
        now_ms = time.time_ns() // 1_000_000
        return Frame(
            type=answer.type,
            payload=answer.payload,
            time=now_ms,
            event_id=uuid7(now_ms, os.urandom(10)),
            channel=answer.channel,
            offset=answer.offset,
            reply_to=answer.reply_to,
        )

    def feeds(self, stream: Stream, connection: Connection) -> bool:
        """Tell whether events of *stream* can be for *connection*."""
        return stream != CONTROL and stream.feeds(connection.session.principal.tenant, self.partitions)

    def standpoint_of(self, connection: Connection) -> Standpoint:
        """Return where *connection* stands: what was put on its wire of every stream that can feed it."""
        if not connection.session.is_authenticated:
            return NOWHERE
        if connection.lag is None:
            return self._standpoints.of(self.positions, connection.session.principal.tenant, self.partitions)
        places = connection.lag.places
        return Standpoint(
            {stream: place for stream, place in places.items() if self.feeds(stream, connection)}
        )

    def places_to_keep(self, connection: Connection) -> Mapping[Stream, Position]:
        """Return where *connection* stands now, for it to know for as long as it lives."""
        if connection.lag is not None:
            return connection.lag.places
        return self._standpoints.kept(self.positions, connection.session.principal.tenant, self.partitions)

    def place_of(self, connection: Connection, resumption: Resumption | None = None) -> Place:
        """Return where *connection* stands, as the desk wants to know it."""
        return Place(self.standpoint_of(connection).shown, resumption)

    def resumption(self, connection: Connection, since: Since, before: Resumption | None) -> Resumption:
        """Judge positions that *connection* gives against where it stands, after an attempt *before*."""
        return resume(since, self.standpoint_of(connection).places, self.log, self.history.pages, before)

    def gauges(self) -> Gauges:
        """Return how the edge is at this moment."""
        return Gauges(
            workers_ready=self.is_ready,
            connections_active=len(self.connections),
            connections_behind=len(self.behind),
            buffered_bytes=self.buffered_bytes,
            subscriptions=self.hub.subscriptions,
            channels_active=self.hub.channels,
            log_bytes=self.log.size_bytes,
            log_records=self.log.next - self.log.first,
            history_bytes=self.history.pages.size_bytes,
            history_reads=self.history.reads,
            tail_reading=self.is_reading,
            tail_readers=self.pacing.readers,
            # A quiet broker answers every `tail.block_ms`.
            tail_lag_seconds=time.monotonic() - self.read_at,
        )

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.closing.pop(connection, None)
        self.throttle.forget(connection)
        self.guard.leave(connection.session.client_id)
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

    def end_delivery(self) -> None:
        """Let everyone carry on who waited for the end of a delivery."""
        self._idle.set()
        while self.ahead:
            self.pump.schedule(self.ahead.pop())
        self.pump.resume()

    @property
    def buffered_bytes(self) -> int:
        """What transports hold for those that are behind or closing; others hold less than the mark."""
        return sum(connection.buffered_bytes for connection in (*self.behind, *self.closing))

    def slow_connections(self, now: float) -> list[Connection]:
        """Return those that are too far behind, or made no progress for too long."""
        return [connection for connection in self.behind if self._is_too_slow(connection, now)]

    def _is_too_slow(self, connection: Connection, now: float) -> bool:
        lag = connection.lag
        if lag is None:
            return False
        buffered = connection.buffered_bytes
        # Who waits for a turn or for history is not the one who is slow.
        if buffered < lag.buffered_bytes or not connection.is_paused:
            lag.progressed_at = now
        lag.buffered_bytes = buffered
        idle_seconds = now - lag.progressed_at
        if self.policies.of(connection.keys) is not Policy.DISCONNECT:
            # A slow reader gets our PING late and the kernel takes its bytes in large steps: progress is
            # a sign of life, for long enough to see the next step.
            if idle_seconds < self.limits.catch_up_seconds:
                connection.seen_tick = self.wheel.tick
            return False
        is_far = lag.size_bytes > self.limits.max_behind_bytes and not lag.is_resuming
        return is_far or idle_seconds >= self.limits.stall_seconds
