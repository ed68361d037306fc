"""Whole edges in one process, on a model of the broker and on transports that a test drains.

Everything between the broker's entries and the bytes of a connection is the real thing: broadcaster,
history, pump, connections, commands. Only sockets, Redis and the handshake are left out.
"""

from __future__ import annotations

import asyncio
import uuid
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from fanwire_edge.adapters.memory import MemoryBroker, MemoryRevocations
from fanwire_edge.authenticator import Authenticator
from fanwire_edge.broadcaster import Broadcaster
from fanwire_edge.connection import Connection, State
from fanwire_edge.control import Control
from fanwire_edge.core.answers import Greeting
from fanwire_edge.core.credential import Sources
from fanwire_edge.core.desk import Desk, DeskLimits, Session
from fanwire_edge.core.dialect import Dialects
from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Follower
from fanwire_edge.core.hub import Hub
from fanwire_edge.core.log import Log
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.policy import Policies, Policy
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.core.stream import Stream
from fanwire_edge.core.topics import Topics
from fanwire_edge.core.wheel import Wheel
from fanwire_edge.edge import DeliveryLimits, Edge, Store
from fanwire_edge.joining import join
from fanwire_edge.refresh import Refresher
from fanwire_protocol.commands import Command, Since, encode_command
from tests.edge.model_broker import ModelArchive, ModelBroker, ModelTail
from tests.edge.wire import frame_bytes

__all__ = ["TOKENS", "Client", "EdgeLimits", "Moment", "ModelEdge"]

ALL = ("tenant:acme:resource:*",)
PRINCIPAL = Principal("u-1", "acme", ("clerk",), patterns=ALL)
# What clients show to be taken for somebody else: with other roles, or with fewer rights.
TOKENS: Mapping[str, Principal] = {
    "same": PRINCIPAL,
    "nothing": Principal("u-1", "acme", patterns=ALL),
    "boss": Principal("u-1", "acme", ("clerk", "boss"), patterns=ALL),
    "narrow": Principal("u-1", "acme", ("boss",), patterns=("tenant:acme:resource:orders:1",)),
    "stranger": Principal("u-2", "acme", ("boss",), patterns=ALL),
}
GREETING = Greeting(30, 60, 0)
DIALECTS = Dialects()


class _Hasty(Random):
    """Chance for pauses: they take no time."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What an edge may hold, in bytes; `window_seconds` is that of duplicates.

    Pages have so many entries, and are read with so many before them.
    """

    log_bytes: int
    history_bytes: int
    window_seconds: int
    page_entries: int
    earlier_entries: int
    policy: Policy = Policy.CATCH_UP


@dataclass(frozen=True, slots=True)
class Moment:
    """How it was when something was written: the broker's identity, and what its streams had lost."""

    broker: str
    removed: Mapping[Stream, int]


class ModelVerifier:
    """Knows whose tokens are, after a while."""

    async def verify(self, token: str) -> Principal:
        """Return whose *token* is; raises InvalidToken."""
        for _ in token:
            await asyncio.sleep(0)
        if token not in TOKENS:
            raise InvalidToken("nobody's")
        return TOKENS[token]


class ModelEdge:
    """An edge that reads *broker*; use it with `async with`."""

    def __init__(self, broker: ModelBroker, limits: EdgeLimits, topics: set[str]) -> None:
        self.broker = broker
        hub = Hub()
        duplicates = Duplicates(limits.window_seconds, 10_000)
        self.edge = edge = Edge(
            Store(Log(limits.log_bytes), Pages(limits.history_bytes, duplicates), duplicates),
            Desk(hub, DeskLimits(100, 10_000, 0)),
            hub,
            Wheel(30, 60),
            DeliveryLimits(1000, 10**9, 10**9),
            Policies(limits.policy),
            GREETING,
        )
        authenticator = Authenticator(Sources(("authorization",)), {"authorization": ModelVerifier()})
        edge.refresher = Refresher(edge, authenticator, 1.0)
        self.tail = ModelTail(broker)
        self.archive = ModelArchive(broker, limits.page_entries, limits.earlier_entries)
        self.topics = Topics(["*"], 32, edge.tally)
        self.topics.open(1)
        self.topics.found(topics)
        follower = Follower(7, 2000)
        control = Control(edge, MemoryRevocations(MemoryBroker()), self.topics, closes=True)
        self._broadcaster = Broadcaster(
            edge, self.tail, self.archive, follower, self.topics, control, _Hasty()
        )
        edge.history._random = _Hasty()
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    @property
    def is_level(self) -> bool:
        """Whether it has read all, and nobody waits for anything."""
        edge = self.edge
        has_read = all(
            position.broker == self.broker.short and position.id == self.broker.life(stream).last_id
            for stream, position in edge.positions.items()
        )
        has_found = self.topics.streams and len(edge.positions) == len(self.topics.streams)
        is_quiet = not edge.is_delivering and not len(edge.pump)
        return bool(has_read and has_found and is_quiet)

    async def __aenter__(self) -> ModelEdge:
        await self._tasks.__aenter__()
        edge = self.edge
        for work in (self._broadcaster.run(), edge.history.run(self.archive), edge.errands.run()):
            self._running.append(self._tasks.create_task(work))
        return self

    async def __aexit__(self, *reason: Any) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(*reason)


class _Socket(asyncio.Transport):
    """Takes bytes until it is full; the test lets them reach the client."""

    def __init__(self, high_water: int) -> None:
        super().__init__()
        self.high_water = high_water
        self.protocol: Connection | None = None
        self.written = bytearray()
        self.moments: list[tuple[int, Moment]] = []
        self.drained = 0
        self.is_paused = False
        self.broker: ModelBroker | None = None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert self.broker is not None
        assert self.protocol is not None
        removed = {stream: life.removed for stream, life in self.broker.lives[self.broker.short].items()}
        self.written += data
        self.moments.append((len(self.written), Moment(self.broker.short, removed)))
        if not self.is_paused and self.get_write_buffer_size() > self.high_water:
            self.is_paused = True
            self.protocol.pause_writing()

    def drain(self, size: int) -> None:
        assert self.protocol is not None
        self.drained = min(len(self.written), self.drained + size)
        if self.is_paused and self.get_write_buffer_size() <= self.high_water // 4:
            self.is_paused = False
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.written) - self.drained

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


class Client:
    """One connection to an edge, which gives *since* for the channels that the server joins."""

    def __init__(self, world: ModelEdge, high_water: int, since: Since | None) -> None:
        self.since = since or None
        self.asked: dict[int, Command] = {}
        self._socket = _Socket(high_water)
        self._socket.broker = world.broker
        self.world = world
        session = Session(str(uuid.UUID(int=0)), PRINCIPAL)
        self.connection = Connection(world.edge, session, self._socket, None, DIALECTS.json)
        self._socket.protocol = self.connection
        self.connection.opening = partial(join, world.edge, self.connection, since or {})

    def open(self) -> None:
        """Join, now or when what that takes was looked up."""
        if self.connection.opening is not None:
            self.connection.opening()

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended it."""
        return self.connection.state in (State.CLOSING, State.CLOSED)

    @property
    def is_level(self) -> bool:
        """Whether nothing is left to be done for it."""
        connection = self.connection
        is_done = connection.state is State.OPEN and connection.lag is None and not connection.inbox
        return self.is_closed or (is_done and not self._socket.get_write_buffer_size())

    def send(self, command: Command) -> None:
        """Send a command, which carries its number."""
        number = len(self.asked)
        self.asked[number] = command
        if self._socket.protocol is not None:
            self.connection.data_received(frame_bytes(encode_command(_numbered(command, number))))

    def drain(self, size: int) -> None:
        """Let so many bytes reach the client."""
        if self._socket.protocol is not None:
            self._socket.drain(size)

    def cut(self) -> None:
        """Lose the connection, and with it what has not reached the client."""
        self._socket.abort()

    @property
    def received(self) -> bytes:
        """What reached the client."""
        return bytes(self._socket.written[: self._socket.drained])

    def moment(self, end: int) -> Moment:
        """Return how it was when the frame was written that ends at *end*."""
        index = bisect_right(self._socket.moments, end - 1, key=lambda each: each[0])
        return self._socket.moments[index][1]


def _numbered(command: Command, number: int) -> Command:
    values = {name: getattr(command, name) for name in command.__slots__}
    return type(command)(**{**values, "reply_to": number})
