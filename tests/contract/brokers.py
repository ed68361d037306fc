"""The brokers that the contract suites run on: one in memory, and a real Redis."""

from __future__ import annotations

from typing import Protocol

from fanwire_edge.adapters.memory import (
    MemoryArchive,
    MemoryBroker,
    MemoryRegistry,
    MemoryRevocations,
    MemoryTail,
)
from fanwire_edge.adapters.redis_archive import RedisArchive
from fanwire_edge.adapters.redis_registry import RedisRegistry
from fanwire_edge.adapters.redis_revocations import RedisRevocations
from fanwire_edge.adapters.redis_tail import RedisTail
from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_edge.ports import Archive, Registry, RevocationSource, Tail
from fanwire_protocol.keys import control_key, revoked_key, stream_key, topics_key
from tests.kit.redis_server import RedisServer

__all__ = ["Broker", "Memory", "Redis"]

PREFIX = "contract"


class Broker(Protocol):
    """What a suite does to a broker, and what it gets to read it with."""

    def add(self, stream: Stream, data: bytes | None) -> str:
        """Append an entry and return its id; None leaves the field out."""

    def trim(self, stream: Stream, length: int) -> None:
        """Keep the youngest entries."""

    def remove(self, stream: Stream, entry_id: str) -> None:
        """Delete an entry."""

    def drop(self, stream: Stream) -> None:
        """Delete a stream."""

    def register(self, topic: str) -> None:
        """Add a topic to the set."""

    def revoke(self, id_: str, order: bytes) -> None:
        """Write a revocation down."""

    def waiting(self) -> int:
        """Return how many reads wait at the broker."""

    def stop(self) -> None:
        """Go away."""

    def restart(self) -> None:
        """Come back as another one, empty."""

    def tail(self) -> Tail:
        """Return a tail, not connected yet."""

    def archive(self) -> Archive:
        """Return an archive."""

    def registry(self) -> Registry:
        """Return a registry."""

    def revocations(self) -> RevocationSource:
        """Return what was revoked."""


class Memory:
    """The broker in memory."""

    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self.add = self._broker.add
        self.trim = self._broker.trim
        self.remove = self._broker.remove
        self.drop = self._broker.drop
        self.register = self._broker.topics.add
        self.revoke = self._broker.revoked.__setitem__
        self.stop = self._broker.stop
        self.restart = self._broker.restart

    def waiting(self) -> int:
        return len(self._broker.readers)

    def tail(self) -> Tail:
        return MemoryTail(self._broker)

    def archive(self) -> Archive:
        return MemoryArchive(self._broker)

    def registry(self) -> Registry:
        return MemoryRegistry(self._broker)

    def revocations(self) -> RevocationSource:
        return MemoryRevocations(self._broker)


class Redis:
    """A real server."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.stop = server.kill
        self.restart = server.restart

    def add(self, stream: Stream, data: bytes | None) -> str:
        fields = ("e", data) if data is not None else ("other", b"field")
        entry_id: bytes = self.server.execute("XADD", _key(stream), "*", *fields)
        return entry_id.decode()

    def trim(self, stream: Stream, length: int) -> None:
        self.server.execute("XTRIM", _key(stream), "MAXLEN", length)

    def remove(self, stream: Stream, entry_id: str) -> None:
        self.server.execute("XDEL", _key(stream), entry_id)

    def drop(self, stream: Stream) -> None:
        self.server.execute("DEL", _key(stream))

    def register(self, topic: str) -> None:
        self.server.execute("SADD", topics_key(PREFIX), topic)

    def revoke(self, id_: str, order: bytes) -> None:
        self.server.execute("HSET", revoked_key(PREFIX), id_, order)

    def waiting(self) -> int:
        return int(self.server.execute("INFO", "clients")["blocked_clients"])

    def tail(self) -> Tail:
        return RedisTail(self.server.url, PREFIX)

    def archive(self) -> Archive:
        return RedisArchive(self.server.url, PREFIX)

    def registry(self) -> Registry:
        return RedisRegistry(self.server.url, PREFIX)

    def revocations(self) -> RevocationSource:
        return RedisRevocations(self.server.url, PREFIX)


def _key(stream: Stream) -> str:
    return control_key(PREFIX) if stream == CONTROL else stream_key(PREFIX, *stream)
