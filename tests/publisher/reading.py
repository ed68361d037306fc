"""What publishers wrote, read back from Redis."""

from __future__ import annotations

from typing import Any

from fanwire_protocol import Event, decode_event
from fanwire_protocol.codec import decode_msgpack
from tests.kit.redis_server import RedisServer


def entries(server: RedisServer, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return ids and fields of a stream, oldest first."""
    return [(id_.decode(), dict(fields)) for id_, fields in server.execute("XRANGE", key, "-", "+")]


def events(server: RedisServer, key: str) -> list[Event]:
    """Return the events of a stream, oldest first, repetitions included."""
    return [decode_event(fields[b"e"]) for _, fields in entries(server, key)]


def delivered_ids(server: RedisServer, key: str) -> list[str]:
    """Return event ids as an edge delivers them: each at its first place only."""
    return list(dict.fromkeys(event.id for event in events(server, key)))


def announcements(server: RedisServer, prefix: str) -> list[dict[str, Any]]:
    """Return the entries of the control stream."""
    return [decode_msgpack(fields[b"e"]) for _, fields in entries(server, f"{prefix}:control")]


def replid(server: RedisServer) -> str:
    """Return the first 8 hex digits of the broker's identity."""
    info: dict[str, str] = server.execute("INFO", "replication")
    return info["master_replid"][:8]
