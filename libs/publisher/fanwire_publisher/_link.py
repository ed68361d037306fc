"""The way to Redis: pipelines with a deadline, and attempts until one succeeds or none can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanwire_publisher._errors import PublisherClosed, PublishFailed
from fanwire_publisher._failure import failure_of
from fanwire_publisher._ledger import Command
from fanwire_publisher._options import PublisherOptions
from fanwire_publisher._sources import Sources

__all__ = ["Errand", "Link"]

_REPLY_SECONDS = 5.0


class Errand(Protocol):
    """What is on its way, and why it did not arrive yet."""

    reason: str

    def error(self) -> PublishFailed:
        """Return the error that says what became of it."""


class Link:
    """One client of Redis; `is_closed` once nothing may be sent any more."""

    def __init__(self, redis: Redis, options: PublisherOptions, sources: Sources) -> None:
        self._redis = redis
        self._sources = sources
        self.seconds = options.retry_seconds
        self.is_closed = False

    def refuse_when_closed(self) -> None:
        """Raise PublisherClosed where it is."""
        if self.is_closed:
            raise PublisherClosed("the publisher was closed")

    async def aclose(self) -> None:
        """Close the connections; what is still on its way fails."""
        self.is_closed = True
        await self._redis.aclose()

    async def persist(self, errand: Errand, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try until it succeeds; raises what *errand* says where another attempt cannot."""
        errand.reason = "Redis did not answer"
        failures = 0
        while True:
            try:
                await attempt()
                return
            except (RedisError, OSError) as error:
                failure = failure_of(error)
                errand.reason = failure.reason
                if self.is_closed or not failure.is_passing:
                    raise errand.error() from error
            # Connections opened before a failure lead to the broker of that time, if anywhere.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            await asyncio.sleep(self._sources.backoff_seconds(failures))
            failures += 1

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* in one pipeline and return their replies, an error of one being its reply."""
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        # Errors come as replies: redis-py would put the arguments, and so the payload, into their text.
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except RuntimeError as error:
            # What uvloop raises where a connection was reset a moment ago; asyncio has an OSError for it.
            raise ConnectionResetError(str(error)) from error
        return replies

    def gave_up(self, errand: Errand) -> PublishFailed:
        """Return the error of an errand whose time is over."""
        errand.reason = f"gave up after {self.seconds:g} s: {errand.reason}"
        return errand.error()
