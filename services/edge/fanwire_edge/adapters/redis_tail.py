"""The tail on Redis: one connection, one pipeline a round trip.

It speaks through redis-py's connection rather than through its client, because one pipeline must hold
the proofs, the identity and a blocking read, and because a read that fails must never be repeated behind
our back. redis-py's defaults retry every command ten times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from redis.asyncio import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_edge.ports import TailLost
from fanwire_protocol.keys import ENTRY_FIELD, control_key, stream_key

__all__ = ["RedisTail"]

T = TypeVar("T")

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 2.0


class RedisTail:
    """A tail of the broker at *url*, under the keys of *prefix*."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        # Only a factory here: it knows URLs (TLS, sockets, credentials) and makes the one connection.
        self._pool = ConnectionPool.from_url(
            url,
            protocol=3,
            legacy_responses=False,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,
            health_check_interval=0,
        )
        self._connection: Connection | None = None

    async def connect(self) -> str:
        """Connect anew and return the broker's identity."""
        await self.close()
        self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await self._within(CONNECT_SECONDS, self._connection.connect())
        [info] = await self._pipeline([("INFO", "replication")])
        return _identity(info)

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return `XINFO STREAM` of each stream."""
        asked = tuple(streams)
        replies = await self._pipeline([("XINFO", "STREAM", self._key(stream)) for stream in asked])
        return {stream: _info(reply) for stream, reply in zip(asked, replies, strict=True)}

    async def read(self, request: ReadRequest) -> ReadReply:
        """Prove, then read, in one pipeline."""
        proofs = [
            (stream, entry_id) for stream, entry_id in request.cursors.items() if stream in request.prove
        ]
        commands: list[tuple[str | int, ...]] = []
        if request.identify:
            commands.append(("INFO", "replication"))
        for stream, entry_id in proofs:
            commands.append(("XRANGE", self._key(stream), entry_id, entry_id, "COUNT", 1))
        commands.append(self._xread(request))
        replies = await self._pipeline(commands, request.block_ms or 0)
        identity = _identity(replies.pop(0)) if request.identify else None
        entries = self._entries(request, replies.pop())
        unproven = frozenset(
            stream for (stream, _), found in zip(proofs, replies, strict=True) if not _checked(found)
        )
        return ReadReply(identity, unproven, entries)

    async def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _key(self, stream: Stream) -> str:
        return control_key(self._prefix) if stream == CONTROL else stream_key(self._prefix, *stream)

    def _xread(self, request: ReadRequest) -> tuple[str | int, ...]:
        block = () if request.block_ms is None else ("BLOCK", request.block_ms)
        keys = [self._key(stream) for stream in request.cursors]
        return ("XREAD", "COUNT", request.count, *block, "STREAMS", *keys, *request.cursors.values())

    def _entries(self, request: ReadRequest, reply: Any) -> Mapping[Stream, Sequence[Entry]]:
        found = _checked(reply)
        if not found:
            return {}
        # RESP3 answers with a map, RESP2 with a list of pairs.
        pairs = found.items() if isinstance(found, dict) else found
        by_key = {self._key(stream).encode(): stream for stream in request.cursors}
        return {by_key[key]: [_entry(*entry) for entry in entries] for key, entries in pairs}

    async def _pipeline(self, commands: Sequence[tuple[str | int, ...]], block_ms: int = 0) -> list[Any]:
        connection = self._connection
        if connection is None:
            raise TailLost("not connected")
        return await self._within(REPLY_SECONDS + block_ms / 1000, _exchange(connection, commands))

    async def _within(self, seconds: float, exchange: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await exchange
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            raise TailLost(f"{type(error).__name__}: {error}") from error
        except BaseException:
            # A cancelled read leaves replies on the wire; the connection cannot be used again.
            await self.close()
            raise


async def _exchange(connection: Connection, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await _reply(connection) for _ in commands]


async def _reply(connection: Connection) -> Any:
    """Return one reply; an error of the command is a value, so that the replies behind it are read too."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _checked(reply: Any) -> Any:
    if isinstance(reply, ResponseError):
        raise TailLost(f"{type(reply).__name__}: {reply}") from reply
    return reply


def _identity(reply: Any) -> str:
    """Return `master_replid`; a replica's log may lack entries and must not be read."""
    text = _checked(reply)
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if fields.get("role") != "master":
        raise TailLost(f"the broker is a {fields.get('role')}, not a master; waiting for one")
    return fields["master_replid"]


def _info(reply: Any) -> StreamInfo:
    if isinstance(reply, ResponseError) and "no such key" in str(reply):
        return StreamInfo()
    found = _checked(reply)
    pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
    first = pairs[b"first-entry"]
    return StreamInfo(
        length=pairs[b"length"],
        added=pairs.get(b"entries-added"),
        first_id=first[0].decode() if first else None,
        last_id=pairs[b"last-generated-id"].decode(),
    )


def _entry(entry_id: bytes, fields: Sequence[bytes]) -> Entry:
    if len(fields) == 2 and fields[0] == ENTRY_FIELD:
        return Entry(entry_id.decode(), fields[1])
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(entry_id.decode(), pairs.get(ENTRY_FIELD))
