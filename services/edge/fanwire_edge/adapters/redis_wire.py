"""The wire to Redis: pipelines over one connection, nothing repeated behind our back.

redis-py knows URLs, TLS and how to log in, and makes the connection; then its transport is taken over. One
pipeline must hold proofs, identity and a blocking read, a read that fails must never be repeated unseen,
and every event pays for what lies between the socket and here: redis-py's streams, timeouts and replies
cost more than the rest of an event together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from fanwire_edge.adapters.redis_link import RedisLink
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_edge.ports import TailLost
from fanwire_protocol.keys import ENTRY_FIELD, control_key, stream_key

__all__ = [
    "BROKEN",
    "Command",
    "RedisWire",
    "checked",
    "entry_of",
    "identity_of",
    "info_of",
    "packed",
    "reason_of",
]

Command: TypeAlias = tuple[str | bytes | int, ...]

CONNECT_SECONDS = 2.0
_MAX_REASON = 200
# Writing to a connection that was reset a moment ago is a RuntimeError under uvloop, and no OSError.
BROKEN = (RedisError, OSError, TimeoutError, RuntimeError)


class RedisWire:
    """One connection to the broker at *url*, under the keys of *prefix*."""

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
        # A URL's options win over arguments. Ours are bytes, and a read ends by its own deadline.
        self._pool.connection_kwargs.update(decode_responses=False, socket_timeout=None)
        # Refuses at once what will never connect: options that are none.
        self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._link: RedisLink | None = None
        self._keys: dict[Stream, bytes] = {}

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that no exchange has failed on."""
        return self._link is not None

    async def connect(self) -> None:
        """Connect anew. Raises TailLost."""
        await self.close()
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
            self._link = RedisLink(connection)
        except BROKEN as error:
            await connection.disconnect(nowait=True)
            raise TailLost(reason_of(error)) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Send *commands* in one pipeline and return their replies, an error of one being its reply.

        Raises TailLost where they are not all there in time; the connection is given up then, and so it
        is where the exchange is cancelled.
        """
        return await self.ask(b"".join(map(packed, commands)), len(commands), seconds)

    async def ask(self, commands: bytes, count: int, seconds: float) -> list[Any]:
        """Do what `exchange` does with *count* commands that are packed already."""
        link = self._link
        if link is None:
            raise TailLost("not connected")
        if not count:
            return []
        try:
            return await link.ask(commands, count, seconds)
        except BROKEN as error:
            await self.close()
            raise TailLost(reason_of(error)) from error
        except BaseException:
            # A cancelled read leaves replies on the wire; the connection cannot be used again.
            await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def key(self, stream: Stream) -> bytes:
        """Return the key of *stream*."""
        key = self._keys.get(stream)
        if key is None:
            name = control_key(self._prefix) if stream == CONTROL else stream_key(self._prefix, *stream)
            self._keys[stream] = key = name.encode()
        return key


def packed(command: Command) -> bytes:
    """Return *command* as it goes over the wire."""
    # redis-py's own packing is pure Python and costs more than the rest of the round trip.
    data: bytes = pack_command(command)  # type: ignore[arg-type]  # takes any length
    return data


def reason_of(error: Exception) -> str:
    """Say what *error* is, without the arguments that Redis repeats of a command it does not know: they may
    be a password."""
    return f"{type(error).__name__}: {str(error).partition(', with args')[0][:_MAX_REASON]}"


def checked(reply: Any) -> Any:
    """Return *reply*, or raise TailLost where it is an error."""
    if isinstance(reply, ResponseError):
        raise TailLost(reason_of(reply)) from reply
    return reply


def identity_of(reply: Any) -> str:
    """Return `master_replid`; a replica's log may lack entries and must not be read."""
    text = checked(reply)
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if fields.get("role") != "master":
        raise TailLost(f"the broker is a {fields.get('role')}, not a master; waiting for one")
    if "master_replid" not in fields:
        raise TailLost("the broker does not tell its replication id; Fanwire needs Redis 7.0 or newer")
    return fields["master_replid"]


def info_of(reply: Any) -> StreamInfo:
    """Return what `XINFO STREAM` says; a key that does not exist is an empty stream."""
    if isinstance(reply, ResponseError) and "no such key" in str(reply):
        return StreamInfo()
    found = checked(reply)
    pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
    first = pairs[b"first-entry"]
    return StreamInfo(
        length=pairs[b"length"],
        added=pairs.get(b"entries-added"),
        first_id=first[0].decode() if first else None,
        last_id=pairs[b"last-generated-id"].decode(),
    )


def entry_of(entry_id: bytes, fields: Sequence[bytes]) -> Entry:
    """Return an entry; its data is None where the one field is missing."""
    if len(fields) == 2 and fields[0] == ENTRY_FIELD:
        return Entry(entry_id.decode(), fields[1])
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(entry_id.decode(), pairs.get(ENTRY_FIELD))
