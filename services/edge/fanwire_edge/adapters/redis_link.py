"""A link to Redis: a connection that redis-py has made, from then on without redis-py."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
from redis.asyncio import Connection
from redis.exceptions import ResponseError

__all__ = ["RedisLink"]

_INCOMPLETE = object()


class RedisLink(asyncio.Protocol):
    """Whole pipelines out, all of their replies in, no streams in between."""

    def __init__(self, connection: Connection) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE, replyError=ResponseError)
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._count = 0
        self._replies: list[Any] = []
        self._deadline = 0.0
        # One timer for all exchanges, for one each would cost more than the exchange.
        self._alarm: asyncio.TimerHandle | None = None
        # Kept, because it closes the transport when it is forgotten; redis-py's connection would too.
        writer, connection._writer = connection._writer, None
        assert writer is not None, "redis-py says that it is connected"
        connection._reader = None
        self._writer = writer
        self._transport: Any = writer.transport
        self._transport.set_protocol(self)

    async def ask(self, commands: bytes, count: int, seconds: float) -> list[Any]:
        """Send *commands* and return their *count* replies; raises OSError and TimeoutError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the broker has closed the connection")
        self._waiting = waiting = self._loop.create_future()
        self._count, self._replies = count, []
        self._deadline = self._loop.time() + seconds
        if self._alarm is None or self._alarm.when() > self._deadline:
            self._set_alarm()
        self._transport.write(commands)
        try:
            replies: list[Any] = await waiting
        finally:
            self._waiting = None
        return replies

    def close(self) -> None:
        """Drop the connection at once."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what the broker sent (called by the transport)."""
        reader, replies = self._reader, self._replies
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if type(reply) is not hiredis.PushNotification:
                    replies.append(reply)
        except hiredis.HiredisError as error:
            self._fail(ConnectionError(f"the broker's answer is no RESP: {error}"))
        if len(replies) == self._count and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits (called by the transport)."""
        self._fail(exc or ConnectionResetError("the broker has closed the connection"))

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:
            self._set_alarm()
        else:
            self._fail(TimeoutError("the broker did not answer in time"))

    def _fail(self, problem: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(problem)
