"""An edge in memory: the core with the least shell around it, driven step by step.

It does what broadcaster, connection and edge do around the core (who waits while a batch is delivered,
when a connection is behind), with a transport that takes as many bytes as it is told to.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer, Greeting, Identity
from fanwire_edge.core.authorization import by_claims
from fanwire_edge.core.desk import Desk, DeskLimits, Place, Session
from fanwire_edge.core.dialect import Dialect
from fanwire_edge.core.fanout import batches
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.hub import Hub, Lag, Sink
from fanwire_edge.core.log import Log
from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.principal import Principal, server_joined
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.record import Record, gap_key, gap_record
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.commands import Command
from fanwire_protocol.event import Event, encode_event
from fanwire_protocol.frames import Frame
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of
from fanwire_protocol.position import Position
from tests.edge.core.pieces import event_record, place

GREETING = Greeting(30, 60, 0)
# Two dialects that write the same, so that what a client sees can be read in one way.
DIALECTS = (Dialect("json"), Dialect("json"))


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry of a topic's log as the publisher knows it, and the channels that it is due on."""

    position: Position
    event_id: str
    channels: tuple[str, ...]


@dataclass(slots=True)
class Truth:
    """Every entry of every stream, in order: what was published, whoever was told of it."""

    streams: dict[Stream, list[Happened]] = field(default_factory=dict)

    def end(self, stream: Stream) -> Position:
        """Return the position of the last entry."""
        return place(len(self.streams[stream]))


def _stamped(answer: Answer) -> Frame:
    return Frame(
        type=answer.type,
        payload=answer.payload,
        time=0,
        event_id="own",
        channel=answer.channel,
        offset=answer.offset,
        reply_to=answer.reply_to,
    )


class MemoryEdge:
    """Shared state of an edge that reads *streams*."""

    def __init__(self, streams: Sequence[Stream], partitions: int, log_bytes: int) -> None:
        self.partitions = partitions
        # A crowd are two, for promises to be kept there too.
        self.hub = Hub(self._send, 2)
        self.sockets: list[MemoryMember] = []
        self.log = Log(log_bytes)
        self.desk = Desk(self.hub, DeskLimits(100, 100, 0))
        self.truth = Truth({stream: [] for stream in streams})
        self.positions = {stream: place(0) for stream in streams}
        self.write_seq = 0
        self.is_delivering = False
        self.deferred: list[MemoryMember] = []
        self.pending: list[Record] = []
        for stream in streams:
            self.log.anchor(stream, place(0))

    def _send(self, numbers: array[int], start: int, stop: int, data: bytes) -> list[tuple[int, int]]:
        taken = [(place, self.sockets[numbers[place]].accept(data)) for place in range(start, stop)]
        return [(place, size) for place, size in taken if size != len(data)]

    def publish(self, stream: Stream, event: Event) -> None:
        """Add an entry, which the next delivery writes out."""
        before = self.truth.end(stream)
        channels = channels_of(stream.topic, event)
        log = self.truth.streams[stream]
        position = place(len(log) + 1)
        log.append(Happened(position, event.id, channels))
        if channels:
            self.pending.append(event_record(stream, position, before, channels, event, encode_event(event)))

    def lose(self, stream: Stream, events: Sequence[Event]) -> None:
        """Add entries that the edge never gets to see, and the gap that tells of them."""
        start = self.truth.end(stream)
        log = self.truth.streams[stream]
        for event in events:
            log.append(Happened(place(len(log) + 1), event.id, channels_of(stream.topic, event)))
        loss = Loss(stream, GapReason.TRIMMED, start, self.truth.end(stream))
        self.pending.append(gap_record(loss, _stamped(answers.lost(loss, 0)), self.partitions))

    def deliver(self, interruptions: Iterator[Callable[[], None]]) -> None:
        """Log and write out what is pending; one interruption happens at each suspension."""
        records, self.pending = self.pending, []
        self.log.keep_from = self.write_seq
        for record in records:
            self.log.append(record)
        self.is_delivering = True
        for deliveries, end in batches(self.hub, records):
            self.write_seq = end
            for delivery in deliveries:
                for _ in delivery.run():
                    next(interruptions, _nothing)()
        for stream in self.positions:
            self.positions[stream] = self.truth.end(stream)
        self.is_delivering = False
        waiting, self.deferred = self.deferred, []
        for member in waiting:
            member.carry_on()


def _nothing() -> None:
    pass


class MemoryMember:
    """A connection whose transport pauses above *high_water* bytes and takes bytes when it is drained.

    `wire` is everything ever written: TCP delivers a prefix of it.
    """

    def __init__(self, edge: MemoryEdge, principal: Principal, high_water: int, dialect: Dialect) -> None:
        self.edge = edge
        self.session = Session("c-1", principal)
        self.high_water = high_water
        self.dialect = dialect
        self.mask = 0
        self.lag: Lag | None = None
        self.keys: Collection[str] = ()
        self.write: Sink = self._write
        self.number = len(edge.sockets)
        edge.sockets.append(self)
        self.wire = bytearray()
        self.drained = 0
        self.is_paused = False
        self.is_closed = False
        self.inbox: deque[Command] = deque()
        channels = server_joined(principal, "c-1")
        for channel in channels:
            edge.hub.subscribe(self, channel)
        edge.hub.subscribe(self, gap_key(partition_of(DIRECT_TOPIC, principal.tenant, edge.partitions)))
        who = Identity("c-1", principal.user, principal.tenant)
        self._tell(answers.connected(GREETING, who, channels, self.positions(), None))

    def positions(self) -> Mapping[str, str]:
        """What was put on this connection's wire, by topic."""
        places = self.edge.positions if self.lag is None else self.lag.positions
        tenant, partitions = self.session.principal.tenant, self.edge.partitions
        return {
            stream.topic: str(position)
            for stream, position in places.items()
            if stream.feeds(tenant, partitions)
        }

    def take(self, command: Command) -> None:
        """Carry out a command now, or when it is this connection's turn."""
        if self.is_closed:
            return
        if self.is_paused or self.edge.is_delivering or self.inbox:
            if not self.inbox and not self.is_paused:
                self.edge.deferred.append(self)
            self.inbox.append(command)
        else:
            self._carry_out(command)

    def drain(self, size: int) -> None:
        """Let the socket take *size* bytes."""
        self.drained = min(len(self.wire), self.drained + size)
        if self.is_paused and len(self.wire) - self.drained <= self.high_water // 4:
            self.is_paused = False
            if self.edge.is_delivering:
                self.edge.deferred.append(self)
            else:
                self.carry_on()

    def carry_on(self) -> None:
        """Read one portion of the log, then carry out what waits."""
        if self.is_closed or self.edge.is_delivering:
            return
        self._read_log()
        while self.inbox and not (self.is_paused or self.is_closed):
            self._carry_out(self.inbox.popleft())

    def close(self) -> None:
        """Leave; nothing is written any more."""
        self.is_closed = True
        self.edge.hub.leave(self)
        self.write = lambda data: None

    def accept(self, data: bytes) -> int:
        """Take what goes into the socket; now and then that is not all."""
        taken = len(data) // 2 if len(self.wire) % 3 == 1 else len(data)
        self._write(data[:taken])
        return taken

    def spill(self, data: bytes, taken: int) -> None:
        """Take what did not."""
        self.write(data[taken:])

    def _write(self, data: bytes) -> None:
        self.wire += data
        if not self.is_paused and len(self.wire) - self.drained > self.high_water:
            self.is_paused = True
            if self.lag is None:
                self._fall_behind()

    def _fall_behind(self) -> None:
        edge = self.edge
        at = edge.log.positions_at(edge.write_seq) if edge.is_delivering else dict(edge.positions)
        edge.hub.hold(self, Lag(edge.write_seq, at, 0.0))

    def _read_log(self) -> None:
        edge, lag = self.edge, self.lag
        if lag is None or self.is_paused:
            return
        if lag.seq >= edge.write_seq:
            edge.hub.release(self)
        elif lag.seq < edge.log.first:
            self.close()
        else:
            portion = next_portion(edge.log, self.keys, lag.seq, edge.write_seq, self.dialect.wire)
            lag.seq, lag.positions = portion.next, edge.log.positions_at(portion.next)
            if portion.data:
                self.write(portion.data)

    def _carry_out(self, command: Command) -> None:
        decide = partial(by_claims, self.session.principal)
        outcome = self.edge.desk.carry_out(
            self, self.session, command, lambda: Place(self.positions()), decide
        )
        for answer in outcome.answers:
            self._tell(answer)

    def _tell(self, answer: Answer) -> None:
        self.write(self.dialect.own(_stamped(answer)))
