"""Getting records of one topic into the log, or saying what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanwire_protocol import Position
from fanwire_protocol.event import uuid7
from fanwire_publisher._errors import PublisherClosed
from fanwire_publisher._failure import failure_of
from fanwire_publisher._job import Job
from fanwire_publisher._lanes import Lanes
from fanwire_publisher._ledger import Command, Ledger
from fanwire_publisher._options import PublisherOptions
from fanwire_publisher._record import Record
from fanwire_publisher._sources import Sources

__all__ = ["Delivery"]

_REPLY_SECONDS = 5.0


class Delivery:
    """Writes records through one client, with retries that keep their ids and their order."""

    def __init__(self, redis: Redis, options: PublisherOptions, sources: Sources) -> None:
        self._redis = redis
        self._options = options
        self._sources = sources
        self._ledger = Ledger(options)
        self._lanes = Lanes()
        self._is_closed = False

    async def deliver(self, records: Sequence[Record]) -> list[Position]:
        """Add *records*, which share a topic, and return their positions in the same order.

        Takes at most `retry_seconds`. Raises PublishFailed, PublishRefused, PartitionsConflict or
        PublisherClosed. Cancelling is safe: the outcome is then unknown, and others keep their order.
        """
        if self._is_closed:
            raise PublisherClosed("the publisher was closed")
        job = Job(records)
        try:
            async with asyncio.timeout(self._options.retry_seconds), self._lanes.hold(records):
                await self._persist(job)
        except TimeoutError as error:
            job.reason = f"gave up after {self._options.retry_seconds:g} s: {job.reason}"
            raise job.error() from error
        return [job.positions[index] for index in range(len(records))]

    async def aclose(self) -> None:
        """Close the connections; what is still on its way fails."""
        self._is_closed = True
        await self._redis.aclose()

    async def _persist(self, job: Job) -> None:
        job.reason = "Redis did not answer"
        attempt = 0
        while True:
            try:
                await self._attempt(job)
                return
            except (RedisError, OSError) as error:
                failure = failure_of(error)
                job.reason = failure.reason
                self._ledger.forget()
                if self._is_closed or not failure.is_passing:
                    raise job.error() from error
            # Connections opened before a failure lead to the broker of that time, if anywhere.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            await asyncio.sleep(self._sources.backoff_seconds(attempt))
            attempt += 1

    async def _attempt(self, job: Job) -> None:
        topic = job.records[0].topic
        if self._ledger.needs_setup(topic):
            await self._set_up(topic)
        by_partition: dict[int, list[int]] = {}
        for index in job.pending():
            by_partition.setdefault(self._ledger.partition(job.records[index]), []).append(index)
        for indices in by_partition.values():
            await self._add(job, indices)

    async def _set_up(self, topic: str) -> None:
        now = self._sources.monotonic()
        replies = await self._run(self._ledger.setup(topic))
        if not self._ledger.take_setup(topic, replies, now):
            return
        now_ms = self._sources.now_ms()
        announcement = self._ledger.announcement(topic, uuid7(now_ms, self._sources.random(10)), now_ms)
        try:
            self._ledger.take_announcement(await self._run((announcement,)))
        except BaseException:
            self._ledger.owe_announcement(topic)
            raise

    async def _add(self, job: Job, indices: Sequence[int]) -> None:
        now = self._sources.monotonic()
        batch = self._ledger.batch([job.records[index] for index in indices], now)
        first_tried = set(indices) - job.uncertain
        job.uncertain.update(indices)
        try:
            replies = await self._run(batch.commands)
            positions = self._ledger.take_batch(batch, replies, now)
        except (RedisError, OSError) as error:
            if failure_of(error).is_refusal:
                job.uncertain -= first_tried
            raise
        job.positions.update(zip(indices, positions, strict=True))

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
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
